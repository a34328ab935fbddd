//! A structure of registers: where it is, and by which way it is reached.

use ringway_spec::pci::config::Command;

use super::bar::{Place, Space};
use super::window::Target;
use crate::error::PlatformError;
use crate::platform::Platform;

/// Where a structure is, in one way at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Structure {
    /// Where it answers, unless its BAR has no address.
    pub(super) place: Option<Place>,
    /// How a window leads to it, if its function has one that the platform uses.
    pub(super) target: Option<Target>,
    pub(super) len: u32,
}

impl Structure {
    /// Its registers, the first `most` bytes of them, and what has the function answer there:
    /// behind a window it does so anyway, and there is nothing.
    ///
    /// The window is for what cannot be reached otherwise (§4.1.4.9).
    pub(super) fn reach<P: Platform>(
        &self,
        platform: &P,
        most: u64,
    ) -> Result<(P::Registers, Option<Command>), PlatformError> {
        let direct = match self.place {
            Some(place) => place
                .map(platform, most)
                .map(|registers| (registers, Some(place.command()))),
            None => Err(PlatformError::NotMapped(0)),
        };
        direct.or_else(|error| {
            let target = self.target.map(|target| target.first(most));
            let window = target.and_then(|target| platform.config_window(target));
            window.map(|registers| (registers, None)).ok_or(error)
        })
    }

    /// Whether it can be reached without the window, as far as is known before it is tried: ports
    /// are there or not, and memory is expected to be.
    pub(super) fn is_direct<P: Platform>(&self, platform: &P) -> bool {
        self.place.is_some_and(|place| match place.space {
            Space::Memory => true,
            Space::Ports => place.map(platform, u64::MAX).is_ok(),
        })
    }

    /// Whether it can be reached at all, as far as is known before.
    pub(super) fn is_in_reach<P: Platform>(&self, platform: &P) -> bool {
        self.target.is_some() || self.is_direct(platform)
    }
}
