//! What goes with a request, none, one or several buffers: how a program says it, and what is kept
//! of it in flight.
#![expect(
    unsafe_code,
    reason = "hands buffers back on the word of its caller that the device has let go"
)]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::cold_path;
use core::{iter, mem};

use ringway_ring::driver::Segment;

use super::buffer::Buffer;
use super::core::Core;
use super::lend::Lent;
use crate::error::{Error, Result};
use crate::platform::{Direction, Platform, Segments};

/// What goes with a request: nothing, a buffer that the device reads, one that it fills, or several
/// of both. Comes back as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<B> {
    /// No buffer.
    None,
    /// The device reads it.
    Readable(B),
    /// The device fills it.
    Writable(B),
    /// The device reads some, and fills others. Each has an owner of its own; all come back
    /// together.
    Several(Box<Buffers<B>>),
}

impl<B> Data<B> {
    /// The buffer, if there is one alone.
    #[inline]
    pub fn buffer(self) -> Option<B> {
        match self {
            Self::Readable(buffer) | Self::Writable(buffer) => Some(buffer),
            Self::None | Self::Several(_) => None,
        }
    }
}

/// Several buffers of one request. The device sees those of each list as one run of bytes, in the
/// order of the list. To mix types of owners, see [`AnyBuffer`](super::AnyBuffer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffers<B> {
    /// The device reads them.
    pub readable: Vec<B>,
    /// The device fills them.
    pub writable: Vec<B>,
}

impl<B> Default for Buffers<B> {
    fn default() -> Self {
        Self {
            readable: Vec::new(),
            writable: Vec::new(),
        }
    }
}

impl<B: Buffer> Buffers<B> {
    /// The buffers to be filled, each with the number of its first bytes that the device filled, if
    /// it [`written`](super::Completion::written) so many in all.
    pub fn filled(&self, written: u32) -> impl Iterator<Item = (&B, usize)> {
        let mut left = written as usize;
        self.writable
            .iter()
            .map(move |buffer| (buffer, share(&mut left, buffer.bytes())))
    }
}

impl<B> Buffers<B> {
    fn push(&mut self, direction: Direction, buffer: B) {
        match direction {
            Direction::ToDevice => self.readable.push(buffer),
            Direction::FromDevice => self.writable.push(buffer),
        }
    }
}

/// Takes from the bytes that are `left` as many as a buffer of `len` can have.
fn share(left: &mut usize, len: usize) -> usize {
    let share = len.min(*left);
    *left -= share;
    share
}

/// [`Data`] that a device has. Dropping it leaks the buffers: only [`Core::take_back_data`] returns
/// them.
#[derive(Debug)]
pub(crate) enum Given<B> {
    Nothing,
    One(Lent<B>),
    Several(Box<Several<B>>),
    /// Nobody wants it back. Apart, so that the others are no larger for it.
    Cancelled(Box<Given<B>>),
}

/// [`Buffers`] that a device has.
#[derive(Debug)]
pub(crate) struct Several<B> {
    /// First the readable ones, then the writable ones.
    lent: Vec<Lent<B>>,
    /// The lists that they were in, and will be in: taking them back allocates nothing.
    lists: Box<Buffers<B>>,
}

impl<B: Buffer> Given<B> {
    /// How many buffers.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(_) => 1,
            Self::Several(several) => several.lent.len(),
            Self::Cancelled(given) => given.count(),
        }
    }

    /// Remembers that nobody wants it back. Says whether that is new.
    pub(crate) fn cancel(&mut self) -> bool {
        if matches!(self, Self::Cancelled(_)) {
            return false;
        }
        *self = Self::Cancelled(Box::new(mem::replace(self, Self::Nothing)));
        true
    }
}

/// What has become of [`Data`] that a device is to have.
pub(crate) struct Placed<B> {
    pub(crate) given: Given<B>,
    /// How many segments the device reads.
    pub(crate) readable: usize,
    /// How many segments there are.
    pub(crate) segments: usize,
}

impl<P: Platform> Core<P> {
    /// Makes `data` the device's, and says in `room` where it finds it, in segments of at most
    /// `longest` bytes. On failure all of it is returned.
    #[inline(always)]
    pub(crate) fn lend_data<B: Buffer>(
        &self,
        data: Data<B>,
        room: &mut [Segment],
        longest: u32,
    ) -> Result<Placed<B>, (Error, Data<B>)> {
        let (buffer, direction) = match data {
            Data::None => {
                return Ok(Placed {
                    given: Given::Nothing,
                    readable: 0,
                    segments: 0,
                });
            }
            Data::Readable(buffer) => (buffer, Direction::ToDevice),
            Data::Writable(buffer) => (buffer, Direction::FromDevice),
            Data::Several(lists) => {
                cold_path();
                return self
                    .lend_several(lists, room, longest)
                    .map_err(|(why, lists)| (why, Data::Several(lists)));
            }
        };
        let mut pieces = Segments::new(room, longest);
        match self.lend(buffer, direction, &mut pieces) {
            Ok(lent) => Ok(Placed {
                given: Given::One(lent),
                readable: match direction {
                    Direction::ToDevice => pieces.len(),
                    Direction::FromDevice => 0,
                },
                segments: pieces.len(),
            }),
            Err((why, buffer)) => Err((
                why,
                match direction {
                    Direction::ToDevice => Data::Readable(buffer),
                    Direction::FromDevice => Data::Writable(buffer),
                },
            )),
        }
    }

