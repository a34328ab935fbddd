//! An archive that Linux unpacks as its first root: cpio, in the "newc" form.

use std::io::{self, Write};

/// What begins each entry.
const MAGIC: &str = "070701";
/// The name of the entry that is none.
const LAST: &str = "TRAILER!!!";
/// Entries and their bytes begin at multiples of this.
const ALIGNMENT: usize = 4;
/// What a mode says of the kind of an entry.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive that is being made.
pub(in crate::pieces) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// One without entries.
    pub(in crate::pieces) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: 0,
        }
    }

    /// Adds a folder that everybody may enter. Those above it come first.
    ///
    /// # Errors
    ///
    /// The archive has no room for it.
    pub(in crate::pieces) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, FOLDER | 0o755, &[])
    }

    /// Adds a file that everybody may start.
    ///
    /// # Errors
    ///
    /// The archive has no room for it.
    pub(in crate::pieces) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, FILE | 0o755, content)
    }

    /// The archive, whole.
    ///
    /// # Errors
    ///
    /// It has no room for its end.
    pub(in crate::pieces) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entry(LAST, 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "more than 4 GiB");
        let size = u32::try_from(content.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.entries += 1;
        // In the order of the form: inode, mode, owner, group, links, time, size, device (two
        // halves), what it stands for if it is one (two halves), size of the name, and a checksum
        // that this form leaves out.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        write!(self.bytes, "{MAGIC}")?;
        for field in fields {
            write!(self.bytes, "{field:08X}")?;
        }
        write!(self.bytes, "{name}\0")?;
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(whole, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name, mode and content of each entry, read by the form's own rules.
    fn entries(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        while let Some(header) = bytes.get(..110) {
            let text = std::str::from_utf8(header).unwrap();
            assert!(text.starts_with(MAGIC));
            let field = |n: usize| u32::from_str_radix(&text[6 + 8 * n..][..8], 16).unwrap();
            let (mode, size, name) = (field(1), field(6) as usize, field(11) as usize);
            let content = (110 + name).next_multiple_of(4);
            found.push((
                String::from_utf8(bytes[110..110 + name - 1].to_vec()).unwrap(),
                mode,
                bytes[content..content + size].to_vec(),
            ));
            assert_eq!(bytes[110 + name - 1], 0);
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn what_is_put_in_is_read_out() {
        let mut archive = Archive::new();
        archive.folder("bin").unwrap();
        archive.file("bin/a", b"12345").unwrap();
        archive.file("init", b"").unwrap();

        let read = entries(&archive.finish().unwrap());

        let expected = [
            ("bin", 0o040_755, &b""[..]),
            ("bin/a", 0o100_755, b"12345"),
            ("init", 0o100_755, b""),
            (LAST, 0, b""),
        ];
        assert_eq!(read.len(), expected.len());
        for ((name, mode, content), expected) in read.iter().zip(expected) {
            assert_eq!((name.as_str(), *mode, content.as_slice()), expected);
        }
    }
}
