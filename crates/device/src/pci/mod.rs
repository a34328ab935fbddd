//! A device as a PCI function of its own: configuration space, BARs, interrupts.
//!
//! ```text
//! modern  transitional  legacy
//!         0             0        legacy header and configuration space, in I/O ports
//! 0, 1    4, 5                   0x0000 common configuration
//!                                0x1000 ISR status
//!                                0x2000 configuration space of the device
//!                                0x3000 notifications: 4 bytes for each queue
//! 2       1             1        MSI-X table, then pending bits in the next page
//! 4, 5    2, 3                   shared memory regions, if the device has any
//! ```
//!
//! An access that is not as wide as what it reaches reads as 0 and writes nothing.
//!
//! Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".

mod common;
mod header;
mod layout;
mod msix;
mod space;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ringway_ring::device::Violation;
use ringway_spec::pci::config::{self, Command};
use ringway_spec::pci::legacy;
use ringway_spec::{DeviceId, pci};
use spin::Mutex;

use crate::front::{Front, LegacyRegister, Register, load, store};
use crate::interrupt::{Line, MessageSink};
use crate::model::SharedRegion;
use crate::parts::Parts;
use common::Field;
use layout::{Layout, Modern, NOTIFY_MULTIPLIER};
use msix::Vectors;
use space::Space;

pub use layout::{Bar, BarKind};

/// Most MSI-X vectors of a function.
pub const VECTORS_MAX: u16 = pci::msix::MAX_VECTORS;

/// The base of a BAR that answers at no address.
const NOWHERE: u64 = u64::MAX;

/// A device, reached as a PCI function.
pub struct Function {
    front: Front<Vectors>,
    layout: Layout,
    space: Mutex<Space>,
    /// Where the BARs of the layout are now, each [`NOWHERE`] or a multiple of its size.
    bases: Vec<AtomicU64>,
}

impl Function {
    /// Presents a device, with as many MSI-X `vectors`, at most [`VECTORS_MAX`]; with none, it has
    /// only its pin. One for each queue and one more suits a device best.
    pub fn new(
        parts: Parts,
        vectors: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
    ) -> Self {
        let (vectors, interface) = (vectors.min(VECTORS_MAX), parts.interface);
        let (own, more) = parts.queues();
        let vectors_of = Vectors::new(vectors, own.saturating_add(more), messages, line);
        let front = Front::new(parts, vectors_of);
        // Until the driver lets it.
        front.set_reachable(false);
        front.write_legacy(LegacyRegister::PageSize, legacy::PAGE as u32);
        let layout = Layout::new(interface, front.queues(), vectors, front.regions());
        Self {
            space: Mutex::new(Space::new(front.id(), interface, vectors, &layout)),
            bases: layout
                .bars
                .iter()
                .map(|_| AtomicU64::new(NOWHERE))
                .collect(),
            front,
            layout,
        }
    }

