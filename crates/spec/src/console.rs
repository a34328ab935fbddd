//! Console device: a terminal, or many ports. Spec: VIRTIO 1.4 §5.3 "Console Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.3.3). `VIRTIO_CONSOLE_F_SIZE` is spelled `console::F::SIZE`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The terminal's size is given by `cols` and `rows`.
    SIZE = 0, "VIRTIO_CONSOLE_F_SIZE";
    /// There may be several ports, at most `max_nr_ports`, and queues to control them.
    MULTIPORT = 1, "VIRTIO_CONSOLE_F_MULTIPORT";
    /// A character can be written without a queue, to `emerg_wr`.
    EMERG_WRITE = 2, "VIRTIO_CONSOLE_F_EMERG_WRITE";
}
