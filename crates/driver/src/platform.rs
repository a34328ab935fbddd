//! What the operating system provides to drivers, as one value.
#![expect(
    unsafe_code,
    reason = "the contract of a platform is an unsafe trait; nothing unsafe is done here"
)]

use core::fmt;
use core::ptr::NonNull;
use core::time::Duration;

use ringway_ring::driver::{Memory, Segment};
use ringway_spec::Features;

use crate::error::{PlatformError, TransportError};
#[cfg(feature = "alloc")]
use crate::interrupt::{Handler, Processors, Signal};
use crate::pci;

/// How far a device is trusted with memory. Chosen by the platform for all its devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Buffers are handed to the device as they are. A device that goes on writing to a buffer
    /// after it gave it back writes to memory that is somebody else's by then: for devices made
    /// by a hypervisor that owns this machine anyway.
    Trusted,
    /// Buffers are copied through memory that is shared with the device for ever, and nothing else
    /// is. For devices that are not to see more: the case of confidential guests.
    Pool,
    /// Buffers are handed over, and the device's access to them is ended (by an IOMMU) before they
    /// are given back.
    Revoked,
}

/// Which way the bytes of a buffer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The device reads them.
    ToDevice,
    /// The device writes them.
    FromDevice,
}

/// The last address of memory for devices that may be anywhere.
pub const ANYWHERE: u64 = u64::MAX;

/// Whether `memory` ends at address `last`, at the latest: for what [`Platform::dma`] is asked.
pub fn ends_by(memory: &Memory, last: u64) -> bool {
    let len = memory.shared.len() as u64;
    let end = memory.address.checked_add(len.saturating_sub(1));
    end.is_some_and(|end| end <= last)
}

/// Where [`Platform::map`] says which device addresses a buffer has: in order, as many as there is
/// room for.
#[derive(Debug)]
pub struct Segments<'s> {
    room: &'s mut [Segment],
    used: usize,
    longest: u32,
}

impl<'s> Segments<'s> {
    /// No segments yet, and room for as many as `room` is long, each of at most `longest` bytes,
    /// which is not 0.
    pub fn new(room: &'s mut [Segment], longest: u32) -> Self {
        Self {
            room,
            used: 0,
            longest: longest.max(1),
        }
    }

    /// Adds a run of bytes: as one segment, or as several if it is longer than the device takes.
    ///
    /// # Errors
    ///
    /// [`PlatformError::TooManySegments`] if there is no room for it: `map` returns it, having
    /// mapped nothing.
    #[inline]
    pub fn push(&mut self, address: u64, len: usize) -> Result<(), PlatformError> {
        let (mut address, mut left) = (address, len);
        // Ends when the room does.
        while left != 0 {
            // No more than `longest`, which has 32 bits.
            let len = left.min(self.longest as usize) as u32;
            *self
                .room
                .get_mut(self.used)
                .ok_or(PlatformError::TooManySegments)? = Segment { address, len };
            self.used += 1;
            address = address.wrapping_add(u64::from(len));
            left -= len as usize;
        }
        Ok(())
    }

