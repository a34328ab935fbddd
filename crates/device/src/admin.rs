//! Groups of devices that one of them controls, and the administration queues through which its
//! driver says how.
//!
//! ```text
//! chain ──▶ queue ──▶ Owner ──which group? which command? which member?──▶ Group
//! ```
//!
//! A carrier is given an [`Administration`]: the [`Group`]s, and how many queues there are for
//! them. The [`Owner`] checks what all commands have in common, and knows which of them the driver
//! said it uses; a group carries out what it is then asked.
//!
//! Spec: VIRTIO 1.4 §2.12 "Device groups", §2.13 "Administration Virtqueues".

mod capability;
mod command;
mod control;
mod facilities;
mod group;
mod member;
mod members;
mod object;
mod objects;
mod owner;
mod queue;
#[cfg(test)]
mod testing;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use ringway_spec::admin::GroupType;

pub use capability::{Capability, Field, Rule};
pub use command::{Command, Failure};
pub use control::Control;
pub use facilities::Facilities;
pub use group::Group;
pub use member::{Inadmissible, LegacyPlace, Member, Mode, Part};
pub use members::Members;
pub use object::{Kind, OBJECT_BYTES_MAX, OBJECTS_BYTES_MAX};
pub use owner::{Answer, Owner};
pub(crate) use queue::Commands;
pub use queue::{COMMAND_BYTES_MAX, QUEUE_SIZE, RESULT_BYTES_MAX};

/// The groups that a device owns, and how many administration queues it has for them. None by
/// default.
#[derive(Clone, Default)]
pub struct Administration {
    groups: Vec<Arc<dyn Group>>,
    queues: u16,
}

impl Administration {
    /// `queues` administration queues, for groups that are [added](Self::with). A device without
    /// one of both has no administration.
    pub const fn new(queues: u16) -> Self {
        Self {
            groups: Vec::new(),
            queues,
        }
    }

    /// This, and `group`, in the place of one of its type: an owner has one of each (§2.12).
    #[must_use]
    pub fn with(mut self, group: Arc<dyn Group>) -> Self {
        let new = group.group_type();
        self.groups.retain(|group| group.group_type() != new);
        self.groups.push(group);
        self
    }

    /// This, less the group of this type; and that group.
    pub(crate) fn without(mut self, group_type: GroupType) -> (Self, Option<Arc<dyn Group>>) {
        let is_it = |group: &Arc<dyn Group>| group.group_type() == group_type;
        let found = self.groups.iter().position(is_it);
        let group = found.map(|index| self.groups.remove(index));
        (self, group)
    }

    /// How many administration queues there are.
    pub fn queues(&self) -> u16 {
        if self.groups.is_empty() {
            return 0;
        }
        self.queues
    }

    /// The groups.
    pub fn groups(&self) -> &[Arc<dyn Group>] {
        &self.groups
    }
}

impl fmt::Debug for Administration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = self.groups.iter().map(|group| group.group_type());
        f.debug_struct("Administration")
            .field("groups", &types.collect::<Vec<_>>())
            .field("queues", &self.queues)
            .finish()
    }
}
