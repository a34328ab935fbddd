//! What is said of a run while it runs: one JSON object a line, where it goes over a wire.

use alloc::boxed::Box;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::report::DeviceReport;
use crate::tree::BusReport;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Event {
    /// A machine that was started is up. Said by the machine.
    Start,
    /// The exercise of a device begins.
    Begin {
        /// What the device is called.
        device: String,
        /// Its type, by its short name.
        #[serde(rename = "type")]
        kind: String,
        /// How it is reached.
        transport: String,
    },
    /// A device has done some of its work. Said at most [`PROGRESS_MAX`] times of each.
    Progress {
        /// What the device is called.
        device: String,
        /// Bytes that are done.
        done: u64,
        /// Bytes that there are to do.
        total: u64,
    },
    /// A disk was written, and said that it was.
    Wrote {
        /// What the device is called.
        device: String,
        /// The first sector, of 512 bytes.
        sector: u64,
        /// How many bytes.
        bytes: u64,
        /// The SHA-256 of what was written, in hexadecimal.
        sha256: String,
    },
    /// The exercise of a device is over.
    Device(Box<DeviceReport>),
    /// Something is so of a slot in which devices come and go.
    Slot {
        /// The slot's number.
        slot: u16,
        /// What it is: `watched`, `used` by a device that came, `left` by one that was let go, or `lost`
        /// by one that was not.
        state: String,
        /// How many requests a device had when it was to go.
        in_flight: u16,
    },
    /// The link of a network card is so, or has become so.
    Link {
        /// What the card is called.
        device: String,
        /// Whether there is one.
        up: bool,
        /// Whether the driver is asked to announce itself.
        announce: bool,
    },
    /// The exercise of a bus is over.
    Bus(Box<BusReport>),
    /// All is done. Said by a machine that was started, before it is switched off.
    End {
        /// Whether all went well.
        ok: bool,
    },
    /// A machine that was started could not go on. Said by the machine, at last.
    Failed {
        /// What kind of thing happened: `panic`, `exception`, `hang`, `setup`.
        what: String,
        /// What happened.
        detail: String,
    },
}

/// How often progress is said of one device, at most.
pub const PROGRESS_MAX: u64 = 200;

impl Event {
    /// The event as one line, without its end.
    pub fn to_line(&self) -> String {
        // Cannot fail: all keys are strings, and a `String` takes whatever is written to it.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The event that a line says. `None` if it says none that is known here.
    pub fn from_line(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn an_event_is_one_line_and_comes_back_from_it() {
        let device = DeviceReport {
            name: "virtio0".to_string(),
            ..DeviceReport::default()
        };
        let failed = Event::Failed {
            what: "panic".to_string(),
            detail: "two\nlines".to_string(),
        };

        for event in [
            Event::Device(Box::new(device)),
            Event::Bus(Box::default()),
            failed,
            Event::End { ok: true },
        ] {
            let line = event.to_line();

            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Event::from_line(&line), Some(event));
        }
    }

    #[test]
    fn a_device_says_its_report_beside_the_name_of_the_event() {
        let line = Event::Device(Box::default()).to_line();

        assert!(
            line.starts_with(r#"{"event":"device","name":"","type":"","#),
            "{line}"
        );
    }

    #[test]
    fn a_start_may_say_more_than_is_asked_of_it() {
        let line = r#"{"event":"start","command_line":"exercise","memory":1}"#;

        assert_eq!(Event::from_line(line), Some(Event::Start));
    }

    #[test]
    fn what_is_no_event_is_none() {
        for line in ["", "SeaBIOS (version 1.16)", "{}", r#"{"event":"tea"}"#] {
            assert_eq!(Event::from_line(line), None);
        }
    }
}
