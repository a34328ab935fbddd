//! A physical function and its virtual ones (SR-IOV).
//!
//! Each virtual function is a device of its own, which is reached as the physical one is, but for
//! three things: it says of itself nothing that the physical one says for it (what it is, where its
//! BARs are), it has no pin, and it is there only while the physical one's driver wants it. Whenever
//! it begins to be there it is new, and when it no longer is, it reaches no memory.
//!
//! The numbers are those of the PCI Express Base Specification 5.0, chapter 9.

mod group;
mod registers;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_spec::DeviceId;
use ringway_spec::pci::extended;
use spin::Mutex;

use super::{Bar, Function, NOWHERE, Unfit};
use crate::admin::Member;
use crate::interrupt::{Line, MessageSink};
use crate::parts::{Interface, Parts};
use group::There;
use registers::{Registers, Written};

/// Most virtual functions of a function: so many other routing ids has its bus.
pub const VIRTUAL_FUNCTIONS_MAX: u16 = 255;

/// What a function is among others of its device.
pub(super) enum Role {
    /// It stands for itself.
    Alone,
    /// It has virtual functions.
    Physical(Box<Physical>),
    /// It is a virtual function.
    Virtual(Presence),
}

/// As [`Role`], while the function is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Alone,
    Physical,
    Virtual,
}

/// Whether a virtual function is there. Changed with its configuration space locked.
#[derive(Default)]
pub(super) struct Presence(AtomicBool);

/// Where the routing ids of virtual functions are, from that of the physical one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    /// How far that of the first is.
    pub offset: u16,
    /// How far that of each other is from the one before.
    pub stride: u16,
}

impl Default for Routing {
    /// One after the other.
    fn default() -> Self {
        Self {
            offset: 1,
            stride: 1,
        }
    }
}

/// Why functions cannot be the virtual functions of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VirtualFunctionsError {
    /// There are so many: none, or more than [`VIRTUAL_FUNCTIONS_MAX`].
    Count(usize),
    /// They are devices of two types, and have one device id.
    Types(DeviceId, DeviceId),
    /// Two of them have the same routing id, or one that there is not.
    Routing(Routing),
    /// One, or the physical function, can be none at all.
    Unfit(Unfit),
}

impl From<Unfit> for VirtualFunctionsError {
    fn from(why: Unfit) -> Self {
        Self::Unfit(why)
    }
}

impl fmt::Display for VirtualFunctionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => {
                write!(
                    f,
                    "{count} virtual functions, where 1 to {VIRTUAL_FUNCTIONS_MAX} can be"
                )
            }
            Self::Types(one, other) => {
                write!(
                    f,
                    "virtual functions of types {one} and {other}, and one device id for all"
                )
            }
            Self::Unfit(why) => why.fmt(f),
            Self::Routing(Routing { offset, stride }) => write!(
                f,
                "virtual functions {offset} from the physical one and {stride} from each other \
                 have no routing ids of their own"
            ),
        }
    }
}

impl core::error::Error for VirtualFunctionsError {}

/// A virtual function that has no physical one yet.
pub struct VirtualFunction(Arc<Function>);

impl VirtualFunction {
    /// Presents a device, with as many MSI-X `vectors`, at most [`VECTORS_MAX`](super::VECTORS_MAX).
    /// Its driver is one of the modern interface: for any other it would need I/O ports, which
    /// virtual functions have not.
    ///
    /// # Errors
    ///
    /// [`Unfit`], as for any other function.
    pub fn new(parts: Parts, vectors: u16, messages: Arc<dyn MessageSink>) -> Result<Self, Unfit> {
        let parts = Parts {
            interface: Interface::Modern,
            ..parts
        };
        let role = Role::Virtual(Presence::default());
        let function = Function::make(parts, vectors, messages, Arc::new(NoLine), role)?;
        Ok(Self(Arc::new(function)))
    }

    /// The function as the owner of a group reaches it: for [`Members`](crate::admin::Members) of the
    /// physical one.
    pub fn member(&self) -> Arc<dyn Member> {
        Arc::clone(&self.0) as Arc<dyn Member>
    }
}

/// The line of a function that has no pin.
struct NoLine;

impl Line for NoLine {
    fn set(&self, _asserted: bool) {}
}

/// What a physical function has beside what all have.
pub(super) struct Physical {
    functions: Vec<Arc<Function>>,
    routing: Routing,
    registers: Mutex<Registers>,
    there: Arc<There>,
}

impl Role {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Alone => Kind::Alone,
            Self::Physical(_) => Kind::Physical,
            Self::Virtual(_) => Kind::Virtual,
        }
    }
}

impl Function {
    /// Presents a device, as [`new`](Self::new) does, that has virtual functions. It offers `SR_IOV`
    /// beside what it otherwise would (§6), and has the group of them if it has administration queues.
    /// A group of that type that it is given carries out what commands there are for its members.
    ///
    /// # Errors
    ///
    /// [`VirtualFunctionsError`]
    pub fn physical(
        mut parts: Parts,
        vectors: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
        functions: Vec<VirtualFunction>,
        routing: Routing,
    ) -> Result<Self, VirtualFunctionsError> {
        let physical = Physical::new(functions, routing)?;
        parts.offer = parts.offer.with_virtual_functions();
        parts.administration = group::add(parts.administration, &physical.there);
        let role = Role::Physical(Box::new(physical));
        Ok(Self::make(parts, vectors, messages, line, role)?)
    }

