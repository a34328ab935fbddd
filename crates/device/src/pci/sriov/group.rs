//! The group of a physical function's virtual ones, as commands of administration find it.
//!
//! Spec: VIRTIO 1.4 §2.12.1.5 "Device Requirements: Group administration commands".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;

use ringway_spec::admin::{GroupType, Opcodes};

use crate::admin::{Administration, Command, Failure, Group};

/// Which virtual functions are there.
#[derive(Default)]
pub(super) struct There {
    /// How many, and one more; 0 if none can be, since they are not enabled.
    state: AtomicU32,
}

impl There {
    /// So many are there; or none are enabled.
    pub(super) fn set(&self, count: Option<u16>) {
        let state = count.map_or(0, |count| u32::from(count).saturating_add(1));
        self.state.store(state, Ordering::SeqCst);
    }

    /// How many are there, if they are enabled.
    pub(super) fn count(&self) -> Option<u16> {
        let state = self.state.load(Ordering::SeqCst);
        // It was made of 16 bits.
        state.checked_sub(1).map(|count| count as u16)
    }
}

/// The group: what is done with its members is another's affair.
struct Members {
    there: Arc<There>,
    commands: Option<Arc<dyn Group>>,
}

/// Adds the group to what a physical function's administration is of: in the place of one of its type,
/// which then only carries out commands.
pub(super) fn add(administration: Administration, there: &Arc<There>) -> Administration {
    let (administration, commands) = administration.without(GroupType::SR_IOV);
    administration.with(Arc::new(Members {
        there: Arc::clone(there),
        commands,
    }))
}

impl Group for Members {
    fn group_type(&self) -> GroupType {
        GroupType::SR_IOV
    }

    fn exists(&self) -> bool {
        self.there.count().is_some()
    }

    fn commands(&self) -> Opcodes {
        let commands = self.commands.as_ref();
        commands.map_or(Opcodes::NONE, |commands| commands.commands())
    }

    fn has_member(&self, member: u64) -> bool {
        let count = self.there.count().unwrap_or(0);
        (1..=count.into()).contains(&member)
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        match &self.commands {
            Some(commands) => commands.execute(command),
            None => Poll::Ready(Err(Failure::InvalidOpcode)),
        }
    }

    fn reset(&self) {
        if let Some(commands) = &self.commands {
            commands.reset();
        }
    }
}
