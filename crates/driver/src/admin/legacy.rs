//! The legacy interface of members, which their owner has for them: for who gives a member to a
//! driver from before version 1.
//!
//! Spec: VIRTIO 1.4 §2.12.1.1 "Legacy Interfaces".

use alloc::vec::Vec;

use ringway_spec::admin::{
    LegacyRead, LegacyWrite, NotifyInfo, NotifyInfoFlags, NotifyInfoResult, Opcode,
};
use zerocopy::IntoBytes;

use super::member::To;
use super::{Admin, Request};
use crate::error::Result;
use crate::platform::Platform;

/// A place of the legacy interface, by its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// In the header: one of [`pci::legacy`](ringway_spec::pci::legacy).
    Common(u8),
    /// In the configuration space of the device's type.
    Device(u8),
}

/// How many bytes an access has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1.
    One,
    /// 2.
    Two,
    /// 4.
    Four,
    /// 8.
    Eight,
}

/// Whose BAR it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// That of the owner, by its base address registers.
    Owner,
    /// That of the member, by the registers of the owner's SR-IOV capability.
    Member,
}

/// Where the index of a queue can be written, 16 bits, little-endian, that a member's legacy driver
/// notifies of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyPlace {
    /// Whose BAR.
    pub whose: Whose,
    /// Which: 1 to 5.
    pub bar: u8,
    /// Where in it.
    pub offset: u64,
}

impl Width {
    /// So many bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

impl Request {
    /// A legacy driver of a member writes `value`. Little-endian, whatever the driver's own order is.
    pub fn legacy_write((group, member): To, at: Legacy, width: Width, value: u64) -> Self {
        let (opcode, offset) = match at {
            Legacy::Common(offset) => (Opcode::LEGACY_COMMON_CFG_WRITE, offset),
            Legacy::Device(offset) => (Opcode::LEGACY_DEV_CFG_WRITE, offset),
        };
        let head = LegacyWrite {
            offset,
            reserved: [0; 7],
        };
        let bytes = value.to_le_bytes();
        let bytes = bytes.get(..width.bytes()).unwrap_or_default();
        Self::new(group, opcode, member, &[head.as_bytes(), bytes].concat(), 0)
    }

    /// A legacy driver of a member reads.
    pub fn legacy_read((group, member): To, at: Legacy, width: Width) -> Self {
        let (opcode, offset) = match at {
            Legacy::Common(offset) => (Opcode::LEGACY_COMMON_CFG_READ, offset),
            Legacy::Device(offset) => (Opcode::LEGACY_DEV_CFG_READ, offset),
        };
        let head = LegacyRead { offset };
        Self::new(group, opcode, member, head.as_bytes(), width.bytes())
    }

    /// Where can a legacy driver's notifications be written?
    pub fn legacy_notify_info((group, member): To) -> Self {
        let room = size_of::<NotifyInfoResult>();
        Self::new(group, Opcode::LEGACY_NOTIFY_INFO, member, &[], room)
    }
}

/// Each sends one command, and waits for it.
impl<P: Platform> Admin<P> {
    /// Does what a member's legacy driver would by writing `value`.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn legacy_write(&mut self, to: To, at: Legacy, width: Width, value: u64) -> Result<()> {
        self.call(&Request::legacy_write(to, at, width, value))
            .map(drop)
    }

    /// What a member's legacy driver would read. What the device leaves out is zero.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn legacy_read(&mut self, to: To, at: Legacy, width: Width) -> Result<u64> {
        let reply = self.call(&Request::legacy_read(to, at, width))?;
        let bytes: [u8; 8] = reply.head();
        Ok(little_endian(&bytes, width))
    }

    /// Where a legacy driver's notifications of a member's queues can be written, the best place
    /// first. `bar_bytes` says how large a BAR is, if there is one. What the device names and there is
    /// not is left out.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn legacy_notify_places(
        &mut self,
        to: To,
        bar_bytes: impl Fn(Whose, u8) -> Option<u64>,
    ) -> Result<Vec<NotifyPlace>> {
        let reply = self.call(&Request::legacy_notify_info(to))?;
        let info: NotifyInfoResult = reply.head();
        Ok(places(&info, bar_bytes))
    }
}

