//! What happens on a bus, for whoever watches it.

use alloc::collections::VecDeque;
use core::fmt;

use ringway_spec::Modalias;

use super::Name;
use crate::error::Error;

/// Most events that are kept until somebody asks: a device that does things all the time costs no
/// more memory than these.
const EVENTS_MAX: usize = 256;

/// Something that has happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the device is called.
    pub name: Name,
    /// What it is.
    pub modalias: Modalias,
    /// What has happened.
    pub what: What,
}

/// What has happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It was added.
    Added,
    /// It was removed, or has gone.
    Removed,
    /// It was bound to the driver of this name.
    Bound(&'static str),
    /// It was taken back from the driver of this name, or that has let go of it.
    Unbound(&'static str),
    /// Something went wrong with it.
    Failed(Error),
    /// Its configuration has changed.
    ConfigChanged,
    /// It asked to be reset (§2.1.2).
    NeedsReset,
    /// It was suspended.
    Suspended,
    /// It goes on, or is without a driver as before.
    Resumed,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, of) = match self.what {
            What::Added => ("add", None),
            What::Removed => ("remove", None),
            What::Bound(driver) => ("bind", Some(driver)),
            What::Unbound(driver) => ("unbind", Some(driver)),
            _ => ("change", None),
        };
        write!(f, "{action}@{} MODALIAS={}", self.name, self.modalias)?;
        if let Some(driver) = of {
            write!(f, " DRIVER={driver}")?;
        }
        match self.what {
            What::Failed(error) => write!(f, " ERROR={error}"),
            What::ConfigChanged => f.write_str(" CONFIG=1"),
            What::NeedsReset => f.write_str(" NEEDS_RESET=1"),
            What::Suspended => f.write_str(" SUSPENDED=1"),
            What::Resumed => f.write_str(" SUSPENDED=0"),
            _ => Ok(()),
        }
    }
}

/// The last events.
#[derive(Debug)]
pub(super) struct Events {
    kept: VecDeque<Event>,
    lost: u64,
}

impl Events {
    pub(super) const fn new() -> Self {
        Self {
            kept: VecDeque::new(),
            lost: 0,
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.kept.len() == EVENTS_MAX {
            self.kept.pop_front();
            self.lost += 1;
        }
        self.kept.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.kept.pop_front()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}
