//! The interrupts of a function: a pin, or messages from a table of vectors.
//!
//! Each vector has a lock of its own, so that queues with vectors of their own do not meet. A
//! message goes out under that lock: once a vector was masked, or an event unmapped, none follows.
//!
//! Spec: VIRTIO 1.4 §4.1.5.1.2 "MSI-X Vector Configuration", §4.1.5.3 "Used Buffer Notifications".

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use ringway_spec::InterruptStatus;
use ringway_spec::pci::NO_VECTOR;
use ringway_spec::pci::config::Command;
use ringway_spec::pci::legacy::Msix;
use ringway_spec::pci::msix::{
    CONTROL_ENABLE, CONTROL_FUNCTION_MASK, TableEntry, VECTOR_MASKED, table_bytes,
};
use spin::Mutex;
use zerocopy::IntoBytes;

use crate::front::Interrupts;
use crate::interrupt::{Line, MessageSink, Pin};

/// How often an event is looked for at the vector that a driver maps it to meanwhile. One that does
/// nothing else would have it looked for without an end.
const REMAPS_MAX: usize = 8;

/// How a function interrupts.
pub(super) struct Vectors {
    pin: Pin,
    messages: Arc<dyn MessageSink>,
    table: Box<[Mutex<Vector>]>,
    /// Messages are in the place of the pin.
    enabled: AtomicBool,
    /// Messages may go out now: as the gate says.
    open: AtomicBool,
    gate: Mutex<Gate>,
    config: AtomicU16,
    queues: Box<[AtomicU16]>,
}

/// What messages need to go out, all of it.
#[derive(Default)]
struct Gate {
    /// They are enabled, not masked as a whole, and the function may reach memory.
    enabled: bool,
    /// The function was stopped.
    held: bool,
}

/// One vector, and whether it has a message to send when it may.
struct Vector {
    entry: TableEntry,
    pending: bool,
}

impl Vector {
    /// One that is masked, as each is at first.
    fn new() -> Self {
        Self {
            entry: TableEntry {
                vector_control: VECTOR_MASKED.into(),
                ..TableEntry::default()
            },
            pending: false,
        }
    }
}

impl Vectors {
    pub(super) fn new(
        vectors: u16,
        queues: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
    ) -> Self {
        Self {
            pin: Pin::new(line),
            messages,
            table: (0..vectors).map(|_| Mutex::new(Vector::new())).collect(),
            enabled: AtomicBool::new(false),
            open: AtomicBool::new(false),
            gate: Mutex::default(),
            config: AtomicU16::new(NO_VECTOR),
            queues: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
        }
    }

    /// The pin.
    pub(super) fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Whether the function wants to assert its pin, whether it may or not (§4.1.4.5.1).
    pub(super) fn wants_pin(&self) -> bool {
        !self.enabled.load(Ordering::SeqCst) && !self.pin.causes().is_empty()
    }

    /// Whether messages are in the place of the pin.
    pub(super) fn msix(&self) -> Msix {
        match self.enabled.load(Ordering::SeqCst) {
            true => Msix::Enabled,
            false => Msix::Disabled,
        }
    }

    /// The vector of configuration changes.
    pub(super) fn config_vector(&self) -> u16 {
        self.config.load(Ordering::SeqCst)
    }

    /// Maps configuration changes to `vector`; to none if there is no such vector.
    pub(super) fn set_config_vector(&self, vector: u16) {
        let before = self.config.swap(self.existing(vector), Ordering::SeqCst);
        self.unmapped(before);
    }

    /// The vector of queue `index`.
    pub(super) fn queue_vector(&self, index: u16) -> u16 {
        self.queues
            .get(usize::from(index))
            .map_or(NO_VECTOR, |vector| vector.load(Ordering::SeqCst))
    }

    /// Maps queue `index` to `vector`; to none if there is no such vector.
    pub(super) fn set_queue_vector(&self, index: u16, vector: u16) {
        if let Some(to) = self.queues.get(usize::from(index)) {
            let before = to.swap(self.existing(vector), Ordering::SeqCst);
            self.unmapped(before);
        }
    }

    /// Takes over what configuration space says of interrupts. Takes effect for what is pending at
    /// the next [`settle`](Self::settle).
    pub(super) fn control(&self, command: Command, control: u16) {
        let enabled = control & CONTROL_ENABLE != 0;
        let open = enabled
            && control & CONTROL_FUNCTION_MASK == 0
            && command.contains(Command::BUS_MASTER);
        self.enabled.store(enabled, Ordering::SeqCst);
        self.set_gate(|gate| gate.enabled = open);
        self.pin
            .mute(enabled || command.contains(Command::INTX_DISABLE));
    }

    /// Forgets what the driver wrote to the table: every vector is masked, and none is pending.
    pub(super) fn forget(&self) {
        for vector in &self.table {
            *vector.lock() = Vector::new();
        }
    }

    /// Brings the pin to where it should be, and sends what may be sent now. When it returns,
    /// nothing is being sent that may not.
    pub(super) fn settle(&self) {
        self.pin.settle();
        for vector in &self.table {
            self.send_pending(&mut vector.lock());
        }
    }

    /// Reads the table: 32 or 64 bits, aligned (PCI 3.0 section 6.8.2). Any other access reads as
    /// 0, which is what `into` holds.
    pub(super) fn read_table(&self, offset: usize, into: &mut [u8]) {
        self.with_entry(offset, into.len(), |vector, within| {
            let bytes = vector.entry.as_bytes().iter().skip(within);
            for (to, from) in into.iter_mut().zip(bytes) {
                *to = *from;
            }
        });
    }