/// As many of the bytes as were asked for; those that follow are filling.
fn little_endian(bytes: &[u8; 8], width: Width) -> u64 {
    let bytes = bytes.iter().take(width.bytes()).rev();
    bytes.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The places that there are, of those that a device names (§2.12.1.1.7).
fn places(
    info: &NotifyInfoResult,
    bar_bytes: impl Fn(Whose, u8) -> Option<u64>,
) -> Vec<NotifyPlace> {
    let ends = |entry: &&NotifyInfo| entry.flags != NotifyInfoFlags::END;
    let place = |entry: &NotifyInfo| {
        let whose = match entry.flags {
            NotifyInfoFlags::OWNER => Whose::Owner,
            NotifyInfoFlags::MEMBER => Whose::Member,
            _ => return None,
        };
        let (bar, offset) = (entry.bar, entry.offset.get());
        let size = bar_bytes(whose, bar).filter(|_| (1..=5).contains(&bar))?;
        let within = offset.checked_add(2).is_some_and(|end| end <= size);
        (within && offset.is_multiple_of(2)).then_some(NotifyPlace { whose, bar, offset })
    };
    let entries = info.entries.iter().take_while(ends);
    entries.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(flags: u8, bar: u8, offset: u64) -> NotifyInfo {
        NotifyInfo {
            flags: NotifyInfoFlags(flags),
            bar,
            padding: [0xff; 6],
            offset: offset.into(),
        }
    }

    fn found(entries: [NotifyInfo; 4]) -> Vec<NotifyPlace> {
        places(&NotifyInfoResult { entries }, |whose, bar| {
            match (whose, bar) {
                (Whose::Owner, 0 | 1 | 6) => Some(0x1000),
                (Whose::Member, 4) => Some(0x4000),
                _ => None,
            }
        })
    }

    /// Clauses: drv:basic/device-groups/admin-cmds/legacy-interface:1
    #[test]
    fn values_are_little_endian_and_of_as_many_bytes_as_the_access() {
        let to = (ringway_spec::admin::GroupType::SR_IOV, 3);
        let at = Legacy::Common(4);

        let written = Request::legacy_write(to, at, Width::Four, 0x0403_0201).bytes();
        let narrow = Request::legacy_write(to, at, Width::One, 0x0403_0201).bytes();
        let read = Width::Four;

        assert_eq!(
            written[24..],
            [4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0]
        );
        assert_eq!(narrow[32..], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(little_endian(&[1, 2, 3, 4, 5, 6, 7, 8], read), 0x0403_0201);
    }

    /// Clauses: drv:basic/device-groups/admin-cmds/legacy-interface:5
    #[test]
    fn the_first_place_that_is_nobody_s_ends_the_list() {
        let places = found([
            entry(2, 4, 0x1800),
            entry(0, 4, 0x1800),
            entry(1, 1, 8),
            entry(1, 1, 10),
        ]);

        let only = NotifyPlace {
            whose: Whose::Member,
            bar: 4,
            offset: 0x1800,
        };
        assert_eq!(places, [only]);
    }

    /// Clauses: drv:basic/device-groups/admin-cmds/legacy-interface:6,
    /// drv:basic/device-groups/admin-cmds/legacy-interface:7
    #[test]
    fn places_that_there_are_not_are_passed_over_and_the_others_keep_their_order() {
        let last = NotifyPlace {
            whose: Whose::Owner,
            bar: 1,
            offset: 0xffe,
        };
        for wrong in [
            entry(3, 4, 0),
            entry(0xff, 4, 0),
            entry(2, 1, 0),
            entry(1, 4, 0),
            entry(1, 0, 0),
            entry(1, 6, 0),
            entry(2, 4, 1),
            entry(2, 4, 0x3fff),
            entry(2, 4, 0x4000),
            entry(2, 4, u64::MAX),
            entry(2, 4, u64::MAX - 1),
        ] {
            let places = found([wrong, entry(1, 1, 0xffe), wrong, entry(0, 0, 0)]);

            assert_eq!(places, [last], "{wrong:?}");
        }
    }
}
