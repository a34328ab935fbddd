//! A group whose members are at hand.
//!
//! Spec: VIRTIO 1.4 §2.12 "Device groups".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::task::Poll;

use ringway_spec::admin::{GroupType, Opcodes};

use super::command::{Command, Failure};
use super::control::Control;
use super::group::Group;
use super::member::Member;

/// Devices that their owner can stop, take apart and put together, by their numbers: from 1 on, as
/// virtual functions are counted.
pub struct Members {
    group_type: GroupType,
    control: Arc<Control>,
    members: Vec<Arc<dyn Member>>,
}

impl Members {
    /// The group of these. `control` is that of the owner, for all of its groups.
    pub fn new(
        group_type: GroupType,
        control: Arc<Control>,
        members: Vec<Arc<dyn Member>>,
    ) -> Self {
        Self {
            group_type,
            control,
            members,
        }
    }

    fn member(&self, number: u64) -> Option<&dyn Member> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.members.get(index).map(|member| &**member)
    }
}

impl Group for Members {
    fn group_type(&self) -> GroupType {
        self.group_type
    }

    fn commands(&self) -> Opcodes {
        Control::COMMANDS
    }

    fn has_member(&self, member: u64) -> bool {
        self.member(member).is_some()
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        match self.member(command.member) {
            Some(member) => self.control.execute(member, command),
            None => Poll::Ready(Err(Failure::InvalidMember)),
        }
    }

    fn reset(&self) {
        self.control.reset();
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members")
            .field("group_type", &self.group_type)
            .field("members", &self.members.len())
            .finish()
    }
}
