//! Slots as a kernel's command line names them: `virtio_mmio.device=SIZE@ADDRESS:LINE[:ID]`, a word
//! for each.
//!
//! Numbers are decimal, or hexadecimal after `0x`; the size may have a `K`, `M` or `G` after it.
//!
//! ```
//! use ringway_driver::mmio::command_line::slots;
//!
//! let words = "quiet virtio_mmio.device=4K@0xfeb00000:5 virtio_mmio.device=512@0xfeb01000:6:3";
//! let slots: Result<Vec<_>, _> = slots(words).collect();
//!
//! let slots = slots?;
//! assert_eq!((slots[0].slot.address, slots[0].slot.len), (0xfeb0_0000, 4096));
//! assert_eq!((slots[1].slot.line, slots[1].id), (Some(6), Some(3)));
//! # Ok::<_, ringway_driver::mmio::command_line::Malformed<'_>>(())
//! ```

use core::fmt;

use super::Slot;

/// What such a word begins with.
const KEY: &str = "virtio_mmio.device=";

/// A slot that a command line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where it is.
    pub slot: Slot,
    /// The number that whoever wrote the word gave to the device, if any.
    pub id: Option<u32>,
}

/// A word that cannot be read, or whose window is empty or ends beyond the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed<'a>(pub &'a str);

impl fmt::Display for Malformed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word) = self;
        write!(f, "{word} is not virtio_mmio.device=SIZE@ADDRESS:LINE[:ID]")
    }
}

impl core::error::Error for Malformed<'_> {}

/// The slots that the words of `line` name, in order. Other words are passed over.
///
/// # Errors
///
/// [`Malformed`], in the place of that slot: the next may be fine.
pub fn slots(line: &str) -> impl Iterator<Item = Result<Named, Malformed<'_>>> {
    line.split_ascii_whitespace().filter_map(|word| {
        let value = word.strip_prefix(KEY)?;
        Some(parse(value).ok_or(Malformed(word)))
    })
}

/// A number, as it is written there: decimal, or hexadecimal after `0x`. None for anything else.
pub fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u64::from_str_radix(digits, radix).ok())?
}

fn parse(value: &str) -> Option<Named> {
    let (len, rest) = value.split_once('@')?;
    let mut fields = rest.split(':');
    let address = number(fields.next()?)?;
    let line = number(fields.next()?)?.try_into().ok()?;
    let id = match fields.next() {
        Some(id) => Some(number(id)?.try_into().ok()?),
        None => None,
    };
    let len = size(len).filter(|len| *len != 0)?;
    address.checked_add(len)?;
    let slot = Slot {
        address,
        len,
        line: Some(line),
    };
    fields.next().is_none().then_some(Named { slot, id })
}

fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (text.get(..text.len() - 1)?, 10),
        b'M' | b'm' => (text.get(..text.len() - 1)?, 20),
        b'G' | b'g' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_devices_that_microvm_appends_are_listed_in_order() {
        let line =
            "quiet virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xfeb00c00:11:3";

        let named: Vec<_> = slots(line).map(Result::unwrap).collect();

        let slot = |address, len, line| Slot {
            address,
            len,
            line: Some(line),
        };
        let [first, second] = named[..] else {
            panic!("{named:?}")
        };
        assert_eq!(first.slot, slot(0xfeb0_0e00, 512, 12));
        assert_eq!(second.slot, slot(0xfeb0_0c00, 4096, 11));
        assert_eq!((first.id, second.id), (None, Some(3)));
    }

    #[test]
    fn a_malformed_device_is_named_and_the_next_is_fine() {
        for value in [
            "",
            "512",
            "512@0xfeb00000",
            "512@0xfeb00000:",
            "512@0xfeb00000:5:",
            "512@0xfeb00000:5:1:1",
            "512@0xfeb00000:4294967296",
            "512@0xfeb00000:+5",
            "512@-1:5",
            "0@0xfeb00000:5",
            "K@0xfeb00000:5",
            "512T@0xfeb00000:5",
            "17179869184G@0:5",
            "512@0xffffffffffffff00:5",
            "512\u{e9}@0:5",
        ] {
            let word = std::format!("{KEY}{value}");
            let line = std::format!("{word} {KEY}1@2:3");

            let found: Vec<_> = slots(&line).collect();

            assert_eq!(found[0], Err(Malformed(&word)));
            assert_eq!(found[1].map(|named| named.slot.line), Ok(Some(3)));
        }
    }
}
