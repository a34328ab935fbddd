//! The legacy interface of members.
//!
//! Spec: VIRTIO 1.4 §2.12.1.1 "Legacy Interfaces".

use alloc::vec::Vec;

use ringway_spec::admin::{LegacyRead, LegacyWrite, NOTIFY_INFO_ENTRIES, NotifyInfoResult, Opcode};
use zerocopy::IntoBytes;

use crate::admin::command::{Command, Failure};
use crate::admin::member::{LegacyPlace, Member};

/// Carries out one of the commands of the legacy interface.
pub(super) fn execute(member: &dyn Member, command: &Command<'_>) -> Result<Vec<u8>, Failure> {
    match command.opcode {
        Opcode::LEGACY_COMMON_CFG_WRITE => write(member, LegacyPlace::Common, command),
        Opcode::LEGACY_COMMON_CFG_READ => read(member, LegacyPlace::Common, command),
        Opcode::LEGACY_DEV_CFG_WRITE => write(member, LegacyPlace::Device, command),
        Opcode::LEGACY_DEV_CFG_READ => read(member, LegacyPlace::Device, command),
        Opcode::LEGACY_NOTIFY_INFO => notify_info(member),
        _ => Err(Failure::InvalidOpcode),
    }
}

fn write(
    member: &dyn Member,
    place: LegacyPlace,
    command: &Command<'_>,
) -> Result<Vec<u8>, Failure> {
    let LegacyWrite { offset, .. } = command.head();
    let data = command.tail::<LegacyWrite>();
    member.legacy_write(place, offset, data)?;
    Ok(Vec::new())
}

fn read(
    member: &dyn Member,
    place: LegacyPlace,
    command: &Command<'_>,
) -> Result<Vec<u8>, Failure> {
    let LegacyRead { offset } = command.head();
    member.legacy_read(place, offset, command.room)
}

/// The last entry is the end of the list (§2.12.1.1.6): it is left as it is.
fn notify_info(member: &dyn Member) -> Result<Vec<u8>, Failure> {
    let mut result = NotifyInfoResult::default();
    let places = member.legacy_notify().into_iter();
    let entries = result.entries.iter_mut().take(NOTIFY_INFO_ENTRIES - 1);
    entries
        .zip(places)
        .for_each(|(entry, place)| *entry = place);
    Ok(result.as_bytes().to_vec())
}
