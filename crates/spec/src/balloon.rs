//! Memory balloon device: the driver gives pages back as the device asks for them. Spec: VIRTIO 1.4
//! §5.5 "Traditional Memory Balloon Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.5.3). `VIRTIO_BALLOON_F_MUST_TELL_HOST` is spelled
    /// `balloon::F::MUST_TELL_HOST`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The driver tells the device before it uses a page again.
    MUST_TELL_HOST = 0, "VIRTIO_BALLOON_F_MUST_TELL_HOST";
    /// There is a queue for statistics.
    STATS_VQ = 1, "VIRTIO_BALLOON_F_STATS_VQ";
    /// The driver may take pages back when it has no others.
    DEFLATE_ON_OOM = 2, "VIRTIO_BALLOON_F_DEFLATE_ON_OOM";
    /// There is a queue for pages that are free just now, asked for by `free_page_hint_cmd_id`.
    FREE_PAGE_HINT = 3, "VIRTIO_BALLOON_F_FREE_PAGE_HINT";
    /// The driver fills pages with `poison_val` as it takes them back.
    PAGE_POISON = 4, "VIRTIO_BALLOON_F_PAGE_POISON";
    /// There is a queue for pages that are free.
    PAGE_REPORTING = 5, "VIRTIO_BALLOON_F_PAGE_REPORTING";
}
