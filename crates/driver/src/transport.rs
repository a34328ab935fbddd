//! The operations that every way to reach a device can do.
//!
//! No allocation, no callbacks, no policy: those are built on top, once, for all transports
//! ([`bringup`](crate::bringup)).

use ringway_ring::driver::Areas;
use ringway_spec::{DeviceId, Features, InterruptStatus, Status};

use crate::dialect::Dialect;
use crate::error::TransportError;
use crate::platform::{Message, Platform, Registers};

#[cfg(feature = "alloc")]
mod boxed;

/// What a transport's operations return.
pub type Result<T, E = TransportError> = core::result::Result<T, E>;

/// A device, as a driver reaches it. Usable as `dyn Transport<Platform = P>`.
pub trait Transport: Send {
    /// The operating system's side.
    type Platform: Platform;

    /// The operating system's side.
    fn platform(&self) -> &Self::Platform;

    /// How the device is reached: `pci-modern`, `mmio`.
    fn name(&self) -> &'static str;

    /// Which interface it is driven through.
    fn dialect(&self) -> Dialect {
        Dialect::Modern
    }

    /// What type of device it is.
    fn device_id(&self) -> DeviceId;

    /// Who made it: the subsystem vendor on PCI, the vendor register on MMIO.
    fn vendor_id(&self) -> u32;

    /// Which feature bits, of those that concern transports, this one can do.
    fn transport_features(&self) -> Features;

    /// What the device offers (§2.2).
    ///
    /// # Errors
    ///
    /// [`TransportError`], as for every operation: the device cannot be reached.
    fn device_features(&mut self) -> Result<Features>;

    /// Says what the driver accepts (§2.2).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn set_driver_features(&mut self, features: Features) -> Result<()>;

    /// Reads the device status (§2.1).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn status(&mut self) -> Result<Status>;

    /// Writes the device status. Empty begins a reset, which is complete when the status reads
    /// empty (§2.4).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn set_status(&mut self, status: Status) -> Result<()>;

    /// Changes whenever the configuration space has (§2.5).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn config_generation(&mut self) -> Result<u32>;

    /// Reads configuration space from byte `offset` on, filling `into`. A field that is 1, 2 or 4
    /// bytes wide and aligned is read by one access; 8 bytes are two (§2.5.3).
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if the device has no such bytes.
    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()>;

    /// Writes configuration space, as [`read_config`](Self::read_config) reads it.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if the device has no such bytes.
    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()>;

    /// The largest size that queue `index` may have; 0 if there is no such queue.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn queue_size_max(&mut self, index: u16) -> Result<u16>;

    /// Whether queue `index` is enabled.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn queue_enabled(&mut self, index: u16) -> Result<bool>;

    /// Sets queue `index` up and enables it.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()>;

    /// Begins a reset of queue `index` alone (§2.6.1.1). Exists with `RING_RESET`. It is complete when
    /// [`queue_is_reset`](Self::queue_is_reset) says so; the queue can then be
    /// [enabled](Self::enable_queue) again, its vector set anew before.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn reset_queue(&mut self, index: u16) -> Result<()>;

    /// Whether the reset of queue `index` that was begun is complete: the device says that none is
    /// going on, and that the queue is not enabled. A device that offers what it has not would
    /// otherwise be believed.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn queue_is_reset(&mut self, index: u16) -> Result<bool>;

    /// Where the device has its administration queues, where the transport can say so. With
    /// `ADMIN_VQ`, once the driver has accepted it (§4.1.4.3).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn admin_queues(&mut self) -> Result<Option<AdminQueues>> {
        Ok(None)
    }

    /// What tells the device that queue `index` has chains. `features` are those negotiated.
    /// Nothing of the transport is touched when it rings.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if the device says that the register is where there are none.
    fn doorbell(&mut self, index: u16, features: Features) -> Result<Doorbell<Self::Platform>>;

    /// Where the device's shared memory region `id` is, if it has one (§2.10). Which regions there
    /// are, its type says. Transports that have none find none, which is the default.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn shared_memory(&mut self, id: u8) -> Result<Option<SharedMemory>> {
        let _ = id;
        Ok(None)
    }

    /// How many message-signalled interrupts the device can raise. 0 on transports that have none.
    fn messages_max(&self) -> u16 {
        0
    }

    /// Has the device's interrupt `vector` send `message`, or nothing. Only called below
    /// [`messages_max`](Self::messages_max).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        let _ = (vector, message);
        Ok(())
    }

    /// Switches the device from its interrupt line to messages, or back.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn use_messages(&mut self, on: bool) -> Result<()> {
        let _ = on;
        Ok(())
    }

    /// Has changes of the configuration raise `vector`, or none. Says whether the device agreed
    /// (§4.1.5.1.2).
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        Ok(vector.is_none())
    }

    /// Has queue `index` raise `vector`, or none. Says whether the device agreed (§4.1.5.1.2).
    /// Before the queue is enabled.
    ///
    /// # Errors
    ///
    /// See [`device_features`](Self::device_features).
    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        let _ = index;
        Ok(vector.is_none())
    }

    /// The interrupt line that the device raises while it uses no messages, if it has one, and the
    /// register that says why it did.
    fn line(&self) -> Option<Line<Self::Platform>>;
}

