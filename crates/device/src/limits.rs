//! What a carrier can present of a device: more than that would be cut off in silence, and missed by
//! whoever wrote the device.

use core::fmt;

use ringway_spec::{DeviceId, Features, split};

use crate::model::Device;

/// What a carrier has room for. Each has its own: [`pci::LIMITS`](crate::pci::LIMITS),
/// [`mmio::LIMITS`](crate::mmio::LIMITS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The last device type that there is a number for.
    pub id_last: u32,
    /// The most queues.
    pub queues: usize,
    /// The most bytes of configuration space.
    pub config_bytes: usize,
}

/// What a device says of itself that cannot be presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its type is none, or one that the carrier has no number for.
    Id {
        /// The type.
        id: DeviceId,
        /// The last that there is a number for.
        last: u32,
    },
    /// It has more queues than the carrier can name.
    Queues {
        /// How many it has.
        queues: usize,
        /// How many there can be.
        max: usize,
    },
    /// A queue has a largest size that is no power of two, or above 32768 (§2.7).
    QueueSize {
        /// Which queue.
        index: usize,
        /// Its largest size.
        size: u16,
    },
    /// It offers features that are for no device type to define (§2.2).
    Features(Features),
    /// Its configuration space is larger than what a driver can be shown.
    Config {
        /// How many bytes it has.
        bytes: usize,
        /// How many there can be.
        max: usize,
    },
}

impl Limits {
    /// Looks whether `device` can be presented as it is.
    ///
    /// # Errors
    ///
    /// [`Fault`]: the first thing that cannot.
    pub fn check(&self, device: &dyn Device) -> Result<(), Fault> {
        let (id, last) = (device.id(), self.id_last);
        if id == DeviceId::INVALID || id.0 > last {
            return Err(Fault::Id { id, last });
        }
        let sizes = device.queue_sizes();
        let (queues, max) = (sizes.len(), self.queues);
        if queues > max {
            return Err(Fault::Queues { queues, max });
        }
        // A size of 0 is a queue that is not there, between others that are.
        let cannot_be =
            |size: u16| size != 0 && (!size.is_power_of_two() || size > split::MAX_SIZE);
        let wrong = sizes.iter().position(|&size| cannot_be(size));
        if let Some((index, &size)) = wrong.and_then(|index| Some((index, sizes.get(index)?))) {
            return Err(Fault::QueueSize { index, size });
        }
        let foreign = device.features().difference(Features::OF_DEVICE_TYPES);
        if !foreign.is_empty() {
            return Err(Fault::Features(foreign));
        }
        let (bytes, max) = (device.config_bytes(), self.config_bytes);
        if bytes > max {
            return Err(Fault::Config { bytes, max });
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { id, last } => write!(
                f,
                "there is no number here for device type {}: choose one from 1 to {last}",
                id.0
            ),
            Self::Queues { queues, max } => {
                write!(f, "{queues} queues, of which a driver can reach {max} here")
            }
            Self::QueueSize { index, size } => write!(
                f,
                "queue {index} has size {size}: choose a power of two, at most {} (§2.7)",
                split::MAX_SIZE
            ),
            Self::Features(features) => write!(
                f,
                "features {:#x} are for no device type to define: choose bits 0 to 23, or 50 to 127 (§2.2)",
                features.0
            ),
            Self::Config { bytes, max } => write!(
                f,
                "configuration space of {bytes} bytes, of which a driver can see {max} here"
            ),
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::boxed::Box;
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    use crate::model::Worker;

    struct Odd {
        id: u32,
        queues: Vec<u16>,
        features: Features,
        config_bytes: usize,
    }

    impl Device for Odd {
        fn id(&self) -> DeviceId {
            DeviceId(self.id)
        }

        fn features(&self) -> Features {
            self.features
        }

        fn queue_sizes(&self) -> &[u16] {
            &self.queues
        }

        fn config_bytes(&self) -> usize {
            self.config_bytes
        }

        fn worker(&mut self, _: u16, _: Features) -> Box<dyn Worker> {
            unreachable!("it is not driven")
        }

        fn reset(&mut self) {}
    }

    fn odd(change: fn(&mut Odd)) -> Result<(), Fault> {
        let mut device = Odd {
            id: 63,
            queues: vec![64, 0, 32768],
            features: Features::OF_DEVICE_TYPES,
            config_bytes: 4096,
        };
        change(&mut device);
        crate::pci::LIMITS.check(&device)
    }

    #[test]
    fn a_device_that_fills_a_carrier_to_the_brim_can_be_presented() {
        assert_eq!(odd(|_| {}), Ok(()));
        assert_eq!(odd(|device| device.queues = vec![1; 65535]), Ok(()));
        assert_eq!(odd(|device| device.queues.clear()), Ok(()));
    }

    #[test]
    fn what_cannot_be_presented_is_named_with_what_to_do() {
        for (change, expected) in [
            (
                (|device| device.id = 64) as fn(&mut Odd),
                "there is no number here for device type 64: choose one from 1 to 63",
            ),
            (
                |device| device.id = 0,
                "there is no number here for device type 0: choose one from 1 to 63",
            ),
            (
                |device| device.queues = vec![1; 65536],
                "65536 queues, of which a driver can reach 65535 here",
            ),
            (
                |device| device.queues = vec![4, 5],
                "queue 1 has size 5: choose a power of two, at most 32768 (§2.7)",
            ),
            (
                |device| device.features = Features::bit(24) | Features::bit(3),
                "features 0x1000000 are for no device type to define: choose bits 0 to 23, or 50 to 127 (§2.2)",
            ),
            (
                |device| device.config_bytes = 4097,
                "configuration space of 4097 bytes, of which a driver can see 4096 here",
            ),
        ] {
            assert_eq!(
                odd(change).map_err(|fault| fault.to_string()),
                Err(expected.to_string())
            );
        }
    }
}
