//! A device as a PCI function of its own: configuration space, BARs, interrupts.
//!
//! ```text
//! modern  transitional  legacy
//!         0             0        legacy header and configuration space, in I/O ports
//! 0, 1    4, 5                   0x0000 common configuration
//!                                0x1000 ISR status
//!                                0x1800 notifications of a legacy driver, whose owner writes them
//!                                0x2000 configuration space of the device
//!                                0x3000 notifications: 4 bytes for each queue
//! 2       1             1        MSI-X table, then pending bits in the next page
//! 4, 5    2, 3                   shared memory regions, if the device has any
//! ```
//!
//! It is reset as a whole by its capability of advanced features (FLR), which is not virtio's: all that
//! the driver wrote is gone then, of configuration space too.
//!
//! A function may have others that are virtual ([`VirtualFunction`]): those have no pin and no ports,
//! and BARs as of a function that has the legacy interface, too.
//!
//! An access that is not as wide as what it reaches reads as 0 and writes nothing.
//!
//! Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".

mod common;
mod express;
mod header;
mod identity;
mod layout;
mod member;
mod msix;
mod parts;
mod registers;
mod space;
mod sriov;
mod unfit;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ringway_ring::device::Violation;
use ringway_spec::pci::config::{self, Command};
use ringway_spec::pci::{extended, legacy};
use ringway_spec::{DeviceId, pci};
use spin::Mutex;

use crate::front::{Front, LegacyRegister};
use crate::interrupt::{Line, MessageSink};
use crate::limits::Limits;
use crate::parts::Parts;
use layout::{Layout, Numbers};
use msix::Vectors;
use space::Space;
use sriov::{Kind, Role};

pub use layout::{Bar, BarKind};
pub use sriov::{Routing, VIRTUAL_FUNCTIONS_MAX, VirtualFunction, VirtualFunctionsError};
pub use unfit::Unfit;

/// Most MSI-X vectors of a function.
pub const VECTORS_MAX: u16 = pci::msix::MAX_VECTORS;

/// What can be presented as a function: a type has a number up to that of the last PCI device that is
/// virtio's (§4.1.2), and a queue has an index of 16 bits.
pub const LIMITS: Limits = Limits {
    id_last: (pci::MODERN_DEVICE_LAST - pci::MODERN_DEVICE_BASE) as u32,
    queues: u16::MAX as usize,
    config_bytes: layout::PAGE as usize,
};

/// The base of a BAR that answers at no address.
const NOWHERE: u64 = u64::MAX;

/// A device, reached as a PCI function.
pub struct Function {
    front: Front<Vectors>,
    layout: Layout,
    space: Mutex<Space>,
    /// Where the BARs of the layout are now, each [`NOWHERE`] or a multiple of its size.
    bases: Vec<AtomicU64>,
    role: Role,
}

impl Function {
    /// Presents a device, with as many MSI-X `vectors`, at most [`VECTORS_MAX`]; with none, it has
    /// only its pin. One for each queue and one more suits a device best.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if there is no PCI device id for such a device (§4.1.2.1), or its shared memory
    /// cannot be told to a driver (§4.1.4.7.1).
    pub fn new(
        parts: Parts,
        vectors: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
    ) -> Result<Self, Unfit> {
        Self::make(parts, vectors, messages, line, Role::Alone)
    }

    fn make(
        parts: Parts,
        vectors: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
        role: Role,
    ) -> Result<Self, Unfit> {
        let (vectors, interface) = (vectors.min(VECTORS_MAX), parts.interface);
        let config_bytes = parts.device.config_bytes();
        let (own, more) = parts.queues();
        let vectors_of = Vectors::new(vectors, own.saturating_add(more), messages, line);
        let front = Front::new(parts, vectors_of);
        // Until the driver lets it.
        front.set_reachable(false);
        front.write_legacy(LegacyRegister::PageSize, legacy::PAGE as u32);
        let regions = front.regions().iter();
        let regions: Vec<_> = regions.map(|it| (it.id, it.memory.len() as u64)).collect();
        let kind = role.kind();
        let numbers = Numbers::of(interface, kind);
        let queues = front.queues();
        let layout = Layout::new(interface, &numbers, queues, vectors, config_bytes, &regions)?;
        let mut space = Space::new(front.id(), interface, vectors, &layout, kind)?;
        if kind == Kind::Virtual {
            space.leave_to_physical();
        }
        Ok(Self {
            space: Mutex::new(space),
            bases: layout
                .bars
                .iter()
                .map(|_| AtomicU64::new(NOWHERE))
                .collect(),
            front,
            layout,
            role,
        })
    }

    /// Adds a capability of a vendor's own, with `data` that is read without effect: `vendor` is
    /// the PCI vendor id of who defined it (§4.1.4.8).
    ///
    /// # Errors
    ///
    /// [`Unfit::Vendor`] if it is virtio's, [`Unfit::NoRoom`] if there is too much of it.
    pub fn with_vendor_data(self, vendor: u16, data: &[u8]) -> Result<Self, Unfit> {
        self.space.lock().add_vendor(vendor, data)?;
        Ok(self)
    }

    /// What type of device it is.
    pub fn id(&self) -> DeviceId {
        self.front.id()
    }

    /// Its BARs.
    pub fn bars(&self) -> &[Bar] {
        &self.layout.bars
    }