    #[inline(never)]
    fn lend_several<B: Buffer>(
        &self,
        mut lists: Box<Buffers<B>>,
        room: &mut [Segment],
        longest: u32,
    ) -> Result<Placed<B>, (Error, Box<Buffers<B>>)> {
        let mut lent = Vec::with_capacity(lists.readable.len() + lists.writable.len());
        let (mut readable, mut segments) = (0, 0);
        let Buffers {
            readable: read,
            writable: filled,
        } = &mut *lists;
        let mut buffers = read
            .drain(..)
            .map(|buffer| (Direction::ToDevice, buffer))
            .chain(
                filled
                    .drain(..)
                    .map(|buffer| (Direction::FromDevice, buffer)),
            );
        for (direction, buffer) in buffers.by_ref() {
            let room = room.get_mut(segments..).unwrap_or_default();
            let mut pieces = Segments::new(room, longest);
            match self.lend(buffer, direction, &mut pieces) {
                Ok(given) => lent.push(given),
                Err((why, buffer)) => {
                    let rest: Vec<_> = buffers.collect();
                    // SAFETY: no device was told of them.
                    unsafe { self.take_back_each(lent, 0, &mut lists) };
                    for (direction, buffer) in iter::once((direction, buffer)).chain(rest) {
                        lists.push(direction, buffer);
                    }
                    return Err((why, lists));
                }
            }
            segments += pieces.len();
            if direction == Direction::ToDevice {
                readable = segments;
            }
        }
        drop(buffers);
        Ok(Placed {
            given: Given::Several(Box::new(Several { lent, lists })),
            readable,
            segments,
        })
    }

    /// Takes back what the device says it wrote `written` bytes to, and says how many it could have
    /// written. `None` if nobody wants it: it was dropped.
    ///
    /// # Safety
    ///
    /// As for [`take_back`](Self::take_back).
    #[inline(always)]
    pub(crate) unsafe fn take_back_data<B: Buffer>(
        &self,
        given: Given<B>,
        written: usize,
    ) -> Option<(Data<B>, usize)> {
        match given {
            Given::One(lent) => {
                let (direction, len) = (lent.direction(), lent.len());
                // SAFETY: this function's contract.
                let buffer = unsafe { self.take_back(lent, written) };
                Some(match direction {
                    Direction::ToDevice => (Data::Readable(buffer), 0),
                    Direction::FromDevice => (Data::Writable(buffer), len),
                })
            }
            Given::Nothing => Some((Data::None, 0)),
            Given::Several(several) => {
                cold_path();
                // SAFETY: this function's contract.
                Some(unsafe { self.take_back_several(*several, written) })
            }
            Given::Cancelled(given) => {
                cold_path();
                // SAFETY: this function's contract.
                unsafe { self.drop_data(*given) };
                None
            }
        }
    }

    /// # Safety
    ///
    /// As for [`take_back`](Self::take_back).
    #[inline(never)]
    unsafe fn take_back_several<B: Buffer>(
        &self,
        several: Several<B>,
        written: usize,
    ) -> (Data<B>, usize) {
        let Several { lent, mut lists } = several;
        // SAFETY: this function's contract.
        let fillable = unsafe { self.take_back_each(lent, written, &mut lists) };
        (Data::Several(lists), fillable)
    }

    /// # Safety
    ///
    /// As for [`take_back`](Self::take_back).
    #[inline(never)]
    unsafe fn drop_data<B: Buffer>(&self, given: Given<B>) {
        // SAFETY: this function's contract.
        drop(unsafe { self.take_back_data(given, 0) });
    }

    /// Takes back several, to which the device says it wrote `written` bytes, from the first of the
    /// writable ones on. Says how many it could have written.
    ///
    /// # Safety
    ///
    /// As for [`take_back`](Self::take_back).
    unsafe fn take_back_each<B: Buffer>(
        &self,
        lent: Vec<Lent<B>>,
        written: usize,
        lists: &mut Buffers<B>,
    ) -> usize {
        let (mut left, mut fillable) = (written, 0);
        for lent in lent {
            let (direction, len) = (lent.direction(), lent.len());
            let written = match direction {
                Direction::ToDevice => 0,
                Direction::FromDevice => {
                    fillable += len;
                    share(&mut left, len)
                }
            };
            // SAFETY: this function's contract.
            lists.push(direction, unsafe { self.take_back(lent, written) });
        }
        fillable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_one_buffer_is_no_larger_for_the_sake_of_several() {
        type Boxed = Box<[u8]>;

        let one = size_of::<Option<Lent<Boxed>>>();

        assert_eq!(size_of::<Given<Boxed>>(), one);
    }
}
