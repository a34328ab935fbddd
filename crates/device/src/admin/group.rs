//! What a group of devices is to the commands that are for it.

use alloc::vec::Vec;
use core::task::Poll;

use ringway_spec::admin::{GroupType, Opcodes};

use super::command::{Command, Failure};

/// A group of devices, as its owner controls it (§2.12).
///
/// It may be asked by several queues at once: a command may come while another one is carried out,
/// or waits.
pub trait Group: Send + Sync {
    /// What type it is of. Asked once.
    fn group_type(&self) -> GroupType;

    /// Whether there is the group now: commands for one that is not are refused.
    fn exists(&self) -> bool {
        true
    }

    /// The commands that it knows, beside those that list them. Asked once: what a driver was told
    /// of stays (§2.12.1.5). Commands for capabilities are taken from the group
    /// [`SELF`](GroupType::SELF) alone (§2.12.1.2.4).
    fn commands(&self) -> Opcodes;

    /// Whether it has this member now.
    fn has_member(&self, member: u64) -> bool;

    /// Carries out a command, one of [its own](Self::commands), for a member that it has. Returns
    /// the result. [`Poll::Pending`] if it takes longer: the same command is then asked for again
    /// and again, until it is done; that queue has no other meanwhile.
    ///
    /// # Errors
    ///
    /// [`Failure`], which the driver is told. Of those that say that nothing was done, that is true.
    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>>;

    /// The owner was reset: forgets what its driver has said. No command is carried out, and those
    /// that waited are not asked for again.
    fn reset(&self) {}
}
