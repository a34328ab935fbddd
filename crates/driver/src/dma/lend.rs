//! Lending a buffer to a device, and taking it back, as the platform's trust demands.
#![expect(
    unsafe_code,
    reason = "buffers are read and written by pointer, and put together again, in the one place that knows when"
)]

use core::marker::PhantomData;
use core::ptr::NonNull;

use ringway_ring::shared::View;

use super::buffer::{Buffer, Raw};
use super::core::Core;
use crate::error::{Error, RequestError};
use crate::platform::{Direction, Platform, Segments, Trust};

/// A buffer that a device has. Dropping it leaks the buffer: only [`Core::take_back`] returns it.
#[derive(Debug)]
pub(crate) struct Lent<B> {
    raw: Raw,
    /// A device address, or a place in the pool.
    place: u64,
    how: How,
    direction: Direction,
    buffer: PhantomData<fn() -> B>,
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// It was made in memory for devices.
    AsItIs,
    /// The platform mapped it.
    Mapped,
    /// The device has a copy.
    Copied,
}

// SAFETY: it stands for a `B`, which is `Send` (a supertrait of `Buffer`); the pointer is not used
// but to make one again.
unsafe impl<B: Buffer> Send for Lent<B> {}

impl<B: Buffer> Lent<B> {
    /// A buffer that was made in memory for devices.
    #[inline(always)]
    pub(super) fn as_it_is(buffer: B, direction: Direction) -> Self {
        Self {
            raw: buffer.into_raw(),
            place: 0,
            how: How::AsItIs,
            direction,
            buffer: PhantomData,
        }
    }

    /// Whether the device has the buffer itself, and nothing is to be undone.
    #[inline(always)]
    pub(super) fn is_as_it_is(&self) -> bool {
        matches!(self.how, How::AsItIs)
    }

    /// The buffer, which [is as it is](Self::is_as_it_is).
    ///
    /// # Safety
    ///
    /// As for [`Core::take_back`].
    #[inline(always)]
    pub(super) unsafe fn into_buffer(self) -> B {
        // SAFETY: as there.
        unsafe { B::from_raw(self.raw) }
    }

    /// Bytes of the buffer.
    pub(crate) fn len(&self) -> usize {
        self.raw.len
    }

    /// Which way its bytes go.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }
}

impl<P: Platform> Core<P> {
    /// Makes `buffer` the device's, and says in `segments` where it finds it. On failure it is
    /// returned.
    #[inline]
    pub(crate) fn lend<B: Buffer>(
        &self,
        buffer: B,
        direction: Direction,
        segments: &mut Segments<'_>,
    ) -> Result<Lent<B>, (Error, B)> {
        let known = buffer.address();
        let raw = buffer.into_raw();
        let lent = match (known, &self.pool) {
            (Some(address), _) => segments
                .push(address, raw.len)
                .map(|()| (address, How::AsItIs))
                .map_err(Error::from),
            // Nothing for a device to find, nor for a platform to map.
            _ if raw.len == 0 => Ok((0, How::AsItIs)),
            (None, None) => self
                .platform
                .map(raw.at, raw.len, direction, segments)
                .map(|()| {
                    (
                        segments.first().map_or(0, |first| first.address),
                        How::Mapped,
                    )
                })
                .map_err(Error::from),
            (None, Some(pool)) => match pool.take(raw.len) {
                None if raw.len > pool.limit() => Err(Error::Request(RequestError::TooLarge {
                    len: raw.len,
                    limit: pool.limit(),
                })),
                None => Err(Error::PoolFull),
                Some(place) => match segments.push(pool.address(place), raw.len) {
                    Ok(()) => {
                        if direction == Direction::ToDevice
                            && let Some(view) = pool.view(place, raw.len)
                        {
                            copy_in(view, &raw);
                        }
                        Ok((place, How::Copied))
                    }
                    Err(error) => {
                        pool.give_back(place, raw.len);
                        Err(error.into())
                    }
                },
            },
        };
        match lent {
            Ok((place, how)) => Ok(Lent {
                raw,
                place,
                how,
                direction,
                buffer: PhantomData,
            }),
            // SAFETY: taken apart above, once, and no device was told of it.
            Err(error) => Err((error, unsafe { B::from_raw(raw) })),
        }
    }

    /// Takes back a buffer that the device says it wrote `written` bytes of.
    ///
    /// # Safety
    ///
    /// The device has let go of it: it was never submitted, or the ring says that its chain is
    /// complete, or the device confirmed a reset. (How far the device's word is to be trusted
    /// is the platform's choice of [`Trust`].)
    #[inline]
    pub(crate) unsafe fn take_back<B: Buffer>(&self, lent: Lent<B>, written: usize) -> B {
        let Lent {
            raw,
            place,
            how,
            direction,
            ..
        } = lent;
        match how {
            How::AsItIs => {}
            // With `Revoked`, this ends the device's access before anyone else has it.
            How::Mapped => self.platform.unmap(raw.at, raw.len, direction, place),
            How::Copied => {
                if let Some(pool) = &self.pool {
                    if direction == Direction::FromDevice
                        && let Some(view) = pool.view(place, raw.len.min(written))
                    {
                        copy_out(view, &raw);
                    }
                    pool.give_back(place, raw.len);
                }
            }
        }
        // SAFETY: `lend` took it apart, once, and `Lent` is neither cloned nor made elsewhere; the
        // device has let go of it (this function's contract).
        unsafe { B::from_raw(raw) }
    }

    /// Whether buffers are copied, and so need a pool.
    pub(crate) fn copies(platform: &P) -> bool {
        platform.trust() == Trust::Pool
    }
}

/// Copies a buffer into the pool. `view` is as long as the buffer.
fn copy_in(view: View<'_>, raw: &Raw) {
    // SAFETY: the bytes are the buffer's, which is taken apart: nobody else has them, and the
    // device has its copy only.
    let bytes = unsafe { NonNull::slice_from_raw_parts(raw.at, raw.len).as_ref() };
    // Cannot fail: the lengths are the same.
    let _ = view.write(0, bytes);
}

/// Copies the pool into a buffer. `view` is no longer than the buffer.
fn copy_out(view: View<'_>, raw: &Raw) {
    let len = view.len().min(raw.len);
    // SAFETY: as in `copy_in`; the bytes are initialised, as all of a buffer's are.
    let bytes = unsafe { NonNull::slice_from_raw_parts(raw.at, len).as_mut() };
    // Cannot fail: the lengths are the same.
    let _ = view.read(0, bytes);
}
