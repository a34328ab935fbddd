//! What Linux calls a device of a bus of virtio devices, so that the module with its driver can be
//! found by name. Spec: VIRTIO 1.4 §5 "Device Types".
//!
//! The form is Linux's, and not in the specification: `virtio:d`, the device type, `v`, the vendor,
//! each as eight hexadecimal digits in upper case.

use core::fmt;
use core::str::FromStr;

use crate::DeviceId;

const BEFORE_DEVICE: &str = "virtio:d";
const BEFORE_VENDOR: &str = "v";

/// A device type and a vendor. Displays as `virtio:d00000002v00001AF4`, and is parsed from that
/// form alone: names are compared as text, so that no two may mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "MODALIAS")]
#[doc(alias = "virtio_device_id")]
pub struct Modalias {
    /// What kind of device it is.
    pub device: DeviceId,
    /// Whose it is. On PCI, the subsystem's vendor (§4.1.2.1).
    pub vendor: u32,
}

/// What was parsed is no modalias of a virtio device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotModalias;

impl fmt::Display for Modalias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, vendor) = (self.device.0, self.vendor);
        write!(f, "{BEFORE_DEVICE}{device:08X}{BEFORE_VENDOR}{vendor:08X}")
    }
}

impl FromStr for Modalias {
    type Err = NotModalias;

    fn from_str(text: &str) -> Result<Self, NotModalias> {
        let parse = || {
            let (device, rest) = number(text.strip_prefix(BEFORE_DEVICE)?)?;
            let (vendor, rest) = number(rest.strip_prefix(BEFORE_VENDOR)?)?;
            rest.is_empty().then_some(Self {
                device: DeviceId(device),
                vendor,
            })
        };
        parse().ok_or(NotModalias)
    }
}

impl fmt::Display for NotModalias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a modalias of a virtio device has the form virtio:dXXXXXXXXvXXXXXXXX")
    }
}

impl core::error::Error for NotModalias {}

/// The number at the beginning, of eight digits, and what follows it.
fn number(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(8)?;
    // `from_str_radix` would take a sign, and lower case.
    let plain = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    plain.then_some(())?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn a_modalias_is_written_as_linux_writes_it_and_read_back() {
        let disk = Modalias {
            device: DeviceId::BLOCK,
            vendor: 0x1af4,
        };
        let largest = Modalias {
            device: DeviceId(u32::MAX),
            vendor: u32::MAX,
        };

        assert_eq!(disk.to_string(), "virtio:d00000002v00001AF4");
        for alias in [disk, largest] {
            assert_eq!(alias.to_string().parse(), Ok(alias));
        }
    }

    #[test]
    fn what_has_another_form_is_no_modalias() {
        for text in [
            "",
            "virtio:",
            "virtio:d00000002",
            "virtio:d00000002v",
            "virtio:d00000002v00001af4",
            "virtio:d00000002v00001AF4\n",
            "virtio:d00000002v00001AF40",
            "virtio:d00000002v00001AF",
            "virtio:d+0000002v00001AF4",
            "virtio:d0000000\u{e9}v00001AF4",
            "virtio:d00000002v*",
            "pci:v00001AF4d00001042",
        ] {
            assert_eq!(text.parse::<Modalias>(), Err(NotModalias), "{text}");
        }
    }
}
