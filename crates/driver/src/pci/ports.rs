//! Configuration space behind I/O ports `0xcf8` to `0xcff`: one for the address, one for the data.
//! The numbers are those of the PCI Local Bus Specification 3.0, section 3.2.2.3.2.

use ringway_spec::pci::config::SIZE;

use super::{Address, ConfigAccess};
use crate::platform::Registers;

/// Offset of the port that takes the address, from `0xcf8`.
const ADDRESS: usize = 0;
/// Offset of the port that has the data, from `0xcf8`.
const DATA: usize = 4;
/// The bit of an address that has the data port lead to configuration space.
const ENABLE: u32 = 1 << 31;

/// Has things done one at a time: a lock that the platform has, which keeps out interrupt handlers
/// too if they reach configuration space.
pub trait Exclusion {
    /// Does `what` while nobody else does anything by the same lock.
    fn alone<T>(&self, what: impl FnOnce() -> T) -> T;
}

/// Configuration space behind ports: the first 256 bytes of each function.
#[derive(Debug)]
pub struct ConfigPorts<R, L> {
    ports: R,
    lock: L,
}

impl<R: Registers, L: Exclusion> ConfigPorts<R, L> {
    /// The first of ports `0xcf8` to `0xcff`, eight of them.
    pub const FIRST: u16 = 0xcf8;
    /// How many ports there are.
    pub const LEN: usize = 8;

    /// Configuration space behind `ports`, which nobody uses but by this value and others with the
    /// same lock.
    pub const fn new(ports: R, lock: L) -> Self {
        Self { ports, lock }
    }

    /// Has the data port lead to `offset` of the function at `at`. `None` if it cannot.
    fn select(&self, at: Address, offset: u16) -> Option<()> {
        if usize::from(offset) >= SIZE {
            return None;
        }
        let address = ENABLE | u32::from(at.routing_id()) << 8 | u32::from(offset & !3);
        self.ports.write32(ADDRESS, address).ok()
    }
}

impl<R: Registers, L: Exclusion> ConfigAccess for ConfigPorts<R, L> {
    fn read32(&self, at: Address, offset: u16) -> u32 {
        let read = self.lock.alone(|| {
            self.select(at, offset)?;
            self.ports.read32(DATA).ok()
        });
        read.unwrap_or(u32::MAX)
    }

    fn write32(&self, at: Address, offset: u16, value: u32) {
        self.lock.alone(|| {
            if self.select(at, offset).is_some() {
                // Ports that are not there have no configuration space behind them.
                let _ = self.ports.write32(DATA, value);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Platform, Trust};
    use crate::testing::{Access, TestPlatform, port};
    use core::cell::Cell;
    use std::vec;

    /// Counts who came, and knows who is within.
    #[derive(Default)]
    struct Turnstile {
        within: Cell<bool>,
        count: Cell<u32>,
    }

    impl Exclusion for &Turnstile {
        fn alone<T>(&self, what: impl FnOnce() -> T) -> T {
            assert!(!self.within.replace(true));
            let done = what();
            self.within.set(false);
            self.count.set(self.count.get() + 1);
            done
        }
    }

    #[test]
    fn an_access_is_an_address_and_then_data_with_nobody_between() {
        let platform = TestPlatform::new(Trust::Trusted);
        platform.place(port(0xcf8), vec![0, 0, 0, 0, 1, 2, 3, 4], |_, _| {});
        let turnstile = Turnstile::default();
        let config = ConfigPorts::new(platform.ports(0xcf8, 8).unwrap(), &turnstile);
        let at = Address::new(0xa5, 0x1f, 6);

        let read = config.read32(at, 0x10);
        config.write32(at, 0xfc, 7);

        let (width, first) = (4, port(0xcf8));
        let write = |at, value| Access::Write { at, width, value };
        let data = Access::Read {
            at: first + 4,
            width,
            value: 0x0403_0201,
        };
        assert_eq!(read, 0x0403_0201);
        assert_eq!(
            platform.take_log(),
            [
                write(first, 0x80a5_fe10),
                data,
                write(first, 0x80a5_fefc),
                write(first + 4, 7),
            ]
        );
        assert_eq!(turnstile.count.get(), 2);
    }

    #[test]
    fn what_ports_do_not_reach_reads_as_ones_and_is_not_written() {
        let platform = TestPlatform::new(Trust::Trusted);
        platform.place(port(0xcf8), vec![0; 8], |_, _| {});
        let turnstile = Turnstile::default();
        let config = ConfigPorts::new(platform.ports(0xcf8, 8).unwrap(), &turnstile);
        let at = Address::new(0, 1, 0);

        let read = config.read32(at, 256);
        config.write32(at, 4092, 0);

        assert_eq!(read, u32::MAX);
        assert_eq!(platform.take_log(), []);
    }
}
