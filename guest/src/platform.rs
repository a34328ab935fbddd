//! What this machine provides to Ringway's drivers.

#![expect(
    unsafe_code,
    reason = "the contracts of a platform and of a window of registers"
)]

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use ringway_driver::error::PlatformError;
use ringway_driver::interrupt::{Handler, Signal};
use ringway_driver::pci::{Address, ConfigAccess, ConfigWindow, Exclusion, Target};
use ringway_driver::platform::{Direction, Message, Platform, Segments, Trust, ends_by};
use ringway_driver::registers::{DirectOrWindow, MemoryOrPorts, Ports, Window};
use ringway_ring::driver::Memory;
use ringway_ring::shared::Shared;

use crate::interrupts::{self, Trigger};
use crate::lock::Lock;
use crate::{memory, pci, time};

/// Longest that [`Platform::wait`] sleeps without anything having happened, in nanoseconds.
const NAP: u64 = time::SECOND / 10;

/// The first I/O port of PCI devices: those below are of the board.
const FIRST_PORT: u16 = 0x1000;
/// What the last port comes before.
const PORTS_END: u32 = 0x1_0000;

/// The machine, as drivers see it: every address is a device's too, devices are QEMU's and trusted.
#[derive(Clone, Default)]
pub struct Machine(Arc<Connected>);

/// Interrupts that the machine has to give. Those of the processor are more than devices ask for;
/// fewer are for seeing what drivers do then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupts {
    /// The most messages that devices have at a time.
    pub messages: usize,
    /// Whether lines lead anywhere.
    pub lines: Lines,
}

/// Whether interrupt lines lead anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// To the processor.
    Connected,
    /// Nowhere: devices without messages are polled.
    Cut,
}

impl Default for Interrupts {
    fn default() -> Self {
        Self {
            messages: usize::MAX,
            lines: Lines::Connected,
        }
    }
}

/// How registers are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// They are mapped, or behind ports.
    #[default]
    Direct,
    /// Only through the windows that PCI functions have in configuration space: as if there were
    /// no room for any BAR.
    Window,
}

/// Who is called by what.
#[derive(Default)]
struct Connected {
    interrupts: Interrupts,
    reach: Reach,
    /// Held by who uses a window in configuration space.
    alone: Lock<()>,
    messages: Lock<Vec<(u8, Handler<Machine>)>>,
    lines: Lock<Vec<Line>>,
}

/// An interrupt line, which devices share.
struct Line {
    gsi: u32,
    vector: u8,
    handlers: Arc<Lock<Vec<Handler<Machine>>>>,
}

