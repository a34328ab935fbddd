//! A bus of virtio devices as it is shown: drivers, devices, and what is known of each. Whoever has
//! such a bus fills this in, an operating system's or one of ours.
//!
//! | file | |
//! | --- | --- |
//! | [`text`] | for people |
//! | [`json`] | for programs |
//!
//! Whatever is not known is `None`, or is not in its list. A [`Problem`] says why, if it should be.

mod json;
mod text;

use std::collections::BTreeSet;

use ringway_spec::{DeviceId, Features, Status};

pub(crate) use text::Detail;

/// Drivers and devices of a bus, in the order in which they are shown.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// What the bus is called.
    pub(crate) place: String,
    pub(crate) devices: Vec<Device>,
    pub(crate) drivers: Vec<Driver>,
    /// What is not as it should be with the bus itself.
    pub(crate) problems: Vec<Problem>,
}

/// A driver that is registered on the bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Driver {
    pub(crate) name: String,
    /// The part of the operating system that can be unloaded, and has it.
    pub(crate) module: Option<String>,
    /// The names of the devices that it drives.
    pub(crate) devices: Vec<String>,
}

/// A device on the bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// `virtioN`.
    pub(crate) name: String,
    pub(crate) id: Option<DeviceId>,
    pub(crate) vendor: Option<u32>,
    pub(crate) modalias: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) features: Option<FeatureBits>,
    /// The driver that drives it.
    pub(crate) driver: Option<String>,
    /// `pci`, `mmio`, `ccw`, `vdpa`, or what the driver of another calls itself.
    pub(crate) transport: Option<String>,
    /// The device that carries it, of the bus below.
    pub(crate) parent: Option<String>,
    /// The nearest PCI function that it is on, or behind.
    pub(crate) pci_address: Option<String>,
    /// What the system has made of it.
    pub(crate) interfaces: Vec<Interface>,
    /// How its interrupts arrive: `msix-each`, `line`.
    pub(crate) interrupt: Option<String>,
    pub(crate) interrupts: Vec<Interrupt>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) problems: Vec<Problem>,
}

/// The features of a device, and how many characters they were written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeatureBits {
    pub(crate) set: Features,
    width: usize,
}

/// A disk, a network interface or the like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// `block`, `net`.
    pub(crate) class: String,
    /// `vda`, `eth0`.
    pub(crate) name: String,
}

/// An interrupt that a device has, or shares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interrupt {
    /// The system's number for it.
    pub(crate) irq: Option<u32>,
    /// The vector of MSI-X.
    pub(crate) vector: Option<u16>,
    /// What it is for.
    pub(crate) name: Option<String>,
    /// How often it came.
    pub(crate) count: Option<u64>,
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) index: Option<u16>,
    pub(crate) name: Option<String>,
    /// Descriptors.
    pub(crate) size: Option<u16>,
    /// The vector of MSI-X that it interrupts by.
    pub(crate) vector: Option<u16>,
    /// What that is called.
    pub(crate) vector_name: Option<String>,
}

/// Something about a device or a bus that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What of it.
    pub(crate) attribute: &'static str,
    pub(crate) why: String,
}

impl Tree {
    /// Keeps the devices that answer to one of the names, and the drivers that do or that drive one
    /// of those. Without a name, keeps all.
    ///
    /// # Errors
    ///
    /// The first name that nothing answers to.
    pub(crate) fn narrow<'n>(&mut self, names: &'n [String]) -> Result<(), &'n str> {
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            let known = self.devices.iter().any(|device| device.answers_to(name))
                || self.drivers.iter().any(|driver| driver.name == *name);
            if !known {
                return Err(name);
            }
        }
        self.devices
            .retain(|device| names.iter().any(|name| device.answers_to(name)));
        let driving: BTreeSet<_> = self.devices.iter().flat_map(|d| &d.driver).collect();
        self.drivers
            .retain(|driver| names.contains(&driver.name) || driving.contains(&driver.name));
        Ok(())
    }
}

impl Device {
    /// Whether it is meant by a name: its own, that of its type, its driver, what carries it, or an
    /// interface of it.
    fn answers_to(&self, name: &str) -> bool {
        let is = |known: &Option<String>| known.as_deref() == Some(name);
        self.name == name
            || self.id.and_then(DeviceId::name) == Some(name)
            || is(&self.driver)
            || is(&self.parent)
            || is(&self.pci_address)
            || self.interfaces.iter().any(|known| known.name == name)
    }

    /// The names of its features, as its type has them.
    fn feature_names(&self) -> impl Iterator<Item = ringway_spec::features::Name> {
        let set = self.features.map_or(Features::NONE, |bits| bits.set);
        set.names(self.id.unwrap_or(DeviceId::INVALID))
    }
}

