//! The command line of the image: words and `key=value` settings. The MMIO devices that QEMU's
//! microvm appends are read by the driver.

use ringway_driver::mmio::command_line::number;

use crate::error::{Error, Result};

/// The words of a command line, in order. There is no quoting: a word ends at the next blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLine {
    text: &'static str,
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

    /// Each `key=value`, as its word and its value.
    fn settings(&self, key: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.words()
            .filter_map(move |word| Some((word, word.strip_prefix(key)?.strip_prefix('=')?)))
    }
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
}