    /// Writes the table: 32 or 64 bits, aligned. Any other access writes nothing.
    pub(super) fn write_table(&self, offset: usize, from: &[u8]) {
        self.with_entry(offset, from.len(), |vector, within| {
            let bytes = vector.entry.as_mut_bytes().iter_mut().skip(within);
            for (to, from) in bytes.zip(from) {
                *to = *from;
            }
            // Bits that are none stay 0.
            let entry = &mut vector.entry;
            entry.address_low = (entry.address_low.get() & !0x3).into();
            entry.vector_control = (entry.vector_control.get() & VECTOR_MASKED).into();
            self.send_pending(vector);
        });
    }

    /// Reads the pending bits: 32 or 64 bits, aligned. Any other access reads as 0, which is what
    /// `into` holds.
    pub(super) fn read_pending(&self, offset: usize, into: &mut [u8]) {
        if !is_word(offset, into.len()) {
            return;
        }
        let vectors = self.table.iter().skip(offset.saturating_mul(8));
        for (at, vector) in vectors.take(into.len().saturating_mul(8)).enumerate() {
            if let Some(byte) = into.get_mut(at / 8) {
                *byte |= u8::from(vector.lock().pending) << (at % 8);
            }
        }
    }

    /// How many vectors there are.
    pub(super) fn vectors(&self) -> u16 {
        // No more than a function may have.
        self.table.len() as u16
    }

    fn set_gate(&self, change: impl FnOnce(&mut Gate)) {
        let mut gate = self.gate.lock();
        change(&mut gate);
        let open = gate.enabled && !gate.held;
        self.open.store(open, Ordering::SeqCst);
    }

    fn existing(&self, vector: u16) -> u16 {
        if usize::from(vector) < self.table.len() {
            vector
        } else {
            NO_VECTOR
        }
    }

    /// An event is mapped to `vector` no longer. If none is, what it had to send is nobody's.
    fn unmapped(&self, vector: u16) {
        let is_it = |mapped: &AtomicU16| mapped.load(Ordering::SeqCst) == vector;
        let mut events = self.queues.iter().chain([&self.config]);
        if let Some(entry) = self.table.get(usize::from(vector)) {
            let mut entry = entry.lock();
            if !events.any(is_it) {
                entry.pending = false;
            }
        }
    }

    fn with_entry(&self, offset: usize, len: usize, access: impl FnOnce(&mut Vector, usize)) {
        let entry = table_bytes(1);
        let vector = self.table.get(offset.checked_div(entry).unwrap_or(0));
        if let Some(vector) = vector.filter(|_| is_word(offset, len)) {
            access(&mut vector.lock(), offset.checked_rem(entry).unwrap_or(0));
        }
    }

    /// Sends the message of the vector that `event` is mapped to, now or when it may. None for
    /// [`NO_VECTOR`], which is beyond every table.
    fn fire(&self, event: &AtomicU16) {
        for _ in 0..REMAPS_MAX {
            let vector = event.load(Ordering::SeqCst);
            let Some(entry) = self.table.get(usize::from(vector)) else {
                return;
            };
            let mut entry = entry.lock();
            // Whoever unmaps it takes this lock afterwards: from then on it is seen here.
            if event.load(Ordering::SeqCst) == vector {
                entry.pending = true;
                return self.send_pending(&mut entry);
            }
        }
    }

    fn send_pending(&self, vector: &mut Vector) {
        let masked = vector.entry.vector_control.get() & VECTOR_MASKED != 0;
        if vector.pending && !masked && self.open.load(Ordering::SeqCst) {
            vector.pending = false;
            let low = u64::from(vector.entry.address_low.get());
            let high = u64::from(vector.entry.address_high.get());
            self.messages
                .send(high << 32 | low, vector.entry.data.get());
        }
    }
}

impl Interrupts for Vectors {
    fn used(&self, index: u16) {
        if self.enabled.load(Ordering::SeqCst) {
            if let Some(event) = self.queues.get(usize::from(index)) {
                self.fire(event);
            }
        } else {
            self.pin.raise(InterruptStatus::USED_BUFFER);
        }
    }

    fn reset_queue(&self, index: u16) {
        self.set_queue_vector(index, NO_VECTOR);
    }

    fn config_changed(&self) {
        // With messages too: §4.1.4.5.1 makes no exception for this bit. The pin is mute then.
        self.pin.raise(InterruptStatus::CONFIG_CHANGE);
        if self.enabled.load(Ordering::SeqCst) {
            self.fire(&self.config);
        }
    }

    fn hold(&self) {
        self.set_gate(|gate| gate.held = true);
        // Whoever was sending has sent when this was had.
        for vector in &self.table {
            drop(vector.lock());
        }
    }

    fn go_on(&self) {
        self.set_gate(|gate| gate.held = false);
        self.settle();
    }

    fn reset(&self) {
        self.config.store(NO_VECTOR, Ordering::SeqCst);
        for vector in &self.queues {
            vector.store(NO_VECTOR, Ordering::SeqCst);
        }
        for vector in &self.table {
            vector.lock().pending = false;
        }
        self.pin.take();
    }
}

/// Whether an access is of 32 or 64 bits, and aligned.
fn is_word(offset: usize, len: usize) -> bool {
    matches!(len, 4 | 8) && offset.is_multiple_of(len)
}

#[cfg(test)]
mod tests;
