//! A tool's version, out of what it prints.

use std::fmt;

/// A version, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// A year's releases.
    pub(crate) major: u32,
    /// The release within them.
    pub(crate) minor: u32,
}

impl Version {
    /// Reads what follows `before` in what the tool said.
    pub(crate) fn after(before: &str, said: &str) -> Option<Self> {
        let (_, after) = said.split_once(before)?;
        let mut parts = after.split(|c: char| !c.is_ascii_digit());
        Some(Self {
            major: parts.next()?.parse().ok()?,
            minor: parts.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "QEMU emulator version ";

    #[test]
    fn a_distribution_s_version_is_read() {
        let said = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)\nCopyright";

        let version = Version::after(BEFORE, said);

        assert_eq!(
            version,
            Some(Version {
                major: 10,
                minor: 0
            })
        );
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let old = Version::after(BEFORE, "QEMU emulator version 7.2.17").unwrap();
        let new = Version::after(BEFORE, "QEMU emulator version 10.0.0").unwrap();

        assert!(old < new);
    }

    #[test]
    fn anything_else_is_no_version() {
        let said = [
            "",
            "QEMU emulator version",
            "QEMU emulator version x.y",
            "7.2.0",
        ];

        assert!(said.iter().all(|s| Version::after(BEFORE, s).is_none()));
    }
}