    /// The first that was added.
    pub fn first(&self) -> Option<&Segment> {
        self.room.first().filter(|_| self.used != 0)
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

/// A message that a device writes to interrupt a processor (MSI-X).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// What the operating system provides: memory that devices can reach, register windows, interrupts,
/// time.
///
/// A cheap handle: it is cloned into every queue. PCI configuration space is a trait of its own,
/// [`pci::ConfigAccess`], for platforms that have it.
///
/// # Safety
///
/// Drivers hand the device addresses that come from here, and the device writes there. So:
///
/// - [`dma`](Self::dma) returns memory that is the device's at the address it says, for all its
///   bytes, until the last clone of its [`Shared`](ringway_ring::shared::Shared) is dropped, and
///   that nobody else uses.
/// - [`map`](Self::map) reports device addresses behind which are exactly the bytes it was given.
/// - With [`Trust::Revoked`], once [`unmap`](Self::unmap) returns, no device reaches the bytes any
///   more.
pub unsafe trait Platform: Clone + fmt::Debug + Send + Sync + 'static {
    /// How device registers are reached.
    type Registers: Registers;

    /// How far devices are trusted with memory.
    fn trust(&self) -> Trust;

    /// Features without which this platform's memory cannot be used: `ACCESS_PLATFORM` if device
    /// addresses are not physical ones (§6.1).
    fn required_features(&self) -> Features {
        Features::NONE
    }

    /// `len` zeroed bytes for rings, requests and pools, contiguous for the device, at an address
    /// aligned to `align`, a power of two, none of them above address `last`: [`ANYWHERE`], but for
    /// the rings of legacy devices. Freed with the last clone of what is returned.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoMemory`]
    fn dma(&self, len: usize, align: usize, last: u64) -> Result<Memory, PlatformError>;

    /// Makes the `len` bytes at `at` the device's, and says where it finds them. Not called with
    /// [`Trust::Pool`].
    ///
    /// # Errors
    ///
    /// [`PlatformError`] if it cannot be: then nothing is mapped.
    fn map(
        &self,
        at: NonNull<u8>,
        len: usize,
        direction: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<(), PlatformError>;

    /// Ends what [`map`](Self::map) began. `first` is the device address of its first segment.
    fn unmap(&self, at: NonNull<u8>, len: usize, direction: Direction, first: u64);

    /// Maps the `len` bytes of device registers at bus address `address`.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NotMapped`]
    fn registers(&self, address: u64, len: u64) -> Result<Self::Registers, PlatformError>;

    /// Reaches the `len` I/O ports from `base` on, where legacy PCI devices have their registers.
    /// Machines without ports have none, which is the default.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoPorts`]
    fn ports(&self, base: u32, len: u32) -> Result<Self::Registers, PlatformError> {
        let _ = len;
        Err(PlatformError::NoPorts(base))
    }

    /// Reaches registers through the window that their PCI function has on them in configuration
    /// space, where neither [`registers`](Self::registers) nor [`ports`](Self::ports) does: by
    /// [`pci::ConfigWindow`]. Machines that can map all BARs do without, which is the default.
    fn config_window(&self, target: pci::Target) -> Option<Self::Registers> {
        let _ = target;
        None
    }

    /// Provides one message-signalled interrupt, on which `handler` is called until it is
    /// [disconnected](Self::disconnect). Where interrupts are listed, it is called by the handler's
    /// [name](Handler::name). `None` when there are no more, or none at all: devices then share, use
    /// their line, or are polled.
    #[cfg(feature = "alloc")]
    fn message(&self, handler: Handler<Self>) -> Option<Message>;

    /// Has `handler` called when interrupt line `line` is raised, together with others on that
    /// line. Says whether it will be. Lines are level-triggered; a handler that returns `false` says
    /// that it was not its device.
    #[cfg(feature = "alloc")]
    fn line(&self, line: u32, handler: Handler<Self>) -> bool;

    /// Forgets every handler equal to `handler` ([`Handler::same_as`]). Returns when none of them
    /// runs: what the device was told of is freed after that.
    #[cfg(feature = "alloc")]
    fn disconnect(&self, handler: &Handler<Self>);

    /// Has the message that was provided for `handler` handled by one of `processors`, as far as
    /// that is up to the platform. Platforms that leave interrupts where they are need not have
    /// this.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoAffinity`], which is the default: it stays where it is.
    #[cfg(feature = "alloc")]
    fn set_affinity(
        &self,
        handler: &Handler<Self>,
        processors: &Processors,
    ) -> Result<(), PlatformError> {
        let _ = (handler, processors);
        Err(PlatformError::NoAffinity)
    }

    /// Which processors may handle the message that was provided for `handler`.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoAffinity`], which is the default.
    #[cfg(feature = "alloc")]
    fn affinity(&self, handler: &Handler<Self>) -> Result<Processors, PlatformError> {
        let _ = handler;
        Err(PlatformError::NoAffinity)
    }

    /// Time since some fixed moment. Never goes back.
    fn now(&self) -> Duration;

    /// Called again and again while something is waited for that no interrupt announces.
    fn relax(&self) {
        core::hint::spin_loop();
    }

    /// Waits until `signal` was raised since it counted `seen`, or for a while. May return early.
    /// Called in thread context only.
    #[cfg(feature = "alloc")]
    fn wait(&self, signal: &Signal, seen: u32) {
        let _ = (signal, seen);
        self.relax();
    }

    /// Called after a wait, when more requests are in flight than one: a platform whose devices have
    /// to share the processor with it may let them complete some more, so that one interrupt does
    /// for many. Does nothing by default.
    fn gather(&self) {}

    /// Told when memory was kept from everybody for ever, since a device did not confirm its reset.
    /// For counting.
    fn leaked(&self, leak: Leak) {
        let _ = leak;
    }
}

/// Memory kept from everybody because a device may still use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leak {
    /// Queues whose rings are kept.
    pub queues: usize,
    /// Buffers in flight that are kept.
    pub buffers: usize,
}

/// A window of device registers. Little-endian; every access is one bus access of its width, in
/// program order with others.
///
/// Ready ones are in [`registers`](crate::registers): those of a machine with mapped registers are
/// a [`Window`](crate::registers::Window).
pub trait Registers: Clone + fmt::Debug + Send + Sync + 'static {
    /// Bytes of the window.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `len` bytes at `offset` as a window of their own, if they lie within.
    fn slice(&self, offset: usize, len: usize) -> Option<Self>;

    /// Reads 8 bits.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if they are not within; so for all the others, which also want
    /// their natural alignment.
    fn read8(&self, offset: usize) -> Result<u8, TransportError>;
    /// Reads 16 bits.
    ///
    /// # Errors
    ///
    /// As for [`read8`](Self::read8).
    fn read16(&self, offset: usize) -> Result<u16, TransportError>;
    /// Reads 32 bits.
    ///
    /// # Errors
    ///
    /// As for [`read8`](Self::read8).
    fn read32(&self, offset: usize) -> Result<u32, TransportError>;
    /// Writes 8 bits.
    ///
    /// # Errors
    ///
    /// As for [`read8`](Self::read8).
    fn write8(&self, offset: usize, value: u8) -> Result<(), TransportError>;
    /// Writes 16 bits.
    ///
    /// # Errors
    ///
    /// As for [`read8`](Self::read8).
    fn write16(&self, offset: usize, value: u16) -> Result<(), TransportError>;
    /// Writes 32 bits.
    ///
    /// # Errors
    ///
    /// As for [`read8`](Self::read8).
    fn write32(&self, offset: usize, value: u32) -> Result<(), TransportError>;
}
