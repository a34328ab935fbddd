//! A disk full of bytes that no two sectors share.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

/// Bytes written or compared at a time.
const STEP: usize = 1 << 20;

/// Writes the pattern of `seed` to a file of `bytes`, whole megabytes.
pub(super) fn write(path: &Path, seed: u64, bytes: u64) -> std::io::Result<()> {
    let mut file = BufWriter::with_capacity(STEP, File::create(path)?);
    let (mut pattern, mut step) = (Pattern::new(seed), vec![0; STEP]);
    for _ in 0..bytes / STEP as u64 {
        pattern.fill(&mut step);
        file.write_all(&step)?;
    }
    file.flush()
}

/// Whether a file holds the pattern of `seed` in `bytes`, and no more.
pub(super) fn holds(path: &Path, seed: u64, bytes: u64) -> std::io::Result<bool> {
    let mut file = BufReader::with_capacity(STEP, File::open(path)?);
    let mut pattern = Pattern::new(seed);
    let (mut expected, mut found) = (vec![0; STEP], vec![0; STEP]);
    for _ in 0..bytes / STEP as u64 {
        pattern.fill(&mut expected);
        file.read_exact(&mut found)?;
        if found != expected {
            return Ok(false);
        }
    }
    Ok(file.read(&mut found)? == 0)
}

/// The first `len` bytes of the pattern of `seed`.
pub(super) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Pattern::new(seed).fill(&mut bytes);
    bytes
}

/// Bytes that no two sectors share, the same each time (xorshift64).
struct Pattern(u64);

impl Pattern {
    /// The pattern of a seed: others have other bytes.
    const fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            for (to, from) in word.iter_mut().zip(self.0.to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    #[test]
    fn the_pattern_is_found_again_and_a_changed_byte_is_seen() {
        let scratch = Scratch::new("pattern").unwrap();
        let disk = scratch.path().join("disk.img");
        write(&disk, 1, 2 << 20).unwrap();
        assert!(holds(&disk, 1, 2 << 20).unwrap());
        assert!(!holds(&disk, 2, 2 << 20).unwrap());

        let mut bytes = fs::read(&disk).unwrap();
        bytes[(1 << 20) + 77] ^= 1;
        fs::write(&disk, bytes).unwrap();

        assert!(!holds(&disk, 1, 2 << 20).unwrap());
    }

    #[test]
    fn an_image_that_grew_is_not_unchanged() {
        let scratch = Scratch::new("grown").unwrap();
        let disk = scratch.path().join("disk.img");

        write(&disk, 1, 2 << 20).unwrap();

        assert!(!holds(&disk, 1, 1 << 20).unwrap());
    }
}
