//! What interrupts are called, for whoever lists them: as Linux does in `/proc/interrupts`.

use core::fmt;

use crate::bus::Name;

/// What an interrupt of a device is called. A [`Handler`](super::Handler) says it of itself.
///
/// A device that is on no bus, and was [given no name](crate::bringup::Acknowledged::named), is
/// called `virtio`, without a number: `virtio-config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorName {
    /// What the device is called.
    pub device: Option<Name>,
    /// What the interrupt is for.
    pub purpose: Purpose,
}

/// What an interrupt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Changes of the configuration, and slow queues if they have none of their own:
    /// `virtio3-config`.
    Config,
    /// One queue: `virtio3-request.0`.
    Queue(QueueName),
    /// All queues: `virtio3-virtqueues`.
    Queues,
    /// Whatever the device has to say, by one message or by its line: `virtio3`.
    All,
}

/// What a queue is called: `request.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueName {
    /// What its driver calls it, and others of its kind.
    pub kind: &'static str,
    /// How many of its kind come before it.
    pub number: u16,
}

impl fmt::Display for VectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.device {
            Some(name) => name.fmt(f)?,
            None => f.write_str("virtio")?,
        }
        match self.purpose {
            Purpose::Config => f.write_str("-config"),
            Purpose::Queue(name) => write!(f, "-{name}"),
            Purpose::Queues => f.write_str("-virtqueues"),
            Purpose::All => Ok(()),
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn interrupts_are_called_as_linux_calls_them() {
        let queue = QueueName {
            kind: "request",
            number: 1,
        };
        let purposes = [
            Purpose::Config,
            Purpose::Queue(queue),
            Purpose::Queues,
            Purpose::All,
        ];
        let names = |device| purposes.map(|purpose| VectorName { device, purpose }.to_string());

        let on_a_bus = names(Some(Name::new(3)));
        let on_none = names(None);

        assert_eq!(
            on_a_bus,
            [
                "virtio3-config",
                "virtio3-request.1",
                "virtio3-virtqueues",
                "virtio3"
            ]
        );
        assert_eq!(
            on_none,
            [
                "virtio-config",
                "virtio-request.1",
                "virtio-virtqueues",
                "virtio"
            ]
        );
    }
}
