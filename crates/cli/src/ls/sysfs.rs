//! Files and folders that should be of sysfs, and may be anything: absent, huge, binary, a pipe that
//! nobody writes to, or gone since they were listed.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::tree::Problem;

/// Most bytes of an attribute: the kernel gives at most a page.
const MOST_BYTES: u64 = 4096;
/// Most entries of a folder, against one that has no end: far more than any bus has devices.
const MOST_ENTRIES: usize = 4096;
/// Most characters that are shown of something that should not be there.
const MOST_SHOWN: usize = 160;

/// An entry of a folder.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its name, fit to be shown.
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order of their names, numbers in them by their size.
    pub(super) entries: Vec<Entry>,
    /// Whether there were more than fit.
    truncated: bool,
}

impl Listing {
    /// Lists a folder. Entries that go away meanwhile are not in it.
    ///
    /// # Errors
    ///
    /// It is not there, or cannot be read.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(folder)? {
            if listing.entries.len() == MOST_ENTRIES {
                listing.truncated = true;
                break;
            }
            let entry = entry?;
            listing.entries.push(Entry {
                name: printable(entry.file_name().as_encoded_bytes()),
                path: entry.path(),
            });
        }
        listing
            .entries
            .sort_by_cached_key(|entry| natural(&entry.name));
        Ok(listing)
    }

    /// What is wrong with it, as an attribute of this name.
    pub(super) fn problem(&self, attribute: &'static str) -> Option<Problem> {
        self.truncated.then(|| Problem {
            attribute,
            why: format!("there are more than {MOST_ENTRIES}, and the rest is not shown"),
        })
    }
}

/// The text of an attribute, without the end of its line.
///
/// # Errors
///
/// Why there is none, as words that follow its name.
pub(super) fn attribute(path: &Path) -> Result<String, String> {
    let bytes = read(path, MOST_BYTES).map_err(|error| why(&error))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = str::from_utf8(line).ok();
    let text = text.filter(|text| !text.contains(char::is_control));
    match text {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("is no line of text: {}", printable(line))),
    }
}

/// What is in a file of at most `most` bytes.
///
/// # Errors
///
/// It cannot be read, is no file, or has more.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// What an error is, as words that follow a name.
pub(super) fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The name of what a link leads to, whether or not that is there.
pub(super) fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(printable(target.file_name()?.as_encoded_bytes()))
}

/// Bytes as text that does no harm to a terminal, and is not too long for it.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..MOST_SHOWN * 4).unwrap_or(bytes));
    let mut shown = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == MOST_SHOWN {
            shown.push('…');
            break;
        }
        // Neither what controls a terminal nor what turns or hides the letters around it.
        let plain = character == ' '
            || character.is_ascii_graphic()
            || character.escape_debug().count() == 1;
        if plain {
            shown.push(character);
        } else {
            shown.extend(character.escape_debug());
        }
    }
    shown
}

/// A key that sorts numbers in a name by their size: what is before the last digits, and those.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = name
        .get(stem.len()..)
        .and_then(|digits| digits.parse().ok());
    (stem.to_owned(), number.unwrap_or(0), name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn an_attribute_is_its_line() {
        let folder = folder();
        let path = folder.path().join("vendor");

        fs::write(&path, "0x1af4\n").unwrap();

        assert_eq!(attribute(&path).unwrap(), "0x1af4");
    }

    #[test]
    fn a_file_without_an_end_is_read_up_to_a_bound() {
        let folder = folder();
        let path = folder.path().join("features");
        let whole = vec![b'1'; 4096];

        fs::write(&path, &whole).unwrap();
        let at_most = attribute(&path);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let beyond = attribute(&path);

        assert_eq!(at_most.unwrap().len(), 4096);
        assert!(beyond.unwrap_err().contains("more than 4096 bytes"));
    }

    #[test]
    fn bytes_that_are_no_text_are_told_in_a_form_that_a_terminal_survives() {
        let folder = folder();
        let path = folder.path().join("status");

        for bytes in [&b"\x1b[2J\xff"[..], b"a\nb\n", &[0; 4096]] {
            fs::write(&path, bytes).unwrap();

            let why = attribute(&path).unwrap_err();

            assert!(why.starts_with("is no line of text"), "{why}");
            assert!(!why.contains(char::is_control), "{why:?}");
            assert!(why.chars().count() < 2 * MOST_SHOWN * 6, "{why}");
        }
    }

    #[test]
    fn names_are_shown_as_they_are_unless_a_terminal_would_do_otherwise() {
        for (name, shown) in [
            ("vda 'é\\\"", "vda 'é\\\""),
            ("a\tb\u{7f}", "a\\tb\\u{7f}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(printable(name.as_bytes()), shown);
        }
        assert_eq!(printable(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = folder();
        let pipe = folder.path().join("device");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());

        for path in [pipe, folder.path().to_owned()] {
            let why = attribute(&path).unwrap_err();

            assert!(why.contains("no file"), "{why}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_whose_reading_fails_says_so() {
        let folder = folder();

        let gone = attribute(&folder.path().join("gone"));
        // Nothing is at address 0 of any process.
        let failing = attribute(Path::new("/proc/self/mem"));

        assert_eq!(gone.unwrap_err(), "is not there");
        assert!(failing.unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn names_are_sorted_by_their_numbers() {
        let folder = folder();
        for name in ["virtio10", "virtio9", "a", "virtio99999999999999999999"] {
            fs::write(folder.path().join(name), "").unwrap();
        }

        let listing = Listing::of(folder.path()).unwrap();

        let names: Vec<_> = listing.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(
            names,
            ["a", "virtio99999999999999999999", "virtio9", "virtio10"]
        );
    }

    #[test]
    fn a_folder_without_an_end_is_listed_up_to_a_bound() {
        let folder = folder();
        for number in 0..=MOST_ENTRIES {
            fs::write(folder.path().join(number.to_string()), "").unwrap();
        }

        let listing = Listing::of(folder.path()).unwrap();

        assert_eq!(listing.entries.len(), MOST_ENTRIES);
        assert!(listing.problem("devices").is_some());
    }

    #[test]
    fn a_link_has_the_name_of_what_it_leads_to() {
        let folder = folder();
        let link = folder.path().join("driver");
        symlink("../../drivers/virtio_blk", &link).unwrap();

        assert_eq!(link_name(&link).as_deref(), Some("virtio_blk"));
        assert_eq!(link_name(folder.path()), None);
    }
}
