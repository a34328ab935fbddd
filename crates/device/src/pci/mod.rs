//! A device as a PCI function of its own: configuration space, BARs, interrupts. Modern only.
//!
//! ```text
//! BAR 0, 64 bits    0x0000 common configuration
//!                   0x1000 ISR status
//!                   0x2000 configuration space of the device
//!                   0x3000 notifications: 4 bytes for each queue
//! BAR 2, 32 bits    MSI-X table, then pending bits in the next page
//! ```
//!
//! An access that is not as wide as what it reaches reads as 0 and writes nothing.
//!
//! Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".

mod common;
mod layout;
mod msix;
mod space;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ringway_ring::device::Violation;
use ringway_spec::pci::config::{self, Command};
use ringway_spec::{DeviceId, pci};
use spin::Mutex;

use crate::front::{Front, Register, load, store};
use crate::interrupt::{Line, MessageSink};
use crate::parts::Parts;
use common::Field;
use layout::{Layout, NOTIFY_MULTIPLIER};
use msix::Vectors;
use space::Space;

pub use layout::Bar;

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
        let vectors = vectors.min(VECTORS_MAX);
        let queues = u16::try_from(parts.device.queue_sizes().len()).unwrap_or(u16::MAX);
        let front = Front::new(parts, Vectors::new(vectors, queues, messages, line));
        // Until the driver lets it.
        front.set_reachable(false);
        let layout = Layout::new(front.queues(), vectors);
        Self {
            space: Mutex::new(Space::new(front.id(), vectors, &layout)),
            bases: layout
                .bars
                .iter()
                .map(|_| AtomicU64::new(NOWHERE))
                .collect(),
            front,
            layout,
        }
    }

    /// What type of device it is.
    pub fn id(&self) -> DeviceId {
        self.front.id()
    }

    /// Its BARs.
    pub fn bars(&self) -> &[Bar] {
        &self.layout.bars
    }

    /// The BAR that answers at `address`, as the driver has set it, and the offset in it. `None` if
    /// none has all of the `len` bytes there.
    pub fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.layout
            .bars
            .iter()
            .zip(&self.bases)
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
        if let Some(at) = layout.common.find(bar, offset, into.len()) {
            if let Some(field) = common::field(at, into.len()) {
                store(self.read_common(field), into);
            }
        } else if layout.isr.find(bar, offset, into.len()).is_some() {
            let causes = self.front.interrupts().pin().take();
            store(causes.bits().into(), into);
        } else if let Some(at) = layout.device.find(bar, offset, into.len()) {
            self.front.read_config(at, into);
        } else if let Some(at) = layout.table.find(bar, offset, into.len()) {
            self.front.interrupts().read_table(at, into);
        } else if let Some(at) = layout.pba.find(bar, offset, into.len()) {
            self.front.interrupts().read_pending(at, into);
        }
    }

    /// Writes the bytes at `offset` of a BAR.
    pub fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        let layout = &self.layout;
        // First what a driver does all the time.
        if let Some(at) = layout.notify.find(bar, offset, from.len()) {
            self.notify(at, from);
        } else if let Some(at) = layout.common.find(bar, offset, from.len()) {
            if let Some(field) = common::field(at, from.len()) {
                self.write_common(field, load(from));
            }
        } else if let Some(at) = layout.device.find(bar, offset, from.len()) {
            self.front.write_config(at, from);
        } else if let Some(at) = layout.table.find(bar, offset, from.len()) {
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
            let answers = command.contains(Command::MEMORY);
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

    /// The address says which queue is meant; the value must be its index, in 16 bits, or in the
    /// low half of 32 where kicks have data (§4.1.5.2.1).
    fn notify(&self, at: usize, from: &[u8]) {
        let index = at as u32 / NOTIFY_MULTIPLIER;
        let width = if self.front.kicks_with_data() { 4 } else { 2 };
        let whole = (at as u32).is_multiple_of(NOTIFY_MULTIPLIER) && from.len() == width;
        let named = load(from) as u16;
        if whole && u32::from(named) == index {
            self.front.kick(named);
        }
    }

    fn read_common(&self, field: Field) -> u32 {
        let vectors = self.front.interrupts();
        let selected = || self.front.selected();
        match field {
            Field::Front(register) => self.front.read(register),
            Field::NumQueues => self.front.queues().into(),
            Field::ConfigVector => vectors.config_vector().into(),
            Field::QueueVector => selected()
                .map_or(pci::NO_VECTOR, |index| vectors.queue_vector(index))
                .into(),
            Field::QueueNotifyOff => selected().unwrap_or(0).into(),
        }
    }

    fn write_common(&self, field: Field, value: u32) {
        let vectors = self.front.interrupts();
        match field {
            // A driver may not (§4.1.4.3.2): only a reset takes a queue back.
            Field::Front(Register::QueueEnable) if value == 0 => {}
            Field::Front(register) => self.front.write(register, value),
            Field::ConfigVector => vectors.set_config_vector(value as u16),
            Field::QueueVector => {
                if let Some(index) = self.front.selected() {
                    vectors.set_queue_vector(index, value as u16);
                }
            }
            Field::NumQueues | Field::QueueNotifyOff => {}
        }
    }
}

/// Whether configuration space can be accessed so: 8, 16 or 32 bits, aligned, and within.
fn is_config_access(offset: usize, len: usize) -> bool {
    matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset < config::SIZE
}

#[cfg(test)]
mod tests;
