//! What a driver does with memory and registers known by their addresses: blocks for devices, and
//! the interrupts of QEMU's `edu` (`-device edu`), which raises one whenever it is told to, by
//! message or by pin.

#![expect(
    unsafe_code,
    reason = "device registers, and memory that a device may be given"
)]

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::slice;

use ringway_guest::interrupts::{self, Trigger};
use ringway_guest::{memory, pci};

use super::{arrived, with_counter};

/// Size of a page, in bytes.
const PAGE_SIZE: usize = 4096;

/// Size of a block, in bytes.
const BLOCK_SIZE: usize = 8 << 20;

/// A block of memory for a device, given back when dropped.
pub(super) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    pub(super) fn take() -> Option<Self> {
        let layout = Layout::from_size_align(BLOCK_SIZE, PAGE_SIZE).ok()?;
        // SAFETY: the layout is not of size 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Self { start, layout })
    }

    /// Whether it begins at a page, below 4 GiB, and all of it was zero; fills it.
    pub(super) fn is_fresh(&mut self) -> bool {
        let address = self.start.addr().get();
        // SAFETY: the layout's bytes from `start` are this block's alone, and zeroed, so they are
        // initialised.
        let bytes = unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) };
        let mut pages = bytes.chunks_exact(PAGE_SIZE);
        let zeroed = pages.all(|page| page == [0; PAGE_SIZE]);
        bytes.fill(0xff);
        zeroed && address.is_multiple_of(PAGE_SIZE) && (address + self.layout.size()) >> 32 == 0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; no device was given it, and this is its one owner.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Vendor and device of `edu`.
const EDU: u32 = 0x11e8_1234;

/// Registers of configuration space, as offsets.
const COMMAND: u8 = 0x04;
const BAR0: u8 = 0x10;
const CAPABILITIES: u8 = 0x34;
const INTERRUPT: u8 = 0x3c;

const MEMORY_AND_MASTER: u32 = 0x6;

const MESSAGE_CAPABILITY: u32 = 0x05;
const MESSAGE_ENABLE: u32 = 1 << 16;

/// Registers of `edu`, as offsets into its window.
const RAISE: usize = 0x60;
const LOWER: usize = 0x64;
const WINDOW: u64 = 0x1000;

/// `edu` on bus 0, with its registers.
struct Edu {
    device: u8,
    registers: NonNull<u8>,
}

/// The checks that there is a device for, and whether each held.
pub(super) fn checks() -> impl Iterator<Item = (&'static str, bool)> {
    let edu = Edu::find();
    let by_pin = edu
        .as_ref()
        .map(|e| ("a pin reaches its handler", e.by_pin()));
    let by_message = edu
        .as_ref()
        .map(|e| ("a message reaches its handler", e.by_message()));
    by_pin.into_iter().chain(by_message)
}

impl Edu {
    fn find() -> Option<Self> {
        let device = (0..32).find(|&device| pci::read32(device, 0) == EDU)?;
        let start = u64::from(pci::read32(device, BAR0) & !0xf);
        let registers = memory::device_window(&(start..start + WINDOW))?;
        pci::write32(device, COMMAND, MEMORY_AND_MASTER);
        Some(Self { device, registers })
    }

    fn by_pin(&self) -> bool {
        let pin = (pci::read32(self.device, INTERRUPT) >> 8) as u8;
        let Some(gsi) = pci::intx_gsi(self.device, pin) else {
            return false;
        };
        with_counter(|vector, count| {
            let routed = interrupts::route_gsi(gsi, vector, Trigger::LevelLow).is_ok();
            self.write(RAISE, 1);
            // It is held until it is lowered, so the handler runs again and again.
            let came = arrived(count, 3);
            self.write(LOWER, 1);
            routed && came && interrupts::mask_gsi(gsi).is_ok()
        })
    }

    fn by_message(&self) -> bool {
        let Some(at) = self.message_capability() else {
            return false;
        };
        with_counter(|vector, count| {
            let (address, data) = interrupts::message(vector);
            let [low, high] = [address as u32, (address >> 32) as u32];
            for (offset, value) in [(4, low), (8, high), (12, data)] {
                pci::write32(self.device, at + offset, value);
            }
            let head = pci::read32(self.device, at);
            pci::write32(self.device, at, head | MESSAGE_ENABLE);
            let came = (1..=100).all(|n| {
                self.write(RAISE, 1);
                self.write(LOWER, 1);
                arrived(count, n)
            });
            pci::write32(self.device, at, head);
            came
        })
    }

    fn message_capability(&self) -> Option<u8> {
        let mut at = pci::read32(self.device, CAPABILITIES) as u8;
        // A list in 256 bytes of configuration space has no more links than this.
        for _ in 0..64 {
            let head = pci::read32(self.device, at);
            if at == 0 || head & 0xff == MESSAGE_CAPABILITY {
                break;
            }
            at = (head >> 8) as u8;
        }
        (at != 0).then_some(at)
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: `device_window` gave `WINDOW` bytes of registers, mapped and no RAM; the offsets
        // are within, aligned.
        unsafe {
            self.registers
                .add(register)
                .cast::<u32>()
                .write_volatile(value);
        };
    }
}