impl Machine {
    /// The machine, with no more than these interrupts, and no better way to registers.
    pub fn new(interrupts: Interrupts, reach: Reach) -> Self {
        Self(Arc::new(Connected {
            interrupts,
            reach,
            ..Connected::default()
        }))
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

// SAFETY: virtual and physical addresses are the same and no IOMMU is set up, so memory is the
// device's at its own address: `dma` gives zeroed memory of the heap, which is freed with the last
// clone, and `map` reports the bytes that it was given.
unsafe impl Platform for Machine {
    type Registers = DirectOrWindow<MemoryOrPorts, Self>;

    fn trust(&self) -> Trust {
        Trust::Trusted
    }

    fn dma(&self, len: usize, align: usize, last: u64) -> Result<Memory, PlatformError> {
        let shared = Shared::allocate(len, align).ok_or(PlatformError::NoMemory(len))?;
        let address = shared.base().addr().get() as u64;
        let memory = Memory { shared, address };
        if !ends_by(&memory, last) {
            return Err(PlatformError::NoMemory(len));
        }
        Ok(memory)
    }

    fn map(
        &self,
        at: NonNull<u8>,
        len: usize,
        _: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<(), PlatformError> {
        segments.push(at.addr().get() as u64, len)
    }

    fn unmap(&self, _: NonNull<u8>, _: usize, _: Direction, _: u64) {}

    fn registers(&self, address: u64, len: u64) -> Result<Self::Registers, PlatformError> {
        let not_mapped = PlatformError::NotMapped(address);
        if self.0.reach == Reach::Window {
            return Err(not_mapped);
        }
        let end = address.checked_add(len).ok_or(not_mapped)?;
        let base = memory::device_window(&(address..end)).ok_or(not_mapped)?;
        let len = usize::try_from(len).map_err(|_| not_mapped)?;
        // SAFETY: `device_window` gives registers that are mapped, uncached, for good, and are no
        // RAM; what they make a device do to memory is its driver's to see to.
        let window = unsafe { Window::new(base, len) };
        Ok(MemoryOrPorts::Memory(window).into())
    }

    fn ports(&self, base: u32, len: u32) -> Result<Self::Registers, PlatformError> {
        let no_ports = PlatformError::NoPorts(base);
        let port = u16::try_from(base).map_err(|_| no_ports)?;
        // Those below belong to the board: some of them move memory.
        let last = base.checked_add(len).is_some_and(|end| end <= PORTS_END);
        if port < FIRST_PORT || !last || self.0.reach == Reach::Window {
            return Err(no_ports);
        }
        // SAFETY: the image runs in ring 0; ports from there on are those of PCI devices, and what
        // they make a device do to memory is its driver's to see to.
        let ports = unsafe { Ports::new(port, len as usize) };
        Ok(MemoryOrPorts::Ports(ports).into())
    }

    fn config_window(&self, target: Target) -> Option<Self::Registers> {
        let window = ConfigWindow::new(self.clone(), target);
        Some(DirectOrWindow::Window(window))
    }

    fn message(&self, handler: Handler<Self>) -> Option<Message> {
        if self.0.messages.lock().len() >= self.0.interrupts.messages {
            return None;
        }
        let called = handler.clone();
        let all: interrupts::Handler = Arc::new(move || {
            // A message is for one device: there is nothing to find out.
            called.handle();
        });
        let vector = interrupts::allocate(&all).ok()?;
        self.0.messages.lock().push((vector, handler));
        let (address, data) = interrupts::message(vector);
        Some(Message { address, data })
    }

    fn line(&self, line: u32, handler: Handler<Self>) -> bool {
        if self.0.interrupts.lines == Lines::Cut {
            return false;
        }
        let mut lines = self.0.lines.lock();
        if let Some(known) = lines.iter().find(|known| known.gsi == line) {
            known.handlers.lock().push(handler);
            return true;
        }
        let handlers = Arc::new(Lock::new(Vec::from([handler])));
        let called = Arc::clone(&handlers);
        let all: interrupts::Handler = Arc::new(move || {
            for handler in called.lock().iter() {
                handler.handle();
            }
        });
        let Ok(vector) = interrupts::allocate(&all) else {
            return false;
        };
        if interrupts::route_gsi(line, vector, Trigger::LevelHigh).is_err() {
            interrupts::unregister(vector);
            return false;
        }
        lines.push(Line {
            gsi: line,
            vector,
            handlers,
        });
        true
    }

    fn disconnect(&self, handler: &Handler<Self>) {
        self.0.messages.lock().retain(|(vector, known)| {
            let other = !known.same_as(handler);
            if !other {
                interrupts::unregister(*vector);
            }
            other
        });
        self.0.lines.lock().retain(|line| {
            let mut handlers = line.handlers.lock();
            handlers.retain(|known| !known.same_as(handler));
            let used = !handlers.is_empty();
            drop(handlers);
            if !used {
                // It was routed, so there is such a line.
                let _ = interrupts::mask_gsi(line.gsi);
                interrupts::unregister(line.vector);
            }
            used
        });
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(time::now())
    }

    fn wait(&self, signal: &Signal, seen: u32) {
        time::wait(NAP, || signal.count() != seen);
    }
}

impl ConfigAccess for Machine {
    fn read32(&self, at: Address, offset: u16) -> u32 {
        pci::CONFIG.read32(at, offset)
    }

    fn write32(&self, at: Address, offset: u16, value: u32) {
        pci::CONFIG.write32(at, offset, value);
    }
}

impl Exclusion for Machine {
    fn alone<T>(&self, what: impl FnOnce() -> T) -> T {
        let _held = self.0.alone.lock();
        what()
    }
}
