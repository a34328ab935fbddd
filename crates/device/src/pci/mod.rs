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
mod msix;
mod space;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use ringway_ring::device::Violation;
use ringway_spec::pci::config::{self, Command};
use ringway_spec::pci::{Capability, CapabilityType, CommonConfig};
use ringway_spec::{DeviceId, pci};
use spin::Mutex;

use crate::front::{Front, Parts, Register, load, store};
use crate::interrupt::{Line, MessageSink};
use common::Field;
use msix::Vectors;
use space::Space;

/// Most MSI-X vectors of a function.
pub const VECTORS_MAX: u16 = pci::msix::MAX_VECTORS;

/// Bytes between the notification addresses of one queue and the next: so that each has its own, and the address alone says which it is.
const NOTIFY_MULTIPLIER: u32 = 4;

/// The BAR that holds virtio's registers, and where in it they are.
const REGISTERS_BAR: u8 = 0;
const COMMON_OFFSET: u32 = 0x0000;
const ISR_OFFSET: u32 = 0x1000;
const DEVICE_OFFSET: u32 = 0x2000;
const NOTIFY_OFFSET: u32 = 0x3000;

/// The BAR that holds the MSI-X table and the pending bits.
const MSIX_BAR: u8 = 2;

/// Structures are apart by pages, so that they can be mapped apart.
const PAGE: u32 = 0x1000;

/// The base of a BAR that answers at no address.
const NOWHERE: u64 = u64::MAX;

/// A memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5. A wide one takes the next number too.
    pub index: u8,
    /// How many bytes it has, a power of two. Its address is a multiple of that.
    pub size: u64,
    /// Its address has 64 bits, not 32.
    pub wide: bool,
}

/// A device, reached as a PCI function.
pub struct Function {
    front: Front<Vectors>,
    layout: Layout,
    space: Mutex<Space>,
    /// Where the BARs of the layout are now, each [`NOWHERE`] or a multiple of its size.
    bases: Vec<AtomicU64>,
}

/// A structure's place in a BAR.
#[derive(Clone, Copy, Debug)]
struct Place {
    bar: u8,
    offset: u32,
    length: u32,
}

/// What is where.
struct Layout {
    bars: Vec<Bar>,
    common: Place,
    isr: Place,
    device: Place,
    notify: Place,
    table: Place,
    pba: Place,
}

impl Function {
    /// Presents a device, with as many MSI-X `vectors`, at most [`VECTORS_MAX`]; with none, it has only its pin. One for each queue and one more suits
    /// a device best.
    pub fn new(
        parts: Parts,
        vectors: u16,
        messages: Arc<dyn MessageSink>,
        line: Arc<dyn Line>,
    ) -> Self {
        let vectors = vectors.min(VECTORS_MAX);
        let queues = u16::try_from(parts.device.queue_sizes().len()).unwrap_or(u16::MAX);
        let front = Front::new(parts, Vectors::new(vectors, queues, messages, line));
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
        .started()
    }

    /// What type of device it is.
    pub fn id(&self) -> DeviceId {
        self.front.id()
    }

    /// Its BARs.
    pub fn bars(&self) -> &[Bar] {
        &self.layout.bars
    }

    /// The BAR that answers at `address`, as the driver has set it, and the offset in it. `None` if none has all of the `len` bytes there.
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

    /// Reads configuration space: 8, 16 or 32 bits, aligned. What lies beyond its 256 bytes reads as 0.
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

    /// To be called when the device's configuration has changed: a driver that is ready is told (§3.2.1).
    pub fn config_changed(&self) {
        self.front.config_changed();
    }

    /// The rule that the driver broke last, and on which queue: why the device asked for a reset.
    pub fn violation(&self) -> Option<(u16, Violation)> {
        self.front.violation()
    }

    /// Takes over what configuration space says after a reset.
    fn started(self) -> Self {
        self.apply(&self.space.lock());
        self
    }

    /// Takes over what configuration space says: where the BARs are, whether memory may be reached, how to interrupt.
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

    /// The address says which queue is meant; the value must be its index, in 16 bits (§4.1.5.2.1).
    fn notify(&self, at: usize, from: &[u8]) {
        let index = at as u32 / NOTIFY_MULTIPLIER;
        let whole = (at as u32).is_multiple_of(NOTIFY_MULTIPLIER) && from.len() == 2;
        if whole && load(from) == index {
            // No more than the 16 bits of the value.
            self.front.kick(index as u16);
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

impl Layout {
    fn new(queues: u16, vectors: u16) -> Self {
        let at = |bar, offset, length| Place {
            bar,
            offset,
            length,
        };
        // Both are below 2²⁰: an index has 16 bits, a vector 11.
        let notify = u32::from(queues.max(1)).saturating_mul(NOTIFY_MULTIPLIER);
        let table = pci::msix::table_bytes(vectors) as u32;
        let pba = pci::msix::pba_bytes(vectors) as u32;
        let pba_offset = table.next_multiple_of(PAGE);
        let size = |bytes: u32| u64::from(bytes.max(PAGE).next_power_of_two());
        let registers = Bar {
            index: REGISTERS_BAR,
            size: size(NOTIFY_OFFSET.saturating_add(notify)),
            wide: true,
        };
        let msix = Bar {
            index: MSIX_BAR,
            size: size(pba_offset.saturating_add(pba)),
            wide: false,
        };
        Self {
            bars: core::iter::once(registers)
                .chain((vectors != 0).then_some(msix))
                .collect(),
            common: at(
                REGISTERS_BAR,
                COMMON_OFFSET,
                size_of::<CommonConfig>() as u32,
            ),
            isr: at(REGISTERS_BAR, ISR_OFFSET, 1),
            device: at(REGISTERS_BAR, DEVICE_OFFSET, PAGE),
            notify: at(REGISTERS_BAR, NOTIFY_OFFSET, notify),
            table: at(MSIX_BAR, 0, table),
            pba: at(MSIX_BAR, pba_offset, pba),
        }
    }
}

impl Place {
    /// Where in the structure the `len` bytes at `offset` of `bar` are, if they are all in it.
    fn find(&self, bar: u8, offset: u64, len: usize) -> Option<usize> {
        let within = offset.checked_sub(self.offset.into())?;
        let end = within.checked_add(len as u64)?;
        let found = bar == self.bar && len != 0 && end <= u64::from(self.length);
        usize::try_from(within).ok().filter(|_| found)
    }

    fn capability(&self, cfg_type: CapabilityType, bytes: usize) -> Capability {
        Capability {
            cap_len: bytes as u8,
            cfg_type,
            bar: self.bar,
            offset: self.offset.into(),
            length: self.length.into(),
            ..Capability::default()
        }
    }
}

/// Whether configuration space can be accessed so: 8, 16 or 32 bits, aligned, and within.
fn is_config_access(offset: usize, len: usize) -> bool {
    matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len) && offset < config::SIZE
}
