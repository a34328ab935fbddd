//! RTC device: clocks. Spec: VIRTIO 1.4 §5.23 "RTC Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.23.3). `VIRTIO_RTC_F_ALARM` is spelled `rtc::F::ALARM`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Some clocks have alarms, and there is a queue for those that go off.
    ALARM = 0, "VIRTIO_RTC_F_ALARM";
}