/// Where a device says that it has its administration queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminQueues {
    /// The index of the first.
    pub first: u16,
    /// How many there are.
    pub count: u16,
    /// How many other queues the device has: their indices come before.
    pub others: u16,
}

/// How a queue is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSetup {
    /// Descriptors of the ring.
    pub size: u16,
    /// Where its areas are.
    pub areas: Areas,
}

/// A region of memory that a device has and shows the driver (§2.10). What is in it, the device
/// may change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedMemory {
    /// Bus address of its first byte.
    pub address: u64,
    /// How many bytes it has: one at least, and the last has an address too.
    pub len: u64,
}

/// Tells a device that a queue has chains: one store, to a register found beforehand (§2.9).
#[derive(Clone, Debug)]
pub struct Doorbell<P: Platform> {
    registers: P::Registers,
    value: DoorbellValue,
}

/// What a doorbell writes, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorbellValue {
    /// 16 bits: PCI without `NOTIFICATION_DATA` (§4.1.5.2).
    Bits16(u16),
    /// 32 bits: MMIO without it (§4.2.3.3).
    Bits32(u32),
    /// 32 bits: this index, or the device's own name for the queue, and above it where the next chain will be, with `NOTIFICATION_DATA`
    /// (§2.9).
    WithData(u16),
}

impl<P: Platform> Doorbell<P> {
    /// A doorbell at the start of `registers`.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if the window is smaller than the value.
    pub fn new(registers: P::Registers, value: DoorbellValue) -> Result<Self> {
        let len = match value {
            DoorbellValue::Bits16(_) => 2,
            DoorbellValue::Bits32(_) | DoorbellValue::WithData(_) => 4,
        };
        if registers.len() < len {
            return Err(TransportError::Range { offset: 0, len });
        }
        Ok(Self { registers, value })
    }

    /// Rings it. `data` says where the next chain will be made available: the queue's
    /// [`notification_data`](ringway_ring::driver::Queue::notification_data).
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the device cannot be reached.
    #[inline]
    pub fn ring(&self, data: u16) -> Result<()> {
        // The available index (stored to memory) before the register: the device looks at the one
        // when it sees the other.
        ringway_ring::barrier::doorbell();
        match self.value {
            DoorbellValue::Bits16(value) => self.registers.write16(0, value),
            DoorbellValue::Bits32(value) => self.registers.write32(0, value),
            DoorbellValue::WithData(index) => self
                .registers
                .write32(0, u32::from(data) << 16 | u32::from(index)),
        }
    }
}

/// A device's interrupt line, and the register that says why it was raised. A handle of its own: it
/// is used in interrupt handlers.
#[derive(Clone, Debug)]
pub struct Line<P: Platform> {
    /// The number of the line, as the platform counts them.
    pub number: u32,
    /// Why it was raised.
    pub cause: Cause<P>,
}

/// The register that says why a device raised its line.
#[derive(Clone, Debug)]
pub enum Cause<P: Platform> {
    /// PCI's ISR status: one byte; reading it acknowledges (§4.1.4.5).
    ReadClears(P::Registers),
    /// MMIO's `InterruptStatus`, and `InterruptACK` four bytes after it (§4.2.2).
    Acknowledged(P::Registers),
}

impl<P: Platform> Cause<P> {
    /// Reads the causes, and acknowledges them. Empty if it was not this device that raised the
    /// line.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the device cannot be reached.
    pub fn take(&self) -> Result<InterruptStatus> {
        match self {
            Self::ReadClears(isr) => isr.read8(0).map(InterruptStatus::from_bits_truncate),
            Self::Acknowledged(registers) => {
                // Undefined causes are neither believed nor acknowledged (§4.2.2.2).
                let status = InterruptStatus::from_bits_truncate(registers.read32(0)? as u8);
                // Before anybody is woken: what the device completes after that raises it again.
                if !status.is_empty() {
                    registers.write32(4, u32::from(status.bits()))?;
                }
                Ok(status)
            }
        }
    }
}
