//! The command line of the image: words, `key=value` settings, and the MMIO devices that QEMU's
//! microvm appends.

use alloc::vec::Vec;
use core::ops::Range;

use crate::error::{Error, Result};

/// Most `virtio_mmio.device` words on one command line. QEMU's microvm has at most 24 slots.
pub const MOST_DEVICES: usize = 32;

/// The words of a command line, in order. There is no quoting: a word ends at the next blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine {
    text: &'static str,
}

/// A window of virtio-mmio registers, as one `virtio_mmio.device=SIZE@ADDRESS:IRQ[:ID]` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    /// Physical addresses of the registers.
    pub registers: Range<u64>,
    /// The interrupt line.
    pub gsi: u32,
    /// The platform's number for the device, if it was given one.
    pub id: Option<u32>,
}

impl CommandLine {
    /// A command line to look things up in.
    pub fn new(text: &'static str) -> Self {
        Self { text }
    }

    /// The whole line.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// The words, in order.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.text.split_ascii_whitespace()
    }

    /// Whether `word` is there, just so.
    pub fn has(&self, word: &str) -> bool {
        self.words().any(|w| w == word)
    }

    /// The value of the last `key=value`.
    pub fn value(&self, key: &str) -> Option<&'static str> {
        self.settings(key).last().map(|(_, value)| value)
    }

    /// The value of the last `key=value`, as a number: decimal, or hexadecimal after `0x`.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`]: the value is not a number.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        self.settings(key)
            .last()
            .map(|(word, value)| number(value).ok_or(Error::Malformed { word }))
            .transpose()
    }

    /// The devices of all `virtio_mmio.device` words, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`]: one of them cannot be read, or its window is empty or ends beyond the address space.
    /// [`Error::TooManyDevices`]: there are more than [`MOST_DEVICES`].
    pub fn mmio_devices(&self) -> Result<Vec<MmioDevice>> {
        let mut devices = Vec::new();
        for (word, value) in self.settings("virtio_mmio.device") {
            if devices.len() == MOST_DEVICES {
                return Err(Error::TooManyDevices);
            }
            devices.push(MmioDevice::parse(value).ok_or(Error::Malformed { word })?);
        }
        Ok(devices)
    }

    /// Each `key=value`, as its word and its value.
    fn settings(&self, key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.words()
            .filter_map(move |word| Some((word, word.strip_prefix(key)?.strip_prefix('=')?)))
    }
}

impl MmioDevice {
    fn parse(value: &str) -> Option<Self> {
        let (length, rest) = value.split_once('@')?;
        let mut fields = rest.split(':');
        let start = number(fields.next()?)?;
        let gsi = number(fields.next()?)?.try_into().ok()?;
        let id = match fields.next() {
            Some(id) => Some(number(id)?.try_into().ok()?),
            None => None,
        };
        let end = start.checked_add(size(length)?)?;
        let whole = fields.next().is_none() && start < end;
        whole.then_some(Self {
            registers: start..end,
            gsi,
            id,
        })
    }
}

/// A number with an optional `K`, `M` or `G`.
fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (text.get(..text.len() - 1)?, 10),
        b'M' | b'm' => (text.get(..text.len() - 1)?, 20),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_settings_are_found_and_the_last_setting_wins() {
        let line = CommandLine::new(" mmio  watchdog=5 selftest=ok watchdog=0x10 ");

        assert!(line.has("mmio") && !line.has("watchdog"));
        assert_eq!(line.value("selftest"), Some("ok"));
        assert_eq!(line.value("self"), None);
        assert_eq!(line.number("watchdog"), Ok(Some(16)));
        assert_eq!(line.number("seed"), Ok(None));
    }

    #[test]
    fn a_setting_that_should_be_a_number_and_is_not_is_named() {
        for word in [
            "n=",
            "n=x",
            "n=0x",
            "n=+1",
            "n=-1",
            "n=1k",
            "n=99999999999999999999",
        ] {
            let line = CommandLine::new(word);

            assert_eq!(line.number("n"), Err(Error::Malformed { word }));
        }
    }

    #[test]
    fn the_devices_that_microvm_appends_are_listed_in_order() {
        let line = CommandLine::new(
            "selftest=ok virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xfeb00c00:11:3",
        );

        let devices = line.mmio_devices().unwrap();

        let expected = [
            MmioDevice {
                registers: 0xfeb0_0e00..0xfeb0_1000,
                gsi: 12,
                id: None,
            },
            MmioDevice {
                registers: 0xfeb0_0c00..0xfeb0_1c00,
                gsi: 11,
                id: Some(3),
            },
        ];
        assert_eq!(devices, expected);
    }

    #[test]
    fn a_malformed_device_is_named() {
        for word in [
            "virtio_mmio.device=",
            "virtio_mmio.device=512",
            "virtio_mmio.device=512@0xfeb00000",
            "virtio_mmio.device=512@0xfeb00000:",
            "virtio_mmio.device=512@0xfeb00000:5:",
            "virtio_mmio.device=512@0xfeb00000:5:1:1",
            "virtio_mmio.device=512@0xfeb00000:4294967296",
            "virtio_mmio.device=0@0xfeb00000:5",
            "virtio_mmio.device=K@0xfeb00000:5",
            "virtio_mmio.device=512T@0xfeb00000:5",
            "virtio_mmio.device=17179869184G@0:5",
            "virtio_mmio.device=512@0xffffffffffffff00:5",
            "virtio_mmio.device=512\u{e9}@0:5",
        ] {
            let line = CommandLine::new(word);

            assert_eq!(
                line.mmio_devices(),
                Err(Error::Malformed { word }),
                "{word}"
            );
        }
    }

    #[test]
    fn one_device_more_than_the_most_is_an_error() {
        let words = "virtio_mmio.device=512@0xfeb00000:5 ".repeat(MOST_DEVICES + 1);
        let (most, _) = words.rsplit_once("virtio").unwrap();
        let (most, words) = (most.to_owned().leak(), words.leak());

        assert_eq!(
            CommandLine::new(most).mmio_devices().unwrap().len(),
            MOST_DEVICES
        );
        assert_eq!(
            CommandLine::new(words).mmio_devices(),
            Err(Error::TooManyDevices)
        );
    }
}
