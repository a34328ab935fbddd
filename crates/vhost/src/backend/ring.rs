//! A ring as its carrier has it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_ring::driver::Areas;
use ringway_ring::map::Missing;

use super::{Kick, Start};
use crate::ledger::LogSwitch;

/// What is kept of a ring.
pub(super) struct Ring {
    pub(super) kick: Kick<OwnedFd>,
    pub(super) state: State,
    /// How what it writes is logged, if it is.
    pub(super) log: Arc<LogSwitch>,
    /// What happens to its chains is written down.
    pub(super) keeps: Keeps,
    /// What it waits for, and the front-end was asked for.
    pub(super) asked: Vec<Missing>,
}

/// What is written down of what happens to chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeps {
    /// Nothing.
    Nothing,
    /// What is logged.
    Log,
    /// What is in flight, and what is logged, if something is.
    Record,
}

/// What a ring does.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Nothing.
    Stopped,
    /// It waits for its parts to be shown, to run as this says.
    Waits(Start),
    /// It runs. It was started as this says, and is there.
    Runs(Start, Areas),
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            kick: Kick::Message,
            state: State::Stopped,
            log: Arc::default(),
            keeps: Keeps::Nothing,
            asked: Vec::new(),
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Runs(..))
    }
}