    /// Adds a capability of a vendor's own, with `data` that is read without effect: `vendor` is
    /// the PCI vendor id of who defined it (§4.1.4.8). Left out where there is no room for it.
    #[must_use]
    pub fn with_vendor_data(self, vendor: u16, data: &[u8]) -> Self {
        self.space.lock().add_vendor(vendor, data);
        self
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

    /// Reads configuration space: 8, 16 or 32 bits, aligned. What lies beyond its 256 bytes reads
    /// as 0.
    pub fn config_read(&self, offset: u16, into: &mut [u8]) {
        into.fill(0);
        let offset = usize::from(offset);
        if !is_config_access(offset, into.len()) {
            return;
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
        let wanted = self.front.interrupts().wants_pin();
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
        let mut space = self.space.lock();
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

    /// Takes over what configuration space says: where the BARs are, whether memory may be reached,
    /// how to interrupt.
    fn apply(&self, space: &Space) {
        let command = space.command();
        for (bar, base) in self.layout.bars.iter().zip(&self.bases) {
            let answers = command.contains(match bar.kind {
                BarKind::Ports => Command::IO,
                _ => Command::MEMORY,
            });
            base.store(
                if answers { space.base(bar) } else { NOWHERE },
                Ordering::SeqCst,
            );
        }
        self.front
            .set_reachable(command.contains(Command::BUS_MASTER));
        self.front
            .interrupts()
            .control(command, space.msix_control());
    }

    /// Reads what capabilities locate, if it is there. Says whether it is.
    fn read_modern(&self, modern: &Modern, (bar, offset): (u8, u64), into: &mut [u8]) -> bool {
        if let Some(at) = modern.common.find(bar, offset, into.len()) {
            if let Some(field) = common::field(at, into.len()) {
                store(self.read_common(field), into);
            }
        } else if modern.isr.find(bar, offset, into.len()).is_some() {
            self.read_isr(into);
        } else if let Some(at) = modern.device.find(bar, offset, into.len()) {
            self.front.read_config(at, into);
        } else if let Some((region, at)) = self.region(modern, (bar, offset), into.len()) {
            // It is within: the region found it.
            let _ = region.memory.view().read(at, into);
        } else {
            return false;
        }
        true
    }

    /// Writes what capabilities locate, if it is there. Says whether it is.
    fn write_modern(&self, modern: &Modern, (bar, offset): (u8, u64), from: &[u8]) -> bool {
        // First what a driver does all the time.
        if let Some(at) = modern.notify.find(bar, offset, from.len()) {
            self.notify(at, from);
        } else if let Some(at) = modern.common.find(bar, offset, from.len()) {
            if let Some(field) = common::field(at, from.len()) {
                self.write_common(field, load(from));
            }
        } else if let Some(at) = modern.device.find(bar, offset, from.len()) {
            self.front.write_config(at, from);
        } else if let Some((region, at)) = self.region(modern, (bar, offset), from.len()) {
            // It is within: the region found it.
            let _ = region.memory.view().write(at, from);
        } else {
            return false;
        }
        true
    }

    /// The shared memory region that has all of the `len` bytes there, and where in it.
    fn region(
        &self,
        modern: &Modern,
        (bar, offset): (u8, u64),
        len: usize,
    ) -> Option<(&SharedRegion, usize)> {
        let mut places = modern.shared.iter().zip(self.front.regions());
        places.find_map(|(place, region)| Some((region, place.find(bar, offset, len)?)))
    }

    fn read_legacy(&self, at: usize, into: &mut [u8]) {
        let vectors = self.front.interrupts();
        let Some(field) = header::field(at, into.len(), vectors.msix()) else {
            return;
        };
        let value = match field {
            header::Field::Front(register) => self.front.read_legacy(register),
            header::Field::Common(register) => self.front.read(register),
            header::Field::IsrStatus => return self.read_isr(into),
            header::Field::ConfigVector => vectors.config_vector().into(),
            header::Field::QueueVector => self.selected_vector().into(),
            header::Field::Config(offset) => return self.front.read_config(offset, into),
            header::Field::QueueNotify => 0,
        };
        store(value, into);
    }

    fn write_legacy(&self, at: usize, from: &[u8]) {
        let vectors = self.front.interrupts();
        let value = load(from);
        match header::field(at, from.len(), vectors.msix()) {
            Some(header::Field::QueueNotify) => self.front.kick_legacy(value as u16),
            Some(header::Field::Front(register)) => self.front.write_legacy(register, value),
            Some(header::Field::Common(register)) => self.front.write(register, value),
            Some(header::Field::ConfigVector) => vectors.set_config_vector(value as u16),
            Some(header::Field::QueueVector) => self.set_selected_vector(value as u16),
            Some(header::Field::Config(offset)) => self.front.write_config_legacy(offset, from),
            Some(header::Field::IsrStatus) | None => {}
        }
    }

    /// Reads the causes of the pin, which are then none: both interfaces have the same (§4.1.4.5).
    fn read_isr(&self, into: &mut [u8]) {
        let causes = self.front.interrupts().pin().take();
        store(causes.bits().into(), into);
    }

    fn selected_vector(&self) -> u16 {
        let selected = self.front.selected();
        selected.map_or(pci::NO_VECTOR, |index| {
            self.front.interrupts().queue_vector(index)
        })
    }

    fn set_selected_vector(&self, vector: u16) {
        if let Some(index) = self.front.selected() {
            self.front.interrupts().set_queue_vector(index, vector);
        }
    }

    /// The address says which queue is meant; the value must name it, in 16 bits, or in the low
    /// half of 32 where kicks have data (§4.1.5.2.1).
    fn notify(&self, at: usize, from: &[u8]) {
        // Below 2¹⁶: there are no more queues.
        let index = (at as u32 / NOTIFY_MULTIPLIER) as u16;
        let format = self.front.kick_format();
        let width = if format.with_data { 4 } else { 2 };
        let whole = (at as u32).is_multiple_of(NOTIFY_MULTIPLIER) && from.len() == width;
        if whole && load(from) as u16 == format.name(index) {
            self.front.kick(index);
        }
    }

    fn read_common(&self, field: Field) -> u32 {
        let vectors = self.front.interrupts();
        match field {
            Field::Front(register) => self.front.read(register),
            Field::NumQueues => self.front.own_queues().into(),
            Field::ConfigVector => vectors.config_vector().into(),
            Field::QueueVector => self.selected_vector().into(),
            Field::QueueNotifyOff => self.front.selected().unwrap_or(0).into(),
            Field::QueueNotifyData => self.front.selected_kick_name().into(),
            Field::AdminQueueIndex => self.front.admin_queues().0.into(),
            Field::AdminQueueNum => self.front.admin_queues().1.into(),
        }
    }

    fn write_common(&self, field: Field, value: u32) {
        let vectors = self.front.interrupts();
        match field {
            // A driver may not (§4.1.4.3.2): only a reset takes a queue back.
            Field::Front(Register::QueueEnable) if value == 0 => {}
            Field::Front(register) => self.front.write(register, value),
            Field::ConfigVector => vectors.set_config_vector(value as u16),
            Field::QueueVector => self.set_selected_vector(value as u16),
            Field::NumQueues
            | Field::QueueNotifyOff
            | Field::QueueNotifyData
            | Field::AdminQueueIndex
            | Field::AdminQueueNum => {}
        }
    }
}

/// Whether configuration space can be accessed so: 8, 16 or 32 bits, aligned, and within.
fn is_config_access(offset: usize, len: usize) -> bool {
    matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset < config::SIZE
}

#[cfg(test)]
mod tests;
