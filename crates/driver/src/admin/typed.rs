//! Commands that are sent and waited for.

use alloc::vec::Vec;

use ringway_spec::admin::{CapabilityId, GroupType, ObjectHeader, Opcodes};

use super::{Admin, Capability, Reply, Request};
use crate::error::Result;
use crate::platform::Platform;

/// Each sends one command, and waits for it.
///
/// # Errors
///
/// Of all of them those of [`call`](Self::call).
impl<P: Platform> Admin<P> {
    /// Which commands there are for a group (§2.12.1), of those that have names. A group that there
    /// is not fails it (§2.12.1.6).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn list(&mut self, group: GroupType) -> Result<Opcodes> {
        let reply = self.call(&Request::list(group))?;
        Ok(Opcodes(reply.head::<ringway_spec::le::U64>().get()))
    }

    /// Says which commands are used in a group: any of those that the device has
    /// [listed](Self::list) (§2.12.1).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn use_commands(&mut self, group: GroupType, opcodes: Opcodes) -> Result<()> {
        self.call(&Request::use_commands(group, opcodes)).map(drop)
    }

    /// Finds out which commands there are for a group, and uses those of them that are `known`, and
    /// the lists. Returns which that are.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn begin(&mut self, group: GroupType, known: Opcodes) -> Result<Opcodes> {
        let used = self.list(group)?.intersection(known.union(Opcodes::LISTS));
        self.use_commands(group, used)?;
        Ok(used)
    }

    /// Which capabilities the device has (§2.12.1.2.1), of those that are not reserved.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn capabilities(&mut self) -> Result<Vec<CapabilityId>> {
        let reply = self.call(&Request::capabilities())?;
        let has = |id: &u16| {
            let byte = reply.bytes().get(usize::from(id / 8));
            byte.is_some_and(|byte| byte >> (id % 8) & 1 != 0)
        };
        let ids = (0..CapabilityId::OF_DEVICE_TYPES.end).filter(has);
        Ok(ids.map(CapabilityId::from_u16).collect())
    }

    /// What the device has of a capability (§2.12.1.2.2).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn capability<C: Capability>(&mut self) -> Result<C> {
        self.call(&Request::capability::<C>())
            .map(|reply| reply.head())
    }

    /// Says what the driver uses of a capability: no more than the device [has](Self::capability),
    /// and while there are no objects of those that it limits (§2.12.1.2.5).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn set_capability<C: Capability>(&mut self, wanted: &C) -> Result<()> {
        self.call(&Request::set_capability(wanted)).map(drop)
    }

    /// Makes an object for a member, with a number that no other of its kind has, below the limit that
    /// the driver has set (§2.12.1.3.1).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn create(
        &mut self,
        to: (GroupType, u64),
        object: ObjectHeader,
        flags: u64,
        data: &[u8],
    ) -> Result<()> {
        self.call(&Request::create(to, object, flags, data))
            .map(drop)
    }

    /// Makes another of an object (§2.12.1.3.2).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn modify(
        &mut self,
        to: (GroupType, u64),
        object: ObjectHeader,
        flags: u64,
        data: &[u8],
    ) -> Result<()> {
        self.call(&Request::modify(to, object, flags, data))
            .map(drop)
    }

    /// What an object is made of, `room` bytes at most (§2.12.1.3.3).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn query(
        &mut self,
        to: (GroupType, u64),
        object: ObjectHeader,
        room: usize,
    ) -> Result<Reply> {
        self.call(&Request::query(to, object, 0, room))
    }

    /// Ends an object (§2.12.1.3.4).
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn destroy(&mut self, to: (GroupType, u64), object: ObjectHeader) -> Result<()> {
        self.call(&Request::destroy(to, object)).map(drop)
    }
}
