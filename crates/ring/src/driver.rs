//! The driver's end of a queue.
//!
//! A chain of segments is [submitted](Queue::submit) together with its owner, whatever keeps the
//! segments' memory alive. The queue holds the owner until the device has given the chain back, and
//! [`poll`](Queue::poll) returns it. A queue that is dropped does not drop the owners of chains in
//! flight: the device may still be writing. They are had back by [`Queue::reclaim`] once the device
//! is known to have let go.
//!
//! This is the layer for those who manage memory themselves; `docs/raw-rings.md` is its contract,
//! with an example that needs no `alloc`. In short:
//!
//! - Addresses are not checked. What a segment names is the device's, and of no other use, from
//!   [`submit`](Queue::submit) until the chain comes back or the device confirms a reset; the ring's
//!   own [`Memory`], from when the device is told of it until that reset.
//! - The device sees what was submitted when [`kick_needed`](Queue::kick_needed) is called, once for
//!   each batch.
//! - A [`Token`] names one chain in flight of one queue.
//! - [`reclaim`](Queue::reclaim) believes its caller that the device has let go.
//! - Without `alloc`, memory comes from [`Shared::from_raw_parts`], and what is known of the chains
//!   is in a [`Slab`] of [`Entry::EMPTY`]s: [`Queue::in_slab`].
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

use core::fmt;

#[cfg(feature = "alloc")]
use alloc::boxed::Box;
use ringway_spec::{F, Features};

pub use crate::entries::Entry;
use crate::shared::Shared;
use crate::{packed, split};

/// A run of bytes as the device will see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Device address of the first byte.
    pub address: u64,
    /// How many bytes.
    pub len: u32,
}

/// Memory for a ring: shared bytes, and where the device finds them.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The bytes.
    pub shared: Shared,
    /// Device address of the first byte. Aligned to [`Geometry::ALIGN`].
    pub address: u64,
}

/// The shape of a queue, fixed when it is enabled. Every table of the queue is sized by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub(crate) size: u16,
    pub(crate) table: u16,
    pub(crate) format: Format,
}

/// How the parts of a ring lie in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Split, each area where it suits the caches.
    Split,
    /// Split, with the device area at a multiple of `align` bytes: the layout that a legacy device
    /// computes from one address (§2.7.2).
    Legacy {
        align: usize,
    },
    Packed,
}

impl Geometry {
    /// Ring memory is aligned so, in this program and, but for [`legacy`](Self::legacy), for the
    /// device: a cache line.
    pub const ALIGN: usize = 64;

    /// A split queue of `size` descriptors; a chain of several segments takes one of them if it has
    /// at most `table` segments, rounded up to a power of two, and `INDIRECT_DESC` is
    /// negotiated (§2.7.5.3). `table` 0 or 1 means no indirect tables.
    ///
    /// `None` unless `size` is a power of two up to 32768 (§2.7), and `table` at most `size`
    /// (§2.7.5.3.1).
    pub fn new(size: u16, table: u16) -> Option<Self> {
        Self::of(size, table, Format::Split).filter(|_| size.is_power_of_two())
    }

    /// A split queue, as [`new`](Self::new), in the layout of legacy interfaces: one stretch of
    /// memory, the device area at the next multiple of `align` bytes (§2.7.2). The ring's memory
    /// itself is to be aligned so for the device: see [`alignment`](Self::alignment).
    ///
    /// `None`, too, unless `align` is a power of two, from [`ALIGN`](Self::ALIGN) to 2³⁰.
    pub fn legacy(size: u16, table: u16, align: usize) -> Option<Self> {
        let possible = size.is_power_of_two()
            && align.is_power_of_two()
            && (Self::ALIGN..=1 << 30).contains(&align);
        Self::of(size, table, Format::Legacy { align }).filter(|_| possible)
    }

    /// A packed queue, as [`new`](Self::new) otherwise. `size` is anything from 1 to 32768 (§2.8).
    pub fn packed(size: u16, table: u16) -> Option<Self> {
        Self::of(size, table, Format::Packed)
    }

