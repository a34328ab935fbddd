//! What the targets of registers share: a machine with a disk, accesses at random, and the proof
//! that the disk still works.

use core::time::Duration;
use std::sync::Arc;

use ringway_device::Device;
use ringway_device::blk::{Blk as Model, RamDisk};
use ringway_driver::blk::Blk;
use ringway_driver::bus::attach;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::platform::{ANYWHERE, Platform as _, Registers, Trust};
use ringway_driver::transport::Transport;
use ringway_machine::{Builder, Machine, Platform, Run, Window};
use ringway_ring::driver::Memory;

use crate::input::Input;

/// Most time that one request may take, by the machine's clock.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);
const RAM_BYTES: usize = 512 << 10;
/// A driver that copies takes a megabyte for it, and keeps that for ever if it cannot reset its
/// device.
const POOL_RAM_BYTES: usize = 8 << 20;
/// Most drivers that are put at a device, one after the other.
const DRIVERS_MAX: usize = 4;
const SECTOR: usize = 512;
/// Memory whose address the stranger writes into registers.
const GIVEN_BYTES: usize = 0x4000;

/// A disk of 64 sectors.
pub(crate) fn disk() -> Box<dyn Device> {
    Box::new(Model::new(Arc::new(RamDisk::new(64)), 1))
}

/// A small machine, whose history follows from `seed`; and whether its drivers trust the device.
/// They copy in one of 32 only, for that takes the most time.
pub(crate) fn machine(seed: u8) -> Builder {
    let (trust, ram) = match seed % 32 {
        0 => (Trust::Pool, POOL_RAM_BYTES),
        1..=15 => (Trust::Trusted, RAM_BYTES),
        _ => (Trust::Revoked, RAM_BYTES),
    };
    Machine::builder()
        .ram(ram)
        .trust(trust)
        .run(Run::Inline { seed: seed.into() })
}

/// A stranger at the registers of a device.
pub(crate) struct Stranger<T: Transport<Platform = Platform>> {
    platform: Platform,
    given: Memory,
    /// A driver in the middle of its work, to whom all this happens.
    driver: Option<Blk<T, DmaBuffer>>,
    drivers: usize,
}

impl<T: Transport<Platform = Platform>> Stranger<T> {
    pub(crate) fn new(platform: &Platform) -> Self {
        Self {
            platform: platform.clone(),
            given: platform.dma(GIVEN_BYTES, 4096, ANYWHERE).expect("there is enough"),
            driver: None,
            drivers: 0,
        }
    }

    /// Reads or writes a register of `window`, at an offset that is below `bytes` most often. `hot`
    /// are registers to be met more often.
    pub(crate) fn access(&self, window: &Window, bytes: u16, hot: &[u16], input: &mut Input<'_>) {
        let (kind, at) = (input.u8(), input.u16());
        let offset = match (kind & 3, hot.get(usize::from(at) % hot.len().max(1))) {
            (0 | 1, Some(hot)) => usize::from(*hot),
            (2, _) => usize::from(at % bytes.max(1)),
            _ => usize::from(at),
        };
        // Accesses that leave the window, or are not aligned, are refused by it: that is an answer
        // too.
        if kind & 0x40 != 0 {
            match kind >> 2 & 3 {
                0 => drop(window.read8(offset)),
                1 => drop(window.read16(offset)),
                _ => drop(window.read32(offset)),
            }
            return;
        }
        let value = self.value(kind >> 4 & 3, input);
        match kind >> 2 & 3 {
            0 => drop(window.write8(offset, value as u8)),
            1 => drop(window.write16(offset, value as u16)),
            _ => drop(window.write32(offset, value)),
        }
    }

    fn value(&self, kind: u8, input: &mut Input<'_>) -> u32 {
        match kind {
            0 => u32::from(input.u8() & 0x0f),
            1 => (self.given.address as u32).wrapping_add(u32::from(input.u16()) % 0x3000),
            2 => (self.given.address >> 32) as u32,
            _ => input.u32(),
        }
    }

    /// Lets the machine do something, or writes into the memory that the device was told of.
    pub(crate) fn time_goes_by(&self, input: &mut Input<'_>) {
        let (at, bytes) = (usize::from(input.u16()), input.take::<4>());
        let memory = self.given.shared.view();
        memory
            .write(at % (GIVEN_BYTES - 4), &bytes)
            .expect("within");
        for _ in 0..=bytes[0] & 15 {
            self.platform.step();
        }
    }

    /// Puts a driver at the device, which works as well as it can; or has the one that is there go
    /// on.
    pub(crate) fn drive(&mut self, transport: impl FnOnce() -> Option<T>) {
        let Some(driver) = &mut self.driver else {
            if self.drivers < DRIVERS_MAX {
                self.drivers += 1;
                self.driver = transport().and_then(|transport| attach(transport).ok());
            }
            return;
        };
        if let Ok(buffer) = DmaBuffer::new(&self.platform, SECTOR) {
            // It may well be refused by now.
            let _ = driver.read(1, buffer);
        }
        let _ = driver.kick();
        if driver.poll().is_err() {
            self.driver = None;
        }
    }

    /// After a reset, everything works as on the first day.
    pub(crate) fn leave(self, transport: impl FnOnce() -> T) {
        let Self {
            platform, driver, ..
        } = self;
        drop(driver);
        let mut drive: Blk<T, DmaBuffer> = attach(transport()).expect("it was reset");
        let mut buffer = DmaBuffer::new(&platform, SECTOR).expect("there is enough");
        buffer.write(0, &[0xa5; SECTOR]).expect("it fits");
        drive.write(3, buffer).expect("the queue is empty");
        let written = drive.wait(LIMIT).expect("it answers");
        assert_eq!(written.result, Ok(()));
        let buffer = DmaBuffer::new(&platform, SECTOR).expect("there is enough");
        drive.read(3, buffer).expect("the queue is empty");
        let read = drive.wait(LIMIT).expect("it answers");
        assert_eq!(read.result, Ok(()));
        let mut bytes = [0; SECTOR];
        let buffer = read.buffer.expect("it went with the request");
        buffer.read(0, &mut bytes).expect("it fits");
        assert_eq!(bytes, [0xa5; SECTOR]);
        let (reset, _queue) = drive.reset();
        assert!(reset.is_ok());
    }
}
