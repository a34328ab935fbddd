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
use ringway_driver::mmio::Window;
use ringway_driver::pci::{Address, ConfigAccess};
use ringway_driver::platform::{Direction, Message, Platform, Segments, Trust, ends_by};
use ringway_ring::driver::Memory;
use ringway_ring::shared::Shared;

use crate::interrupts::{self, Trigger};
use crate::lock::Lock;
use crate::{memory, pci, time};

/// Longest that [`Platform::wait`] sleeps without anything having happened, in nanoseconds.
const NAP: u64 = time::SECOND / 10;

/// The machine, as drivers see it: every address is a device's too, devices are QEMU's and trusted.
#[derive(Clone, Default)]
pub struct Machine(Arc<Connected>);

/// Who is called by what.
#[derive(Default)]
struct Connected {
    messages: Lock<Vec<(u8, Handler<Machine>)>>,
    lines: Lock<Vec<Line>>,
}

/// An interrupt line, which devices share.
struct Line {
    gsi: u32,
    vector: u8,
    handlers: Arc<Lock<Vec<Handler<Machine>>>>,
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
    type Registers = Window;

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

    fn registers(&self, address: u64, len: u64) -> Result<Window, PlatformError> {
        let not_mapped = PlatformError::NotMapped(address);
        let end = address.checked_add(len).ok_or(not_mapped)?;
        let base = memory::device_window(&(address..end)).ok_or(not_mapped)?;
        let len = usize::try_from(len).map_err(|_| not_mapped)?;
        // SAFETY: `device_window` gives registers that are mapped, uncached, for good, and are no
        // RAM; what they make a device do to memory is its driver's to see to.
        Ok(unsafe { Window::new(base, len) })
    }

    fn message(&self, handler: Handler<Self>) -> Option<Message> {
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
        // Ports reach the first 256 bytes of a function.
        u8::try_from(offset).map_or(u32::MAX, |offset| {
            pci::read32(at.bus(), at.device(), at.function(), offset)
        })
    }

    fn write32(&self, at: Address, offset: u16, value: u32) {
        if let Ok(offset) = u8::try_from(offset) {
            pci::write32(at.bus(), at.device(), at.function(), offset, value);
        }
    }
}
