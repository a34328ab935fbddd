//! A device of the bus, from the files in its folder.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use ringway_spec::{DeviceId, Modalias, Status};

use super::interface;
use super::interrupts::{self, Interrupts};
use super::sysfs::{self, Entry, Listing};
use crate::tree::{Device, FeatureBits, Problem};

/// Reads a device. What cannot be read is told as a problem of it.
pub(super) fn read(at: &Entry, interrupts: &Interrupts) -> Device {
    let mut device = Device {
        name: at.name.clone(),
        ..Device::default()
    };
    device.read_attributes(&at.path);
    // After they were read: one that goes away meanwhile has no place any more.
    let folder = match fs::canonicalize(&at.path) {
        Ok(folder) => folder,
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "it went away while it was looked at".to_owned(),
                _ => sysfs::why(&error),
            };
            device.problems.clear();
            device.odd("device", why);
            return device;
        }
    };
    device.driver = sysfs::link_name(&folder.join("driver"));
    device.interfaces = interface::below(&folder);
    let mut irqs = BTreeSet::new();
    if let Some(parent) = folder.parent().filter(|parent| is_device(parent)) {
        device.transport = transport(parent);
        device.parent = shown_name(parent);
        device.pci_address = parent.ancestors().find_map(pci_address);
        irqs = numbers(parent);
    }
    device.interrupts = interrupts.of(&device.name, &irqs);
    device.queues = interrupts::queues(&device.name, &device.interrupts);
    device
}

impl Device {
    fn read_attributes(&mut self, folder: &Path) {
        self.id = self.number(folder, "device").map(DeviceId);
        self.vendor = self.number(folder, "vendor");
        self.status = self.number(folder, "status").and_then(|status| {
            let bits = u8::try_from(status).ok();
            if bits.is_none() {
                self.odd("status", format!("is {status:#x}, and has 8 bits"));
            }
            Some(Status::from_bits_retain(bits?))
        });
        self.modalias = self.text(folder, "modalias");
        self.check_modalias();
        self.features = self.text(folder, "features").and_then(|text| {
            let read = FeatureBits::read(&text);
            match &read {
                Some((_, 0)) => {}
                Some((_, beyond)) => {
                    self.odd(
                        "features",
                        format!("has {beyond} bits beyond the last that can be"),
                    );
                }
                None => {
                    let shown = sysfs::printable(text.as_bytes());
                    self.odd("features", format!("is no string of bits: {shown}"));
                }
            }
            Some(read?.0)
        });
    }

    /// Looks whether the modalias says what the other attributes do.
    fn check_modalias(&mut self) {
        let Some(text) = &self.modalias else { return };
        match text.parse::<Modalias>() {
            Ok(alias) => {
                let device = self.id.is_none_or(|id| id == alias.device);
                let vendor = self.vendor.is_none_or(|vendor| vendor == alias.vendor);
                if !(device && vendor) {
                    let why = "is of another device or vendor than those that are told";
                    self.odd("modalias", why.to_owned());
                }
            }
            Err(why) => {
                let shown = sysfs::printable(text.as_bytes());
                self.odd("modalias", format!("{why}: {shown}"));
                self.modalias = None;
            }
        }
    }

    fn text(&mut self, folder: &Path, name: &'static str) -> Option<String> {
        match sysfs::attribute(&folder.join(name)) {
            Ok(text) => Some(text),
            Err(why) => {
                self.odd(name, why);
                None
            }
        }
    }

    /// A number as Linux writes these: hexadecimal, after `0x`.
    fn number(&mut self, folder: &Path, name: &'static str) -> Option<u32> {
        let text = self.text(folder, name)?;
        let digits = text.strip_prefix("0x").filter(|digits| {
            // `from_str_radix` would take a sign.
            digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        if number.is_none() {
            let shown = sysfs::printable(text.as_bytes());
            self.odd(
                name,
                format!("is no hexadecimal number of 32 bits: {shown}"),
            );
        }
        number
    }

    fn odd(&mut self, attribute: &'static str, why: String) {
        self.problems.push(Problem { attribute, why });
    }
}

/// Whether a folder is that of a device on some bus.
fn is_device(folder: &Path) -> bool {
    folder.join("subsystem").is_symlink()
}

fn shown_name(folder: &Path) -> Option<String> {
    Some(sysfs::printable(folder.file_name()?.as_encoded_bytes()))
}

/// What kind of transport the parent of a device is.
fn transport(parent: &Path) -> Option<String> {
    let bus = sysfs::link_name(&parent.join("subsystem"));
    let driver = sysfs::link_name(&parent.join("driver"));
    match (bus.as_deref(), driver.as_deref()) {
        (Some("pci" | "ccw" | "vdpa"), _) => bus,
        (_, Some("virtio-mmio")) => Some("mmio".to_owned()),
        (_, Some(_)) => driver,
        _ => bus,
    }
}

/// The address of a PCI function, if that is what a folder is: `0000:00:03.0`.
fn pci_address(folder: &Path) -> Option<String> {
    let name = folder.file_name()?.to_str()?;
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (domain, rest) = name.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    let sized = domain.len() >= 4 && bus.len() == 2 && device.len() == 2 && function.len() == 1;
    let all = [domain, bus, device, function];
    (sized && all.into_iter().all(hexadecimal)).then(|| name.to_owned())
}

/// The interrupts of the parent: its message-signalled ones, or else its line.
fn numbers(parent: &Path) -> BTreeSet<u32> {
    if let Ok(listing) = Listing::of(&parent.join("msi_irqs")) {
        let names = listing.entries.iter();
        return names.filter_map(|entry| entry.name.parse().ok()).collect();
    }
    let line = sysfs::attribute(&parent.join("irq")).ok();
    let line = line.and_then(|text| text.parse().ok());
    // No line is number 0.
    line.filter(|irq| *irq != 0).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_known_by_its_form() {
        for name in ["0000:00:03.0", "10000:e1:1f.7"] {
            let found = pci_address(&Path::new("/sys/devices").join(name));

            assert_eq!(found.as_deref(), Some(name));
        }
        for name in [
            "pci0000:00",
            "00:03.0",
            "0000:00:03",
            "0000:00:3.0",
            "0000:00:03.0:x",
            "0000:0g:03.0",
            "virtio0",
        ] {
            assert_eq!(pci_address(Path::new(name)), None, "{name}");
        }
    }
}
