//! A bit for each of many things: what a log of written pages is made of.
#![expect(unsafe_code, reason = "atomic accesses to memory shared with a peer")]

use core::sync::atomic::{AtomicU8, Ordering};

use super::Shared;

/// A bit for each of many things, in shared memory: bit 0 of the first byte is the first one's. They
/// are set by this end, and looked at and cleared by the peer.
#[derive(Clone, Debug)]
pub struct Bits {
    memory: Shared,
}

impl Bits {
    /// Eight for every byte of `memory`.
    pub fn new(memory: Shared) -> Self {
        Self { memory }
    }

    /// Sets bit `index`. Says whether there is one. What this thread stored before, whoever finds the
    /// bit set finds too.
    #[inline]
    pub fn set(&self, index: u64) -> bool {
        // The lowest three bits say which bit of a byte.
        let (byte, bit) = (index >> 3, 1_u8.wrapping_shl(index as u32));
        let view = usize::try_from(byte)
            .ok()
            .and_then(|byte| self.memory.view().slice(byte, 1));
        let Some(view) = view else {
            return false;
        };
        // SAFETY: `view` is one byte of live shared memory, of which the program makes only atomic
        // accesses; a byte is always aligned, and the reference does not outlive this line.
        let byte = unsafe { AtomicU8::from_ptr(view.base.as_ptr()) };
        // A page that is written again and again has its bit set: no exclusive access then.
        if byte.load(Ordering::SeqCst) & bit == 0 {
            byte.fetch_or(bit, Ordering::SeqCst);
        }
        true
    }
}
