//! What a machine in QEMU says: events, and things that are none.

use std::collections::VecDeque;
use std::fmt::Write;

use ringway_check::event::Event;

use super::child::{Ended, How};

/// QEMU's exit statuses when the image has left by itself: all went well, or something did not.
const LEFT: [i32; 2] = [33, 35];

/// Lines that are kept of what is no event.
const NOISE_MAX: usize = 5;

/// What was heard of one machine.
#[derive(Default)]
pub(super) struct Voice {
    /// It said that it came to its end.
    ended: bool,
    /// It said that it cannot go on, and why.
    failed: Option<String>,
    /// The last that it said besides.
    noise: VecDeque<String>,
}

impl Voice {
    /// Hears one line. What is no matter of the machine's own is returned.
    pub(super) fn hear(&mut self, line: &str) -> Option<Event> {
        match Event::from_line(line) {
            Some(Event::Start) => None,
            Some(Event::End { .. }) => {
                self.ended = true;
                None
            }
            Some(Event::Failed { what, detail }) => {
                self.failed = Some(format!("{what}: {detail}"));
                None
            }
            Some(event) => Some(event),
            None => {
                if !line.is_empty() {
                    self.noise.push_back(line.to_owned());
                }
                if self.noise.len() > NOISE_MAX {
                    self.noise.pop_front();
                }
                None
            }
        }
    }

    /// Whether the machine came to its end, all that was to be done being done. Whether it was done
    /// well, its devices' reports tell.
    pub(super) fn judge(self, ended: &Ended) -> Result<(), String> {
        let mut why = match (&ended.how, &self.failed) {
            (How::Silent(limit), _) => {
                format!("it said nothing for {} s, and was stopped", limit.as_secs())
            }
            (How::Stayed, _) => "it did not end, and was stopped".to_owned(),
            (How::Left(_), Some(failed)) => failed.clone(),
            (How::Left(status), None) => {
                let left = status.code().is_some_and(|code| LEFT.contains(&code));
                if left && self.ended {
                    return Ok(());
                }
                format!("QEMU ended before the image did, with {status}")
            }
        };
        for line in ended
            .complaint
            .lines()
            .chain(self.noise.iter().map(String::as_str))
        {
            // A `String` takes whatever is written to it.
            let _ = write!(why, "\n{line}");
        }
        Err(why)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    const END: &str = r#"{"event":"end","ok":true}"#;
    const PANIC: &str = r#"{"event":"failed","what":"panic","detail":"at the disco"}"#;
    const PROGRESS: &str = r#"{"event":"progress","device":"virtio0","done":1,"total":2}"#;

    fn judge(lines: &[&str], how: How) -> Result<(), String> {
        let mut voice = Voice::default();
        for line in lines {
            voice.hear(line);
        }
        let complaint = "no such device".to_owned();
        voice.judge(&Ended { how, complaint })
    }

    fn left(code: i32) -> How {
        How::Left(ExitStatus::from_raw(code << 8))
    }

    #[test]
    fn an_end_that_was_said_is_one_whatever_the_checks_found() {
        assert_eq!(judge(&[END], left(33)), Ok(()));
        assert_eq!(judge(&[END], left(35)), Ok(()));
    }

    #[test]
    fn an_end_that_was_not_said_is_told_with_all_that_was() {
        let why = judge(&["Booting from ROM"], left(1)).unwrap_err();

        assert_eq!(
            why,
            "QEMU ended before the image did, with exit status: 1\nno such device\nBooting from ROM"
        );
        assert!(judge(&[END], left(1)).is_err());
        assert!(judge(&[], left(33)).is_err());
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_image() {
        let why = judge(&[PANIC], left(35)).unwrap_err();

        assert!(why.starts_with("panic: at the disco\n"), "{why}");
    }

    #[test]
    fn a_silent_machine_is_told_from_one_that_does_not_go() {
        let silent = judge(&[END], How::Silent(Duration::from_secs(7)));
        let stayed = judge(&[END], How::Stayed);

        assert!(silent.unwrap_err().contains("nothing for 7 s"));
        assert!(stayed.unwrap_err().contains("did not end"));
    }

    #[test]
    fn what_concerns_devices_is_passed_on() {
        let mut voice = Voice::default();

        assert!(matches!(voice.hear(PROGRESS), Some(Event::Progress { .. })));
        assert_eq!(voice.hear("noise"), None);
        assert_eq!(voice.hear(END), None);
    }
}
