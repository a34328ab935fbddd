//! Ready-made windows of device registers, for platforms; and what transports do alike with them.
//!
//! [`Window`] is registers that are mapped in memory, and on x86 `Ports` is those behind I/O ports,
//! and `MemoryOrPorts` either. [`DirectOrWindow`] adds PCI's way for those that cannot be reached so.

use ringway_spec::Features;

use crate::error::TransportError;
use crate::platform::Registers;
use crate::transport::Result;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod any;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod ports;
mod window;
mod windowed;

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use any::MemoryOrPorts;
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
pub use ports::Ports;
pub use window::Window;
pub use windowed::DirectOrWindow;

/// How many words of 32 features there are.
const FEATURE_WORDS: u32 = u128::BITS / u32::BITS;

/// Puts the offered features together from what `word` reads.
pub(crate) fn read_features(mut word: impl FnMut(u32) -> Result<u32>) -> Result<Features> {
    (0..FEATURE_WORDS).try_fold(Features::NONE, |features, select| {
        Ok(features.with_word(select, word(select)?))
    })
}

/// Has `word` write the accepted features.
///
/// The highest are first: a device that knows fewer words than four may take the zeros of the
/// higher ones for one that it knows (QEMU's MMIO takes every word but 0 for word 1), and is then
/// told the right value.
pub(crate) fn write_features(
    features: Features,
    mut word: impl FnMut(u32, u32) -> Result<()>,
) -> Result<()> {
    (0..FEATURE_WORDS)
        .rev()
        .try_for_each(|select| word(select, features.word(select)))
}

/// Writes a 64-bit register, whose low half is at `offset`, by its halves.
pub(crate) fn write64(registers: &impl Registers, offset: usize, value: u64) -> Result<()> {
    registers.write32(offset, value as u32)?;
    registers.write32(offset + 4, (value >> 32) as u32)
}

/// Reads a 64-bit register, whose low half is at `offset`, by its halves.
pub(crate) fn read64(registers: &impl Registers, offset: usize) -> Result<u64> {
    let [low, high] = [offset, offset + 4].map(|at| registers.read32(at));
    Ok(u64::from(high?) << 32 | u64::from(low?))
}

/// Reads configuration space as
/// [`Transport::read_config`](crate::transport::Transport::read_config) has it.
pub(crate) fn read_config(config: &impl Registers, offset: usize, into: &mut [u8]) -> Result<()> {
    check(config, offset, into.len())?;
    let width = width(offset, into.len());
    for (at, field) in (offset..).step_by(width).zip(into.chunks_exact_mut(width)) {
        match field {
            [byte] => *byte = config.read8(at)?,
            [_, _] => field.copy_from_slice(&config.read16(at)?.to_le_bytes()),
            _ => field.copy_from_slice(&config.read32(at)?.to_le_bytes()),
        }
    }
    Ok(())
}

/// Writes configuration space as
/// [`Transport::write_config`](crate::transport::Transport::write_config) has it.
pub(crate) fn write_config(config: &impl Registers, offset: usize, from: &[u8]) -> Result<()> {
    check(config, offset, from.len())?;
    let width = width(offset, from.len());
    for (at, field) in (offset..).step_by(width).zip(from.chunks_exact(width)) {
        match *field {
            [a, b] => config.write16(at, u16::from_le_bytes([a, b]))?,
            [a, b, c, d] => config.write32(at, u32::from_le_bytes([a, b, c, d]))?,
            _ => field.iter().try_for_each(|byte| config.write8(at, *byte))?,
        }
    }
    Ok(())
}

/// Reads configuration space by bytes, as legacy drivers do (§2.5.4).
pub(crate) fn read_bytes(config: &impl Registers, offset: usize, into: &mut [u8]) -> Result<()> {
    check(config, offset, into.len())?;
    for (at, byte) in (offset..).zip(into) {
        *byte = config.read8(at)?;
    }
    Ok(())
}

