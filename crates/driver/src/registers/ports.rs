//! Device registers behind the I/O ports of an x86 processor.
#![expect(unsafe_code, reason = "the one place that executes port I/O")]

use core::arch::asm;

use crate::error::TransportError;
use crate::platform::Registers;
use crate::transport::Result;

/// How many ports there are.
const PORTS: usize = 1 << 16;

/// A window of I/O ports: the [`Registers`] of legacy PCI devices on x86, and the way to
/// configuration space of machines that have it behind ports.
#[derive(Clone, Debug)]
pub struct Ports {
    base: u16,
    len: usize,
}

impl Ports {
    /// The `len` ports from `base` on; fewer, if there are fewer.
    ///
    /// # Safety
    ///
    /// Until the program ends, it is allowed to use these ports (it runs in ring 0, or was given
    /// them), and reading or writing any of them changes no memory of this program but what a
    /// driver has given to the device.
    pub const unsafe fn new(base: u16, len: usize) -> Self {
        let most = PORTS - base as usize;
        Self {
            base,
            len: if len < most { len } else { most },
        }
    }

    /// The port at `offset`, of `len` bytes, if it is within and aligned.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Result<u16> {
        let last = self.len.checked_sub(len);
        // The ports end with 16 bits, so what is within does not pass them.
        let port = self.base.wrapping_add(offset as u16);
        if last.is_none_or(|last| offset > last) || !usize::from(port).is_multiple_of(len) {
            return Err(TransportError::Range { offset, len });
        }
        Ok(port)
    }
}

impl Registers for Ports {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let within = offset.checked_add(len).is_some_and(|end| end <= self.len);
        within.then(|| Self {
            // Past the last port only if there is nothing in it.
            base: self.base.wrapping_add(offset as u16),
            len,
        })
    }

    #[inline]
    fn read8(&self, offset: usize) -> Result<u8> {
        let port = self.at(offset, 1)?;
        let value;
        // SAFETY: `new` was promised that the port may be used, and what using it does. Memory is
        // not said to be left alone, so that accesses to it stay on their side of this one.
        unsafe {
            asm!("in al, dx", in("dx") port, out("al") value, options(nostack, preserves_flags));
        }
        Ok(value)
    }

    #[inline]
    fn read16(&self, offset: usize) -> Result<u16> {
        let port = self.at(offset, 2)?;
        let value;
        // SAFETY: as in `read8`.
        unsafe {
            asm!("in ax, dx", in("dx") port, out("ax") value, options(nostack, preserves_flags));
        }
        Ok(value)
    }

    #[inline]
    fn read32(&self, offset: usize) -> Result<u32> {
        let port = self.at(offset, 4)?;
        let value;
        // SAFETY: as in `read8`.
        unsafe {
            asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack, preserves_flags));
        }
        Ok(value)
    }

    #[inline]
    fn write8(&self, offset: usize, value: u8) -> Result<()> {
        let port = self.at(offset, 1)?;
        // SAFETY: as in `read8`.
        unsafe {
            asm!("out dx, al", in("dx") port, in("al") value, options(nostack, preserves_flags));
        }
        Ok(())
    }

    #[inline]
    fn write16(&self, offset: usize, value: u16) -> Result<()> {
        let port = self.at(offset, 2)?;
        // SAFETY: as in `read8`.
        unsafe {
            asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack, preserves_flags));
        }
        Ok(())
    }

    #[inline]
    fn write32(&self, offset: usize, value: u32) -> Result<()> {
        let port = self.at(offset, 4)?;
        // SAFETY: as in `read8`.
        unsafe {
            asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack, preserves_flags));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports that a test does not touch.
    fn ports(base: u16, len: usize) -> Ports {
        // SAFETY: no access is made but those that are refused.
        unsafe { Ports::new(base, len) }
    }

    #[test]
    fn an_access_that_leaves_the_ports_or_is_misaligned_is_refused() {
        let ports = ports(0xc000, 20);
        let range = |offset, len| TransportError::Range { offset, len };

        assert_eq!(ports.read8(20), Err(range(20, 1)));
        assert_eq!(ports.read16(3), Err(range(3, 2)));
        assert_eq!(ports.read32(20), Err(range(20, 4)));
        assert_eq!(ports.write16(usize::MAX, 0), Err(range(usize::MAX, 2)));
        assert_eq!(ports.write32(2, 0), Err(range(2, 4)));
        assert_eq!(ports.write8(0x1_0000, 0), Err(range(0x1_0000, 1)));
    }

    #[test]
    fn ports_end_with_the_last_one_there_is() {
        let ports = ports(0xfff0, 0x100);

        assert_eq!(ports.len(), 16);
        assert!(ports.slice(16, 0).unwrap().read8(0).is_err());
        assert!(ports.slice(8, 9).is_none());
        assert_eq!(ports.slice(8, 8).unwrap().at(4, 4), Ok(0xfffc));
    }
}
