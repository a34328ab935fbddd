//! The capability by which a physical function has virtual ones: where it is, and what in it never
//! changes.

use ringway_spec::pci::extended::SIZE;
use ringway_spec::pci::sriov::{self, BYTES, Capabilities, INITIAL_VFS};

use crate::error::Violation;
use crate::pci::bar::Whose;
use crate::pci::config::Config;
use crate::pci::{ConfigAccess, extended};

/// The capability of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pci) struct Capability {
    /// Its offset in configuration space.
    pub(in crate::pci) at: usize,
    /// Virtual functions that there can be.
    pub(in crate::pci) total: u16,
    /// Those that there are at first: all, unless some are to come from elsewhere.
    pub(in crate::pci) initial: u16,
    /// They may go elsewhere.
    pub(in crate::pci) can_migrate: bool,
}

impl Capability {
    /// The capability, if the function has one.
    pub(in crate::pci) fn find<C: ConfigAccess>(
        config: &Config<'_, C>,
    ) -> Result<Option<Self>, Violation> {
        let Some(at) = extended::find(config, sriov::CAPABILITY)? else {
            return Ok(None);
        };
        if at > SIZE - BYTES {
            return Err(Violation::Capability("SR-IOV passes the end"));
        }
        let numbers = config.read_extended32(at + INITIAL_VFS);
        let (initial, total) = (numbers as u16, (numbers >> 16) as u16);
        let says = config.read_extended32(at + sriov::CAPABILITIES);
        let can_migrate =
            Capabilities::from_bits_retain(says).contains(Capabilities::VF_MIGRATION_CAPABLE);
        if initial > total || initial != total && !can_migrate {
            return Err(Violation::Capability(
                "SR-IOV has other virtual functions at first than in all",
            ));
        }
        Ok(Some(Self {
            at,
            total,
            initial,
            can_migrate,
        }))
    }

    /// Whose BARs are in it.
    pub(in crate::pci) fn bars(self) -> Whose {
        Whose::Virtual(self.at)
    }
}
