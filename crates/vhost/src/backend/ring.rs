//! A ring as its carrier has it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::{Kick, Start};
use crate::ledger::LogSwitch;

/// What is kept of a ring.
pub(super) struct Ring {
    pub(super) kick: Kick<OwnedFd>,
    pub(super) state: State,
    /// How what it writes is logged, if it is.
    pub(super) log: Arc<LogSwitch>,
}

/// What a ring does.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    /// Nothing.
    Stopped,
    /// It waits for its parts to be shown, to run as this says.
    Waits(Start),
    /// It runs. It was started as this says.
    Runs(Start),
}

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            kick: Kick::Message,
            state: State::Stopped,
            log: Arc::default(),
        }
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Runs(_))
    }
}
