//! The host, on the switch of the cards, by a TAP interface.

use std::io;
use std::sync::Arc;

use ringway_host::net::{Switch, Tap, TapOptions};

use super::{Kept, Neighbour};
use crate::refusal::{Refusal, Result};

/// An interface that is open, and joined to nothing yet.
pub(in crate::serve) struct Uplink {
    switch: Arc<Switch>,
    tap: Tap,
    kept: Kept,
}

impl Uplink {
    pub(super) fn open(name: &str, queues: u16, switch: Arc<Switch>) -> Result<Self> {
        let kept = Kept::default();
        let told = kept.clone();
        let failed = move |error: io::Error| {
            told.fail(&Refusal::new(format_args!(
                "nothing comes from the host any more, its interface is gone: {error}; the cards go on \
                 without"
            )));
        };
        let options = TapOptions {
            queues,
            ..TapOptions::default()
        };
        let tap = Tap::open(name, options, failed)?;
        Ok(Self { switch, tap, kept })
    }

    /// Joins it to the switch.
    pub(super) fn start(self) -> Neighbour {
        let name = self.tap.name().to_owned();
        self.switch.uplink(Arc::new(self.tap));
        Neighbour::Uplink(name, self.kept)
    }
}
