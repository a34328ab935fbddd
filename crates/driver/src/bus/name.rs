//! What a device of a bus is called.

use core::fmt;
use core::str::FromStr;

/// The name of a device: `virtio` and its number, which stays the same as long as the device is
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// What was parsed is no name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotName;

const BEFORE_NUMBER: &str = "virtio";

impl Name {
    /// The name of device `number`.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The device's number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEFORE_NUMBER}{}", self.0)
    }
}

impl FromStr for Name {
    type Err = NotName;

    fn from_str(text: &str) -> Result<Self, NotName> {
        let digits = text.strip_prefix(BEFORE_NUMBER).ok_or(NotName)?;
        let number = digits.parse().map(Self).map_err(|_| NotName)?;
        // Names are compared as text elsewhere: no two may mean the same.
        let plain = digits == "0" || digits.starts_with(|first| matches!(first, '1'..='9'));
        plain.then_some(number).ok_or(NotName)
    }
}

impl fmt::Display for NotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a device is called virtioN, by its number")
    }
}

impl core::error::Error for NotName {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_name_is_read_as_it_is_written_and_in_no_other_way() {
        for number in [0, 1, 10, u32::MAX] {
            let name = Name::new(number);
            assert_eq!(name.to_string().parse(), Ok(name));
        }

        for text in [
            "",
            "virtio",
            "virtio+1",
            "virtio01",
            "virtio00",
            "virtio4294967296",
            "vda",
        ] {
            assert_eq!(text.parse::<Name>(), Err(NotName), "{text}");
        }
    }
}
