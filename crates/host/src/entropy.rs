//! The operating system's random bytes.

use ringway_device::entropy::Source;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel's random number generator, which the entropy device may draw on without end.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Source for OsEntropy {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        let mut left = into;
        while !left.is_empty() {
            let filled = retry_on_intr(|| getrandom(&mut *left, GetRandomFlags::empty()))
                .map_err(|_| ringway_device::Error::Medium)?;
            // It gives at least one byte, or an error.
            left = left.get_mut(filled.max(1)..).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_was_asked_for_is_drawn() {
        let mut bytes = [0; 4096];

        OsEntropy.fill(&mut bytes).unwrap();

        // Each quarter would be all zeroes by chance once in 2^8192.
        assert!(
            bytes
                .chunks(1024)
                .all(|part| part.iter().any(|&byte| byte != 0))
        );
    }

    #[test]
    fn nothing_asked_is_nothing_drawn() {
        assert_eq!(OsEntropy.fill(&mut []), Ok(()));
    }
}