    /// The largest queue of at most `most` descriptors, in the format that `features` ask for.
    pub fn largest(most: u16, table: u16, features: Features) -> Option<Self> {
        if features.contains(F::RING_PACKED) {
            let size = most.min(ringway_spec::packed::MAX_SIZE);
            Self::packed(size, table.min(size))
        } else {
            let size = 1_u16.checked_shl(most.checked_ilog2()?)?;
            Self::new(size, table.min(size))
        }
    }

    fn of(size: u16, table: u16, format: Format) -> Option<Self> {
        // The same for both formats.
        let possible = size != 0 && size <= ringway_spec::split::MAX_SIZE && table <= size;
        possible.then(|| Self {
            size,
            table: if table > 1 {
                table.next_power_of_two().min(size)
            } else {
                0
            },
            format,
        })
    }

    /// How many descriptors the ring has.
    pub const fn size(self) -> u16 {
        self.size
    }

    /// How many segments an indirect table holds; 0 if there are no tables.
    pub const fn table(self) -> u16 {
        self.table
    }

    /// Whether the ring has the packed format.
    pub const fn is_packed(self) -> bool {
        matches!(self.format, Format::Packed)
    }

    /// To what the device address of the ring's memory is to be aligned, in bytes.
    pub const fn alignment(self) -> usize {
        match self.format {
            Format::Legacy { align } => align,
            Format::Split | Format::Packed => Self::ALIGN,
        }
    }

    /// How many bytes of [`Memory`] the queue needs.
    pub fn bytes(self) -> usize {
        if self.is_packed() {
            packed::Layout::new(self).bytes
        } else {
            split::Layout::new(self).bytes
        }
    }

    /// Where the three areas of the ring are, for the transport, if its memory begins at `address`.
    pub fn areas(self, address: u64) -> Areas {
        let (driver, device) = if self.is_packed() {
            let layout = packed::Layout::new(self);
            (layout.driver, layout.device)
        } else {
            let layout = split::Layout::new(self);
            (layout.available, layout.used)
        };
        let at = |offset: usize| address.wrapping_add(offset as u64);
        Areas {
            descriptor: address,
            driver: at(driver),
            device: at(device),
        }
    }

    /// The bytes of `memory` that the queue needs, zeroed. `None` if there are fewer, or they are
    /// not aligned.
    pub(crate) fn zeroed(self, memory: &Memory) -> Option<Shared> {
        let shared = memory.shared.slice(0, self.bytes())?;
        let misaligned = |address: u64, align: usize| address & (align as u64).wrapping_sub(1) != 0;
        if misaligned(memory.address, self.alignment())
            || misaligned(shared.base().addr().get() as u64, Self::ALIGN)
        {
            return None;
        }
        shared.view().fill(0);
        Some(shared)
    }
}

/// The device addresses of a ring's areas (§2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Areas {
    /// The descriptor area.
    pub descriptor: u64,
    /// The driver area: what the driver writes.
    pub driver: u64,
    /// The device area: what the device writes.
    pub device: u64,
}

/// Names a chain in flight. Two chains of one queue have the same token only if 65,536 others used
/// its descriptor between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub(crate) id: u16,
    pub(crate) generation: u16,
}

impl Token {
    /// The chain's id on the ring: below the size of the queue, and of no other chain in flight.
    pub const fn id(self) -> u16 {
        self.id
    }
}

/// A chain that the device has given back.
#[derive(Debug)]
pub struct Completion<T> {
    /// What [`Queue::submit`] called the chain.
    pub token: Token,
    /// How many bytes the device says it wrote. No more than the chain had writable.
    pub written: u32,
    /// What was given with the chain.
    pub owner: T,
}

/// A chain that was not taken, and its owner.
#[derive(Debug)]
pub struct Rejected<T> {
    /// Why it was not.
    pub why: Refusal,
    /// What was given with the chain.
    pub owner: T,
}

/// Why a chain was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The ring has no room. Take a completion, then try again.
    Full,
    /// The chain has no segments.
    Empty,
    /// The chain has more segments than the ring has descriptors.
    TooLong {
        /// Segments of the chain.
        segments: usize,
        /// The most there can be.
        limit: u16,
    },
    /// The chain has more bytes than 2³² − 1, the most that a device can report.
    TooLarge(u64),
    /// The device broke a rule earlier; nothing more is given to it before a reset.
    Broken(Violation),
}

