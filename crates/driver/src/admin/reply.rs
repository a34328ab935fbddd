//! What a device answers.

use alloc::vec::Vec;

use zerocopy::{FromBytes, IntoBytes};

/// The result of a command: as many bytes as the device wrote, which may be fewer than there should
/// be, or more. What it left out is zero (§2.13.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply(Vec<u8>);

impl Reply {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What the device wrote.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The structure at the beginning. What the device left out of it is zero.
    pub fn head<T: FromBytes + IntoBytes>(&self) -> T {
        let mut head = T::new_zeroed();
        for (to, from) in head.as_mut_bytes().iter_mut().zip(&self.0) {
            *to = *from;
        }
        head
    }

    /// What comes after that structure.
    pub fn tail<T>(&self) -> &[u8] {
        self.0.get(size_of::<T>()..).unwrap_or_default()
    }
}