    /// Virtual function `number`, from 1 on, if it is there, and how far its routing id is from that
    /// of this function.
    pub fn virtual_function(&self, number: u16) -> Option<(u16, &Self)> {
        let Role::Physical(physical) = &self.role else {
            return None;
        };
        let index = number.checked_sub(1)?;
        let function = physical.functions.get(usize::from(index))?;
        let count = physical.there.count().unwrap_or(0);
        (index < count).then_some((physical.routing.distance(index)?, function))
    }

    /// How far the routing id of the last virtual function that there can be is from that of this
    /// function: 0 if it has none.
    pub fn reach(&self) -> u16 {
        let Role::Physical(physical) = &self.role else {
            return 0;
        };
        let last = physical.functions.len().saturating_sub(1) as u16;
        physical.routing.distance(last).unwrap_or(0)
    }

    /// Reads what follows the first 256 bytes of configuration space.
    pub(super) fn read_extended(&self, offset: usize, into: &mut [u8]) {
        if let Role::Physical(physical) = &self.role {
            let at = offset.checked_sub(extended::START);
            let registers = physical.registers.lock();
            if let Some(at) = at {
                registers.read(at, into);
            }
        }
    }

    /// Writes it.
    pub(super) fn write_extended(&self, offset: usize, from: &[u8]) {
        if let Role::Physical(physical) = &self.role
            && let Some(at) = offset.checked_sub(extended::START)
        {
            physical.write(at, from);
        }
    }

    /// Whether the function is there to be written to. With configuration space locked, for it does
    /// not change meanwhile.
    pub(super) fn is_there(&self) -> bool {
        match &self.role {
            Role::Virtual(presence) => presence.0.load(Ordering::SeqCst),
            Role::Alone | Role::Physical(_) => true,
        }
    }

    /// Begins to be there, as a function that nobody has written to, or ends. When it ends, it
    /// reaches no memory any more when this returns.
    fn set_there(&self, there: bool) {
        if let Role::Virtual(presence) = &self.role {
            let space = self.space.lock();
            presence.0.store(false, Ordering::SeqCst);
            drop(space);
            self.reset();
            // The driver may be resetting it at this moment: its tasks are waited for here, too.
            self.front.stop();
            // Nor does it stay stopped by an owner who thinks of one that is gone.
            self.front.forget_mode();
            // With the lock: who comes late and found it there has done what it wanted to do.
            let space = self.space.lock();
            presence.0.store(there, Ordering::SeqCst);
            drop(space);
        }
    }

    /// Has its BARs answer where `base` says, if it does.
    pub(super) fn answer_at(&self, base: impl Fn(&Bar) -> Option<u64>) {
        for (bar, now) in self.layout.bars.iter().zip(&self.bases) {
            now.store(base(bar).unwrap_or(NOWHERE), Ordering::SeqCst);
        }
    }
}

impl Routing {
    /// How far the routing id of the virtual function after `index` others is from that of the
    /// physical one. None if there is no such id.
    fn distance(self, index: u16) -> Option<u16> {
        self.stride.checked_mul(index)?.checked_add(self.offset)
    }

    /// Whether each of `count` functions has an id of its own.
    fn is_enough(self, count: usize) -> bool {
        let last = u16::try_from(count.saturating_sub(1)).ok();
        let apart = self.offset != 0 && (self.stride != 0 || count == 1);
        apart && last.and_then(|last| self.distance(last)).is_some()
    }
}

impl Physical {
    fn new(
        functions: Vec<VirtualFunction>,
        routing: Routing,
    ) -> Result<Self, VirtualFunctionsError> {
        let count = u16::try_from(functions.len()).ok();
        let count = count.filter(|count| (1..=VIRTUAL_FUNCTIONS_MAX).contains(count));
        let count = count.ok_or(VirtualFunctionsError::Count(functions.len()))?;
        if !routing.is_enough(functions.len()) {
            return Err(VirtualFunctionsError::Routing(routing));
        }
        let functions: Vec<_> = functions.into_iter().map(|function| function.0).collect();
        let mut ids = functions.iter().map(|function| function.id());
        let id = ids.next().unwrap_or(DeviceId::INVALID);
        if let Some(other) = ids.find(|other| *other != id) {
            return Err(VirtualFunctionsError::Types(id, other));
        }
        let bars = functions.iter().flat_map(|function| function.bars());
        Ok(Self {
            registers: Mutex::new(Registers::new(id, count, routing, bars)),
            functions,
            routing,
            there: Arc::default(),
        })
    }

    /// Ends all virtual functions, and forgets what the driver wrote of them.
    pub(super) fn reset(&self) {
        let mut registers = self.registers.lock();
        let enabled = registers.reset();
        self.become_of(registers, enabled);
    }

    fn write(&self, at: usize, from: &[u8]) {
        let mut registers = self.registers.lock();
        let written = registers.write(at, from);
        self.become_of(registers, written);
    }

    /// Has virtual functions come, go and answer as the registers say that were just written.
    fn become_of(&self, registers: spin::MutexGuard<'_, Registers>, written: Written) {
        match written {
            Written::Same => {}
            Written::Cleared => {
                // First nobody finds them any more; then they come to rest, which may take a while.
                self.there.set(None);
                drop(registers);
                for function in &self.functions {
                    function.set_there(false);
                }
                let mut registers = self.registers.lock();
                registers.at_rest();
                return self.place(&registers);
            }
            Written::Set(count) => {
                for function in self.functions.iter().take(count.into()) {
                    function.set_there(true);
                }
                self.place(&registers);
                self.there.set(Some(count));
                return;
            }
        }
        self.place(&registers);
    }

    /// Takes over where the BARs of virtual functions are.
    fn place(&self, registers: &Registers) {
        for (index, function) in (0_u16..).zip(&self.functions) {
            function.answer_at(|bar| registers.base(bar, index));
        }
    }
}