/// Writes configuration space by bytes, as legacy drivers do (§2.5.4).
pub(crate) fn write_bytes(config: &impl Registers, offset: usize, from: &[u8]) -> Result<()> {
    check(config, offset, from.len())?;
    (offset..)
        .zip(from)
        .try_for_each(|(at, byte)| config.write8(at, *byte))
}

/// Before the first access is made: a device without all the bytes has none of them touched.
fn check(config: &impl Registers, offset: usize, len: usize) -> Result<()> {
    let end = offset.checked_add(len);
    if end.is_none_or(|end| end > config.len()) {
        return Err(TransportError::Range { offset, len });
    }
    Ok(())
}

/// How wide the accesses to a field are. A field of any other length is a string of bytes, and so
/// is reached by bytes (§4.1.3.1, §4.2.2.2).
fn width(offset: usize, len: usize) -> usize {
    match len {
        2 if offset.is_multiple_of(2) => 2,
        4 | 8 if offset.is_multiple_of(4) => 4,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Platform, Trust};
    use crate::testing::{Access, TestPlatform, TestRegisters};
    use std::vec::Vec;

    fn config() -> (TestPlatform, TestRegisters) {
        let platform = TestPlatform::new(Trust::Trusted);
        platform.place(0x100, (0..20).collect(), |_, _| {});
        let registers = platform.registers(0x100, 20).unwrap();
        (platform, registers)
    }

    /// Where each access was, and how wide.
    fn shape(log: &[Access]) -> Vec<(u64, u8)> {
        log.iter()
            .map(|access| match *access {
                Access::Read { at, width, .. } | Access::Write { at, width, .. } => {
                    (at - 0x100, width)
                }
            })
            .collect()
    }

    /// Clauses: drv:mmio/mmio-device-register-layout:3, drv:pci/pci-device-layout:1
    #[test]
    fn a_field_is_reached_by_accesses_of_its_own_width() {
        for (offset, len, accesses) in [
            (3, 1, &[(3, 1)][..]),
            (6, 2, &[(6, 2)]),
            (4, 4, &[(4, 4)]),
            (8, 8, &[(8, 4), (12, 4)]),
            (4, 8, &[(4, 4), (8, 4)]),
            (0, 3, &[(0, 1), (1, 1), (2, 1)]),
            (1, 2, &[(1, 1), (2, 1)]),
            (20, 0, &[]),
        ] {
            let (platform, config) = config();
            let mut bytes = [0; 8];

            read_config(&config, offset, &mut bytes[..len]).unwrap();
            let read = platform.take_log();
            write_config(&config, offset, &bytes[..len]).unwrap();
            let written = platform.take_log();

            let expected: Vec<u8> = (offset as u8..).take(len).collect();
            assert_eq!(bytes[..len], expected);
            assert_eq!(shape(&read), accesses);
            assert_eq!(shape(&written), accesses);
            assert!(written.iter().all(Access::is_write));
            assert_eq!(
                platform.peek::<20>(0x100).as_slice(),
                (0..20).collect::<Vec<u8>>()
            );
        }
    }

    #[test]
    fn bytes_that_the_device_does_not_have_cost_no_access() {
        let (platform, config) = config();

        for (offset, len) in [(16, 8), (20, 1), (usize::MAX, 2)] {
            let range = Err(TransportError::Range { offset, len });
            assert_eq!(read_config(&config, offset, &mut [0; 8][..len]), range);
            assert_eq!(write_config(&config, offset, &[0; 8][..len]), range);
        }
        assert_eq!(platform.take_log(), []);
    }

    #[test]
    fn features_are_four_words_written_from_the_highest() {
        let features = Features(0x0000_0003_0000_0002_0000_0001_8000_0000);
        let mut written = Vec::new();

        let read = read_features(|select| Ok(features.word(select)));
        write_features(features, |select, word| {
            written.push((select, word));
            Ok(())
        })
        .unwrap();

        assert_eq!(read, Ok(features));
        assert_eq!(written, [(3, 3), (2, 2), (1, 1), (0, 0x8000_0000)]);
    }
}
