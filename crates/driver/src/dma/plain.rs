//! Requests that are one buffer each, and nothing else: the way of packets.
//!
//! A buffer that was made in memory for devices takes few steps here; every other goes as requests do.
#![expect(
    unsafe_code,
    reason = "takes buffers back, when the ring says that the device has let go"
)]

use core::hint::cold_path;

use ringway_ring::driver::{Segment, Token};

use super::buffer::Buffer;
use super::given::{Data, Given};
use super::lend::Lent;
use super::queue::{Custody, Hold, Queue, Rejected};
use crate::error::{Error, Result};
use crate::platform::{Direction, Platform};

impl<P: Platform, B: Buffer> Queue<P, B> {
    /// Gives the device a buffer, to read or to fill, as [`submit`](Self::submit) does.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline(always)]
    pub(crate) fn give(&mut self, buffer: B, direction: Direction) -> Result<Token, Rejected<B>> {
        let longest = self.pending.options.longest as usize;
        let Custody { held, core, hold } = &mut self.pending.custody;
        let Some(address) = buffer.address() else {
            return self.submit(&(), data(buffer, direction));
        };
        let len = buffer.bytes();
        if !core.is_driven() || *hold != Hold::Driven || len == 0 || len > longest {
            cold_path();
            return self.submit(&(), data(buffer, direction));
        }
        let segment = [Segment {
            address,
            // No longer than `longest`.
            len: len as u32,
        }];
        let given = Given::One(Lent::as_it_is(buffer, direction));
        let submitted = match direction {
            Direction::ToDevice => held.ring.submit(&segment, &[], given),
            Direction::FromDevice => held.ring.submit(&[], &segment, given),
        };
        submitted.map_err(|rejected| {
            cold_path();
            // SAFETY: the ring did not take it, so no device was told of it. It was lent just now, so
            // nobody has cancelled it.
            let taken = unsafe { core.take_back_data(rejected.owner, 0) };
            Rejected {
                why: super::queue::refused(rejected.why),
                data: taken.map_or(Data::None, |(data, _)| data),
            }
        })
    }

    /// Takes a buffer back, if one is completed, and how many bytes the device says it wrote. Does not
    /// [kick](Self::kick).
    ///
    /// # Errors
    ///
    /// As for [`poll`](Self::poll).
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Result<Option<(B, u32)>> {
        let Custody { held, core, .. } = &mut self.pending.custody;
        // Goes on only after a request that was cancelled, of which there are no more than the ring
        // has descriptors.
        loop {
            let Some(done) = held.ring.poll()? else {
                return self.nothing();
            };
            let written = done.written;
            let buffer = match done.owner {
                // SAFETY: the ring found that the chain was in flight and that the device completed it.
                Given::One(lent) if lent.is_as_it_is() => unsafe { lent.into_buffer() },
                other => {
                    // SAFETY: as above.
                    let taken = unsafe { core.take_back_data(other, written as usize) };
                    match taken.and_then(|(data, _)| data.buffer()) {
                        Some(buffer) => buffer,
                        None => continue,
                    }
                }
            };
            self.counts.completed += 1;
            return Ok(Some((buffer, written)));
        }
    }

    /// Why there is nothing.
    #[inline]
    fn nothing(&self) -> Result<Option<(B, u32)>> {
        let Custody { core, hold, .. } = &self.pending.custody;
        if core.is_over() {
            return Err(Error::Gone);
        }
        match hold {
            Hold::Driven => Ok(None),
            Hold::Unconfirmed | Hold::LetGo => Err(Error::QueueReset),
        }
    }
}

fn data<B>(buffer: B, direction: Direction) -> Data<B> {
    match direction {
        Direction::ToDevice => Data::Readable(buffer),
        Direction::FromDevice => Data::Writable(buffer),
    }
}