/// A rule of the ring that the device broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The used index of a split ring moved past the chains in flight (§2.7.8).
    UsedTooFar {
        /// How far it moved.
        moved: u16,
        /// How many chains were in flight.
        in_flight: u16,
    },
    /// A used element names a chain that is not in flight (§2.7.8, §2.8.22).
    UnknownId(u32),
    /// A used length exceeds the writable bytes of its chain (§2.7.8, §2.8.4).
    WrittenTooMuch {
        /// What the device says it wrote.
        written: u32,
        /// What it could have written.
        writable: u32,
    },
    /// A used element ends a batch of more chains than the used index moved by (§2.7.9).
    BatchTooLong,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedTooFar { moved, in_flight } => {
                write!(
                    f,
                    "used index moved by {moved} with {in_flight} chains in flight (§2.7.8)"
                )
            }
            Self::UnknownId(id) => write!(
                f,
                "used element names chain {id}, which is not in flight (§2.7.8)"
            ),
            Self::WrittenTooMuch { written, writable } => {
                write!(
                    f,
                    "device says it wrote {written} bytes of {writable} (§2.7.8)"
                )
            }
            Self::BatchTooLong => f.write_str(
                "used element ends a batch of more chains than the used index moved by (§2.7.9)",
            ),
        }
    }
}

impl core::error::Error for Violation {}

/// Where a queue keeps what it knows of its chains: an [`Entry`] for every descriptor of the ring.
/// A `Box<[Entry<T>]>`, or without `alloc` a `&mut [Entry<T>]` or an array.
pub trait Slab<T>: AsRef<[Entry<T>]> + AsMut<[Entry<T>]> {}

impl<T, S: AsRef<[Entry<T>]> + AsMut<[Entry<T>]>> Slab<T> for S {}

/// The driver's end of a queue whose chains are owned by `T`s.
#[derive(Debug)]
pub struct Queue<T, #[cfg(feature = "alloc")] S = Box<[Entry<T>]>, #[cfg(not(feature = "alloc"))] S>
{
    ring: Ring<T, S>,
}

/// The format, chosen once by the negotiated features.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a queue is made once and stays where it is; another pointer would be followed by every verb"
)]
enum Ring<T, S> {
    Split(split::driver::Driver<T, S>),
    Packed(packed::driver::Driver<T, S>),
}

#[cfg(feature = "alloc")]
impl<T> Queue<T> {
    /// Lays an empty ring out in `memory`, to be enabled at a device that agreed to `features`:
    /// packed with `RING_PACKED`, else split. `start` is how many chains (split) or descriptors
    /// (packed) went over it before, modulo 65,536: 0 for a device that was just reset.
    ///
    /// `None` if the memory is smaller than [`Geometry::bytes`] or not aligned to
    /// [`Geometry::alignment`], or the geometry is of the other format.
    pub fn new(
        memory: &Memory,
        geometry: Geometry,
        features: Features,
        start: u16,
    ) -> Option<Self> {
        let slab = (0..geometry.size).map(|_| Entry::EMPTY).collect();
        Self::in_slab(memory, geometry, features, start, slab)
    }
}

impl<T, S: Slab<T>> Queue<T, S> {
    /// As `new`, which `alloc` brings, with a slab of the caller's. An entry for every descriptor
    /// is enough.
    ///
    /// `None`, too, if the slab has fewer entries, or one of them still holds the owner of a chain
    /// of another queue, which was not [reclaimed](Self::reclaim).
    pub fn in_slab(
        memory: &Memory,
        geometry: Geometry,
        features: Features,
        start: u16,
        slab: S,
    ) -> Option<Self> {
        if geometry.is_packed() != features.contains(F::RING_PACKED) {
            return None;
        }
        let ring = if geometry.is_packed() {
            let packed = packed::driver::Driver::new(memory, geometry, features, start, slab)?;
            Ring::Packed(packed)
        } else {
            let split = split::driver::Driver::new(memory, geometry, features, start, slab)?;
            Ring::Split(split)
        };
        Some(Self { ring })
    }

