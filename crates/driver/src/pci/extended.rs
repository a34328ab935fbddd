//! Capabilities in extended configuration space, as far as they can be believed.
//!
//! The numbers are those of the PCI Express Base Specification 5.0, section 7.6.

use ringway_spec::pci::extended::{CAPABILITY_EXPRESS, NONE, START, id, next};

use super::ConfigAccess;
use super::capability::list;
use super::config::Config;
use crate::error::Violation;

/// The offset of the first capability with this id. None if the function has none, or has no more
/// than 256 bytes of configuration space, or they are all that can be reached.
pub(super) fn find<C: ConfigAccess>(
    config: &Config<'_, C>,
    wanted: u16,
) -> Result<Option<usize>, Violation> {
    // Without it, whoever is asked for more may answer with the first bytes once again.
    let is_express =
        |found: &Result<(usize, u8), Violation>| matches!(found, Ok((_, CAPABILITY_EXPRESS)));
    if !list(*config).any(|found| is_express(&found)) {
        return Ok(None);
    }
    if matches!(config.read_extended32(START), NONE | u32::MAX) {
        return Ok(None);
    }
    let mut at = START;
    // One bit for each word that a capability can be at. None is met twice, so a list has an end.
    let mut seen = [0_u64; 16];
    loop {
        let bit = 1 << (at / 4 % 64);
        if let Some(word) = seen.get_mut(at / 4 / 64) {
            if *word & bit != 0 {
                return Err(Violation::Capability("extended list has a loop"));
            }
            *word |= bit;
        }
        let header = config.read_extended32(at);
        if id(header) == wanted {
            return Ok(Some(at));
        }
        match usize::from(next(header)) {
            0 => return Ok(None),
            1..START => return Err(Violation::Capability("extended list leads out of it")),
            following => at = following,
        }
    }
}
