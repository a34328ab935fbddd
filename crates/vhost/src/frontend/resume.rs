//! Where a ring goes on, when the back-end that served it has gone away.
//!
//! A split ring tells: the used index says how many chains came back. All that were made available
//! after as many are looked at again by the next back-end. That is right if the one before completed
//! in order, or if the next one knows what is in flight (`INFLIGHT_SHMFD`) and begins with that.
//! Without either, a chain that came back out of its turn is done twice, and one that others have
//! overtaken not at all: QEMU does the same.
//!
//! A packed ring does not tell: what came back is written over what was made available, and how long
//! the chains were is not to be seen. What the back-end notes for its successor says it.

use std::os::fd::OwnedFd;

use ringway_driver::transport::QueueSetup;
use ringway_ring::shared::Shared;
use ringway_spec::le::U16;

use super::error::{Error, Result, Violation};
use super::share::Share;
use crate::memory::{self, MemoryError};
use crate::protocol::Inflight;

/// The base of a packed ring that has not begun: place 0, both wrap counters 1.
pub(crate) const PACKED_START: u32 = 0x8000_8000;

/// Where the index is in the driver area and in the device area of a split ring.
const INDEX: usize = 2;

/// Bytes of a descriptor of a packed ring, and where its flags are.
const DESCRIPTOR: usize = 16;
const FLAGS: usize = 14;
/// The two flags that say whose turn it is.
const AVAILABLE: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// Where a back-end notes how far it has come on a packed ring: whether it has begun; its next place,
/// and where it stood before the chain that it was giving back; and the wrap counter of each.
const NOTED_VERSION: usize = 8;
const NOTED_USED: usize = 16;
const NOTED_OLD: usize = 18;
const NOTED_WRAP: usize = 20;
const NOTED_OLD_WRAP: usize = 21;
/// Bytes of all that.
const NOTED: usize = 32;

/// The base of a split ring.
///
/// # Errors
///
/// [`Violation::NotResumable`] if more came back than was made available.
pub(crate) fn split(index: u8, setup: &QueueSetup, share: &Share) -> Result<u32> {
    let count = |area: u64| -> Result<u16> {
        let at = share.at(area, INDEX + 2).ok_or(Error::NotShared)?;
        word(&at, INDEX)
    };
    let (available, used) = (count(setup.areas.driver)?, count(setup.areas.device)?);
    if available.wrapping_sub(used) > setup.size {
        return Err(Violation::NotResumable {
            index,
            available,
            used,
        }
        .into());
    }
    Ok(u32::from(used))
}

/// The base of a packed ring, from what was noted in `ledger`.
///
/// # Errors
///
/// [`Violation::NoLedger`] if there is none; [`Violation::Base`] if it cannot be.
pub(crate) fn packed(
    index: u8,
    setup: &QueueSetup,
    share: &Share,
    ledger: Option<&(Inflight, OwnedFd)>,
) -> Result<u32> {
    let (inflight, file) = ledger.ok_or(Violation::NoLedger(index))?;
    let each = inflight.size / u64::from(inflight.queues.max(1));
    let offset = inflight.file_offset + each * u64::from(index);
    let noted = memory::map(file, offset, NOTED as u64).map_err(|error| match error {
        MemoryError::System { error, .. } => Error::os(error),
        _ => Violation::NoLedger(index).into(),
    })?;
    if word(&noted, NOTED_VERSION)? == 0 {
        // Nobody has begun with the ring.
        return Ok(PACKED_START);
    }
    let wrap = |at| byte(&noted, at).map(|byte| u16::from(byte & 1) << 15);
    let now = word(&noted, NOTED_USED)? | wrap(NOTED_WRAP)?;
    let old = word(&noted, NOTED_OLD)? | wrap(NOTED_OLD_WRAP)?;
    // It may have ended between the note and the ring: the ring is right.
    let stands = if now == old || is_used(old, setup, share)? {
        now
    } else {
        old
    };
    let base = u32::from(stands);
    if stands & 0x7fff >= setup.size {
        let index = u32::from(index);
        return Err(Violation::Base { index, base }.into());
    }
    Ok(base << 16 | base)
}

/// Whether the descriptor at `place` was given back in the round that `place` is of.
fn is_used(place: u16, setup: &QueueSetup, share: &Share) -> Result<bool> {
    let (slot, wrapped) = (u64::from(place & 0x7fff), place & 0x8000 != 0);
    let address = setup.areas.descriptor + slot * DESCRIPTOR as u64;
    let flags = word(
        &share.at(address, DESCRIPTOR).ok_or(Error::NotShared)?,
        FLAGS,
    )?;
    let set = |flag| (flags & flag != 0) == wrapped;
    Ok(set(AVAILABLE) && set(USED))
}

fn word(memory: &Shared, at: usize) -> Result<u16> {
    let word = memory.view().read_value::<U16>(at);
    word.map(U16::get).map_err(|_| Error::NotShared)
}

fn byte(memory: &Shared, at: usize) -> Result<u8> {
    memory.view().read_value(at).map_err(|_| Error::NotShared)
}

#[cfg(test)]
mod tests;