    /// The BAR that answers at `address` of memory, as the driver has set it, and the offset in it.
    /// `None` if none has all of the `len` bytes there.
    pub fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.find(address, len, |kind| kind != BarKind::Ports)
    }

    /// The same for I/O ports.
    pub fn locate_port(&self, port: u64, len: usize) -> Option<(u8, u64)> {
        self.find(port, len, |kind| kind == BarKind::Ports)
    }

    fn find(&self, address: u64, len: usize, is: fn(BarKind) -> bool) -> Option<(u8, u64)> {
        self.layout
            .bars
            .iter()
            .zip(&self.bases)
            .filter(|(bar, _)| is(bar.kind))
            .find_map(|(bar, base)| {
                let base = base.load(Ordering::SeqCst);
                let offset = address.checked_sub(base).filter(|_| base != NOWHERE)?;
                let end = offset.checked_add(len as u64)?;
                (end <= bar.size).then_some((bar.index, offset))
            })
    }

    /// Reads configuration space: 8, 16 or 32 bits, aligned. What nothing is at reads as 0.
    pub fn config_read(&self, offset: u16, into: &mut [u8]) {
        into.fill(0);
        let offset = usize::from(offset);
        if !is_config_access(offset, into.len()) {
            return;
        }
        if offset >= config::SIZE {
            return self.read_extended(offset, into);
        }
        // The window is used without the lock: what it reaches may have the driver wait.
        let window = self.space.lock().window(offset, into.len());
        if let Some(window) = window {
            let mut data = [0; 4];
            if let Some(data) = data.get_mut(..window.len) {
                self.bar_read(window.bar, window.offset, data);
                self.space.lock().set_window_data(data);
            }
        }
        let has_pin = self.role.kind() != Kind::Virtual;
        let wanted = has_pin && self.front.interrupts().wants_pin();
        let mut space = self.space.lock();
        space.set_interrupt(wanted);
        space.read(offset, into);
    }

    /// Writes configuration space: 8, 16 or 32 bits, aligned.
    pub fn config_write(&self, offset: u16, from: &[u8]) {
        let offset = usize::from(offset);
        if !is_config_access(offset, from.len()) {
            return;
        }
        if offset >= config::SIZE {
            return self.write_extended(offset, from);
        }
        let mut space = self.space.lock();
        if !self.is_there() {
            return;
        }
        if space.is_reset(offset, from) {
            drop(space);
            return self.reset();
        }
        let before = space.command();
        space.write(offset, from);
        self.apply(&space);
        let newly = space.command().difference(before);
        let window = space.window(offset, from.len());
        let data = space.window_data();
        drop(space);
        // What these reach may call out, or wait: not with the lock.
        self.front.interrupts().settle();
        if newly.contains(Command::BUS_MASTER) {
            self.front.resume();
        }
        if let Some(window) = window
            && let Some(data) = data.get(..window.len)
        {
            self.bar_write(window.bar, window.offset, data);
        }
    }

    /// Reads the bytes at `offset` of a BAR.
    pub fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        into.fill(0);
        let layout = &self.layout;
        if let Some(modern) = &layout.modern
            && self.read_modern(modern, (bar, offset), into)
        {
            return;
        }
        let find = |place: &layout::Place, len| place.find(bar, offset, len);
        if let Some(at) = layout.legacy.and_then(|place| find(&place, into.len())) {
            self.read_legacy(at, into);
        } else if let Some(at) = find(&layout.table, into.len()) {
            self.front.interrupts().read_table(at, into);
        } else if let Some(at) = find(&layout.pba, into.len()) {
            self.front.interrupts().read_pending(at, into);
        }
    }

    /// Writes the bytes at `offset` of a BAR.
    pub fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        let layout = &self.layout;
        if let Some(modern) = &layout.modern
            && self.write_modern(modern, (bar, offset), from)
        {
            return;
        }
        let find = |place: &layout::Place| place.find(bar, offset, from.len());
        if let Some(at) = layout.legacy.and_then(|place| find(&place)) {
            self.write_legacy(at, from);
        } else if let Some(at) = find(&layout.table) {
            self.front.interrupts().write_table(at, from);
        }
    }

    /// To be called when the device's configuration has changed: a driver that is ready is told
    /// (§3.2.1).
    pub fn config_changed(&self) {
        self.front.config_changed();
    }

    /// The rule that the driver broke last, and on which queue: why the device asked for a reset.
    pub fn violation(&self) -> Option<(u16, Violation)> {
        self.front.violation()
    }

    /// Returns to the state in which it was made (FLR). Whoever asked for it waits until the device
    /// is at rest; unless another thread resets the device right now, which is then what ends it.
    fn reset(&self) {
        let vectors = self.front.interrupts();
        let mut space = self.space.lock();
        space.reset();
        // From here on it answers at no address, reaches no memory and sends no message.
        self.apply(&space);
        drop(space);
        self.front.reset();
        vectors.forget();
        vectors.settle();
        if let Role::Physical(physical) = &self.role {
            physical.reset();
        }
    }

    /// Takes over what configuration space says: where the BARs are, whether memory may be reached,
    /// how to interrupt.
    fn apply(&self, space: &Space) {
        let command = space.command();
        // Those of a virtual function are where its physical one says.
        if self.role.kind() != Kind::Virtual {
            self.answer_at(|bar| {
                let answers = command.contains(match bar.kind {
                    BarKind::Ports => Command::IO,
                    _ => Command::MEMORY,
                });
                answers.then(|| space.base(bar))
            });
        }
        self.front
            .set_reachable(command.contains(Command::BUS_MASTER));
        self.front
            .interrupts()
            .control(command, space.msix_control());
    }
}

/// Whether configuration space can be accessed so: 8, 16 or 32 bits, aligned, and within.
fn is_config_access(offset: usize, len: usize) -> bool {
    matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset < extended::SIZE
}

#[cfg(test)]
mod tests;