    /// The id that the next chain submitted will have. For those who keep memory for each id.
    /// `None` if the ring is full.
    #[inline]
    pub fn next_id(&self) -> Option<u16> {
        match &self.ring {
            Ring::Split(ring) => ring.next_id(),
            Ring::Packed(ring) => ring.next_id(),
        }
    }

    /// How many chains the device has.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.in_flight(),
            Ring::Packed(ring) => ring.in_flight(),
        }
    }

    /// Whether a chain of `segments` segments would be taken now.
    #[inline]
    pub fn has_room(&self, segments: usize) -> bool {
        match &self.ring {
            Ring::Split(ring) => ring.has_room(segments),
            Ring::Packed(ring) => ring.has_room(segments),
        }
    }

    /// Gives the device a chain: first the segments it may read, then those it may write. `owner`
    /// is in custody from here on. The device sees the chain once
    /// [`kick_needed`](Self::kick_needed) was called.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the owner: on [`Refusal::Full`], take a completion and try again; the
    /// others are final.
    #[inline]
    pub fn submit(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        owner: T,
    ) -> Result<Token, Rejected<T>> {
        match &mut self.ring {
            Ring::Split(ring) => ring.submit(readable, writable, owner),
            Ring::Packed(ring) => ring.submit(readable, writable, owner),
        }
    }

    /// Publishes what was submitted since this was last called, and says whether the device wants
    /// to be told. To be called once for each batch: the device sees nothing of it before. A broken
    /// queue publishes nothing.
    #[inline]
    pub fn kick_needed(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(ring) => ring.kick_needed(),
            Ring::Packed(ring) => ring.kick_needed(),
        }
    }

    /// What a notification says with `NOTIFICATION_DATA` in its upper half: how far the device may
    /// go (§2.9).
    #[inline]
    pub fn notification_data(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.notification_data(),
            Ring::Packed(ring) => ring.notification_data(),
        }
    }

    /// Takes one chain that the device has given back, if there is one.
    ///
    /// # Errors
    ///
    /// [`Violation`] if what the device wrote cannot be believed. It is latched: the queue stays
    /// broken, and what is in flight stays in custody.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Completion<T>>, Violation> {
        match &mut self.ring {
            Ring::Split(ring) => ring.poll(),
            Ring::Packed(ring) => ring.poll(),
        }
    }

    /// Asks the device to interrupt when it next gives a chain back. Says whether it has done so
    /// meanwhile: then poll first, for no interrupt may come.
    #[inline]
    pub fn arm(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(ring) => ring.arm(),
            Ring::Packed(ring) => ring.arm(),
        }
    }

    /// Asks the device not to interrupt. A hint: one may still come.
    #[inline]
    pub fn disarm(&mut self) {
        match &mut self.ring {
            Ring::Split(ring) => ring.disarm(),
            Ring::Packed(ring) => ring.disarm(),
        }
    }

    /// The rule that the device broke, if it has.
    pub fn violation(&self) -> Option<Violation> {
        match &self.ring {
            Ring::Split(ring) => ring.violation(),
            Ring::Packed(ring) => ring.violation(),
        }
    }

    /// The owner of the chain that `token` names, which stays in custody: to be changed, not taken.
    /// `None` if no chain in flight has this token.
    pub fn owner_mut(&mut self, token: Token) -> Option<&mut T> {
        match &mut self.ring {
            Ring::Split(ring) => ring.owner_mut(token),
            Ring::Packed(ring) => ring.owner_mut(token),
        }
    }

    /// The token of the chain whose owner [`reclaim`](Self::reclaim) takes back next.
    pub fn next_reclaimed(&self) -> Option<Token> {
        match &self.ring {
            Ring::Split(ring) => ring.next_reclaimed(),
            Ring::Packed(ring) => ring.next_reclaimed(),
        }
    }

    /// Takes back the owner of one chain in flight. To be called only when the device has let go of
    /// all of them: after a reset that it confirmed. The queue is of no use afterwards.
    pub fn reclaim(&mut self) -> Option<T> {
        match &mut self.ring {
            Ring::Split(ring) => ring.reclaim(),
            Ring::Packed(ring) => ring.reclaim(),
        }
    }
}