impl FeatureBits {
    /// Characters that Linux writes for bits 0 to 63, and for all.
    const SHORT: usize = 64;
    const LONG: usize = 128;

    /// Features that nobody has written yet.
    pub(crate) const fn of(set: Features) -> Self {
        Self { set, width: 0 }
    }

    /// The features that are written as bits, lowest first, and how many bits there are beyond those
    /// that a set can have.
    pub(crate) fn read(text: &str) -> Option<(Self, usize)> {
        let mut set = Features::NONE;
        let mut numbers = 0..;
        for bit in text.chars() {
            let number = numbers.next()?;
            match bit {
                '0' => {}
                '1' => set |= Features::bit(number),
                _ => return None,
            }
        }
        let width = text.len();
        let bits = Self {
            width,
            ..Self::of(set)
        };
        (width > 0).then_some((bits, width.saturating_sub(Self::LONG)))
    }

    /// Bits as Linux writes them, lowest first: 64, or 128 if there were more or one is needed.
    fn string(self) -> String {
        let high = self.set.word(2) != 0 || self.set.word(3) != 0;
        let width = if high || self.width > Self::SHORT {
            Self::LONG
        } else {
            Self::SHORT
        };
        let bits = (0u32..).take(width);
        bits.map(|bit| {
            if self.set.contains(Features::bit(bit)) {
                '1'
            } else {
                '0'
            }
        })
        .collect()
    }
}

/// The names of status bits, lowest first; a bit without one by its number.
fn status_names(status: Status) -> Vec<String> {
    let bits = (0..u8::BITS).map(|bit| Status::from_bits_retain(1 << bit));
    bits.enumerate()
        .filter(|(_, bit)| status.contains(*bit))
        .map(|(number, bit)| match bit.iter_names().next() {
            Some((name, _)) => name.to_owned(),
            None => format!("BIT_{number}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Device {
        Device {
            name: "virtio0".to_owned(),
            id: Some(DeviceId::BLOCK),
            driver: Some("virtio_blk".to_owned()),
            parent: Some("0000:00:03.0".to_owned()),
            interfaces: vec![Interface {
                class: "block".to_owned(),
                name: "vda".to_owned(),
            }],
            ..Device::default()
        }
    }

    fn tree() -> Tree {
        let other = Device {
            name: "virtio1".to_owned(),
            ..Device::default()
        };
        let driver = |name: &str| Driver {
            name: name.to_owned(),
            ..Driver::default()
        };
        Tree {
            place: "bus".to_owned(),
            devices: vec![disk(), other],
            drivers: vec![driver("virtio_blk"), driver("virtio_net")],
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_device_answers_to_every_name_that_people_have_for_it() {
        for name in ["virtio0", "blk", "virtio_blk", "0000:00:03.0", "vda"] {
            let mut tree = tree();

            assert_eq!(tree.narrow(&[name.to_owned()]), Ok(()));
            assert_eq!(tree.devices, [disk()], "{name}");
            assert_eq!(tree.drivers.len(), 1, "{name}");
        }
    }

    #[test]
    fn a_driver_may_be_asked_for_though_it_drives_nothing() {
        let mut tree = tree();

        assert_eq!(tree.narrow(&["virtio_net".to_owned()]), Ok(()));

        assert!(tree.devices.is_empty());
        assert_eq!(tree.drivers[0].name, "virtio_net");
    }

    #[test]
    fn a_name_that_nothing_answers_to_is_returned_and_nothing_is_lost() {
        let mut tree = tree();

        let names = ["virtio0", "vdb"].map(str::to_owned);

        assert_eq!(tree.narrow(&names), Err("vdb"));
        assert_eq!(tree.devices.len(), 2);
    }

    #[test]
    fn bits_are_written_as_they_were_read_64_or_128_of_them() {
        let short = format!("01{}1", "0".repeat(61));
        let long = format!("{}1", "0".repeat(127));

        for text in [short, long, "0".repeat(128)] {
            let (bits, beyond) = FeatureBits::read(&text).unwrap();

            assert_eq!((bits.string(), beyond), (text, 0));
        }
        assert!(FeatureBits::read("1").unwrap().0.string().len() == 64);
    }

    #[test]
    fn bits_that_no_set_has_are_counted_and_other_characters_refused() {
        let (bits, beyond) = FeatureBits::read(&"1".repeat(130)).unwrap();

        assert_eq!((bits.set, beyond), (Features(u128::MAX), 2));
        for text in ["", "0x0", "0120", "01\n", "\u{e9}"] {
            assert_eq!(FeatureBits::read(text), None, "{text}");
        }
    }

    #[test]
    fn status_bits_without_a_name_are_told_by_their_number() {
        let names = status_names(Status::from_bits_retain(0b0110_0001));

        assert_eq!(names, ["ACKNOWLEDGE", "BIT_5", "NEEDS_RESET"]);
    }
}
