//! A queue whose chains are requests: something asked, a buffer, and an answer.
//!
//! What is asked (`Q`) and what is answered (`A`) live in memory for devices, in a slot for each
//! chain, at addresses known beforehand. The buffer between them is the caller's, and is lent.
#![expect(
    unsafe_code,
    reason = "takes buffers back, when the ring says that the device has let go"
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{self, ManuallyDrop, size_of};

use ringway_ring::driver::{self as ring, Geometry, Memory, Refusal, Segment, Token};
use ringway_spec::Features;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::buffer::Buffer;
use super::core::{Core, End, Parked};
use super::given::{Data, Given};
use crate::dialect::{Dialect, RingSize};
use crate::error::{Error, RequestError, Result, Violation};
use crate::interrupt::Signal;
use crate::platform::{ANYWHERE, Platform};
use crate::transport::{Doorbell, QueueSetup};

/// How a queue is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// The most descriptors, rounded down to a power of two and to what the device has.
    pub size: u16,
    /// The most pieces that a buffer may be in.
    pub segments: u16,
    /// The most bytes of one piece: longer ones are split.
    pub longest: u32,
    /// How its interrupts are to arrive.
    pub callback: Callback,
    /// What it is called, and others of its kind, where interrupts are listed. Drivers name their
    /// queues themselves.
    pub kind: &'static str,
}

/// How the interrupts of a queue are to arrive, as far as there are vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Callback {
    /// By a vector of its own.
    #[default]
    Own,
    /// In no hurry: if vectors are short, by that of the configuration, so that others keep theirs.
    Slow,
    /// Not at all. It takes no vector, and whoever waits for it polls.
    None,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            size: 256,
            segments: 30,
            longest: u32::MAX,
            callback: Callback::Own,
            kind: "queue",
        }
    }
}

/// A request that the device has completed.
#[derive(Debug)]
pub struct Completion<B, A = ()> {
    /// What [`Queue::submit`] called it.
    pub token: Token,
    /// What went with it.
    pub data: Data<B>,
    /// Bytes that the device says it wrote: to the buffers that it was to fill, one after the other,
    /// and then to the answer. No more than they have.
    pub written: u32,
    /// Bytes of the buffers that the device was to fill.
    pub fillable: u32,
    /// The answer. All ones where the device wrote none.
    pub answer: A,
}

/// A request that was not taken, and its buffers.
#[derive(Debug)]
pub struct Rejected<B> {
    /// Why it was not.
    pub why: Error,
    /// What was to go with it.
    pub data: Data<B>,
}

impl<B> fmt::Display for Rejected<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request was not taken: {}", self.why)
    }
}

impl<B: fmt::Debug> core::error::Error for Rejected<B> {}

/// The reason alone, for those who do not need the buffer back.
impl<B> From<Rejected<B>> for Error {
    fn from(rejected: Rejected<B>) -> Self {
        rejected.why
    }
}

/// What went over a queue since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were completed, without those that were cancelled.
    pub completed: u64,
    /// Times the device was told of new ones.
    pub kicks: u64,
    /// Interrupts that concerned the queue or the whole device, modulo 2³².
    pub interrupts: u32,
}

/// The driver's end of a live queue. A handle of its own: it may be sent to another thread, and
/// outlive the device's.
///
/// Nothing here waits. [`submit`](Self::submit) asks, [`poll`](Self::poll) takes what was answered.
/// To wait, see [`wait`](Self::wait) and [`next`](Self::next).
#[derive(Debug)]
pub struct Queue<P: Platform, B: Buffer, Q = (), A = ()> {
    pub(super) pending: Pending<P, B, Q, A>,
    doorbell: Doorbell<P>,
    pub(super) counts: Counts,
    /// Whether its interrupts arrive anywhere.
    interrupts: bool,
}

/// A queue that the device was not told of yet, or whose device is not live yet.
#[derive(Debug)]
pub struct Pending<P: Platform, B: Buffer, Q = (), A = ()> {
    pub(super) custody: Custody<P, B>,
    pub(crate) index: u16,
    pub(crate) signal: Arc<Signal>,
    pub(crate) setup: QueueSetup,
    /// Room for the segments of one request: what is asked, the buffer's pieces, the answer.
    segments: Box<[Segment]>,
    pub(crate) options: QueueOptions,
    types: PhantomData<fn(Q) -> A>,
}

/// Keeps what the device was told of, or leaves it with the core when dropped.
#[derive(Debug)]
pub(super) struct Custody<P: Platform, B: Buffer> {
    pub(super) held: ManuallyDrop<Held<B>>,
    pub(super) core: Arc<Core<P>>,
    pub(super) hold: Hold,
}

/// What the device has of a queue, as long as its own use goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// All of it, and the queue is driven.
    Driven,
    /// All of it, perhaps: it was told to let go, and has not confirmed that it did.
    Unconfirmed,
    /// Nothing: it confirmed that it has reset the queue.
    LetGo,
}

/// All memory of a queue that the device was told of.
#[derive(Debug)]
pub(super) struct Held<B: Buffer> {
    pub(super) ring: ring::Queue<Given<B>>,
    /// A slot for each id: what is asked, what is answered.
    slots: Option<Memory>,
}

impl<P: Platform, B: Buffer> Drop for Custody<P, B> {
    fn drop(&mut self) {
        // SAFETY: `held` is not used after this: `self` is being dropped, and this is the only
        // `take`.
        let held = unsafe { ManuallyDrop::take(&mut self.held) };
        let held = Box::new(held);
        match self.hold {
            Hold::LetGo => held.release(&self.core),
            Hold::Driven | Hold::Unconfirmed => self.core.park(held),
        }
    }
}

impl<P: Platform, B: Buffer> Parked<P> for Held<B> {
    fn in_flight(&self) -> usize {
        usize::from(self.ring.in_flight())
    }

    fn keep(mut self: Box<Self>) -> usize {
        let mut count = 0;
        while let Some(given) = self.ring.reclaim() {
            count += given.count();
        }
        mem::forget(self);
        count
    }

    fn release(mut self: Box<Self>, core: &Core<P>) {
        while let Some(given) = self.ring.reclaim() {
            // SAFETY: the device has let go of everything (the contract of `release`).
            drop(unsafe { core.take_back_data(given, 0) });
        }
    }
}

impl<P, B, Q, A> Pending<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    /// Where the answer is in a slot.
    const ANSWER: usize = size_of::<Q>().next_multiple_of(16);
    /// Bytes of a slot.
    const SLOT: usize = Self::ANSWER + size_of::<A>().next_multiple_of(16);

    /// Lays out queue `index`, of which the device has `size_max` descriptors.
    pub(crate) fn new(
        core: &Arc<Core<P>>,
        index: u16,
        size_max: u16,
        dialect: Dialect,
        features: Features,
        options: &QueueOptions,
    ) -> Result<Self> {
        let around = u16::from(size_of::<Q>() != 0) + u16::from(size_of::<A>() != 0);
        let pieces = options.segments.max(1).saturating_add(around);
        let most = size_max.min(options.size);
        let (geometry, last) = match dialect {
            Dialect::Modern => {
                let geometry = Geometry::largest(most, pieces, features);
                (geometry.ok_or(Error::NoQueue(index))?, ANYWHERE)
            }
            Dialect::Legacy(rings) => {
                let size = match rings.size {
                    RingSize::Fixed => size_max,
                    RingSize::Chosen => 1 << most.checked_ilog2().ok_or(Error::NoQueue(index))?,
                };
                let geometry = Geometry::legacy(size, pieces.min(size), rings.align);
                let size_wrong = Violation::QueueSize { index, size };
                (geometry.ok_or(size_wrong)?, rings.last)
            }
        };
        let size = geometry.size();
        let pieces = pieces.min(size);
        let memory = core
            .platform
            .dma(geometry.bytes(), PAGE.max(geometry.alignment()), last)?;
        let ring = ring::Queue::new(&memory, geometry, features, 0)
            .ok_or(crate::error::PlatformError::NoMemory(geometry.bytes()))?;
        let slots = match Self::SLOT {
            0 => None,
            slot => Some(
                core.platform
                    .dma(slot * usize::from(size), PAGE, ANYWHERE)?,
            ),
        };
        let held = ManuallyDrop::new(Held { ring, slots });
        Ok(Self {
            custody: Custody {
                held,
                core: Arc::clone(core),
                hold: Hold::Driven,
            },
            index,
            signal: Arc::default(),
            setup: QueueSetup {
                size,
                areas: geometry.areas(memory.address),
            },
            segments: vec![Segment::default(); usize::from(pieces.max(around + 1))]
                .into_boxed_slice(),
            options: *options,
            types: PhantomData,
        })
    }

    /// The queue of a device that is live now. `interrupts` says whether any of the device's
    /// arrive.
    pub(crate) fn live(mut self, doorbell: Doorbell<P>, interrupts: bool) -> Queue<P, B, Q, A> {
        let interrupts = interrupts && self.options.callback != Callback::None;
        if !interrupts {
            // As long as nobody arms it, which waiting does not.
            self.custody.held.ring.disarm();
        }
        Queue {
            pending: self,
            doorbell,
            counts: Counts::default(),
            interrupts,
        }
    }

    #[inline]
    fn submit(&mut self, request: &Q, data: Data<B>) -> Result<Token, Rejected<B>> {
        let Custody { held, core, hold } = &mut self.custody;
        if !core.is_driven() {
            let why = if core.is_over() {
                Error::Gone
            } else {
                Error::Suspended
            };
            return Err(Rejected { why, data });
        }
        if *hold != Hold::Driven {
            let why = Error::QueueReset;
            return Err(Rejected { why, data });
        }
        let Some(id) = held.ring.next_id() else {
            let why = Error::QueueFull;
            return Err(Rejected { why, data });
        };
        let slot = usize::from(id) * Self::SLOT;

        let asked = usize::from(size_of::<Q>() != 0);
        let answered = usize::from(size_of::<A>() != 0);
        let (room, answer_room) = self.segments.split_at_mut(self.segments.len() - answered);
        let (request_room, data_room) = room.split_at_mut(asked);
        if let Some(slots) = &held.slots {
            let address = slots.address.wrapping_add(slot as u64);
            let bytes = slots.shared.view();
            // The slot of an id below the size of the queue is within; writing it cannot fail.
            let _ = bytes.write(slot, request.as_bytes());
            let _ = bytes
                .slice(slot + Self::ANSWER, size_of::<A>())
                .map(|answer| answer.fill(UNANSWERED));
            if let Some(segment) = request_room.first_mut() {
                *segment = Segment {
                    address,
                    len: size_of::<Q>() as u32,
                };
            }
            if let Some(segment) = answer_room.first_mut() {
                let address = address.wrapping_add(Self::ANSWER as u64);
                *segment = Segment {
                    address,
                    len: size_of::<A>() as u32,
                };
            }
        }
        let placed = core
            .lend_data(data, data_room, self.options.longest)
            .map_err(|(why, data)| Rejected { why, data })?;
        let end = asked + placed.segments;
        // The answer follows the last piece: move it there.
        if let Some(answer) = answer_room.first().copied()
            && let Some(place) = self.segments.get_mut(end)
        {
            *place = answer;
        }
        let readable = asked + placed.readable;
        let chain = self.segments.get(..end + answered).unwrap_or_default();
        let (readable, writable) = chain.split_at_checked(readable).unwrap_or_default();
        held.ring
            .submit(readable, writable, placed.given)
            .map_err(|rejected| Rejected {
                why: refused(rejected.why),
                // SAFETY: the ring did not take it, so no device was told of it. It was lent just
                // now, so nobody has cancelled it.
                data: unsafe { core.take_back_data(rejected.owner, 0) }
                    .map_or(Data::None, |(data, _)| data),
            })
    }

    #[inline]
    fn poll(&mut self) -> Result<Option<Completion<B, A>>> {
        let Custody { held, core, .. } = &mut self.custody;
        // Goes on only after a request that was cancelled, of which there are no more than the ring
        // has descriptors.
        while let Some(done) = held.ring.poll()? {
            let written = done.written;
            // SAFETY: the ring found that the chain was in flight and that the device completed it.
            let taken = unsafe { core.take_back_data(done.owner, written as usize) };
            let Some((data, fillable)) = taken else {
                continue;
            };
            let mut answer = A::new_zeroed();
            if let Some(slots) = &held.slots {
                let slot = usize::from(done.token.id()) * Self::SLOT;
                // Read once, into private memory. Within, as in `submit`.
                let _ = slots
                    .shared
                    .view()
                    .read(slot + Self::ANSWER, answer.as_mut_bytes());
            }
            return Ok(Some(Completion {
                token: done.token,
                data,
                written,
                // No ring takes a chain of more bytes.
                fillable: fillable as u32,
                answer,
            }));
        }
        Ok(None)
    }
}

impl<P, B, Q, A> Queue<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    /// Gives the device a request. It is told of it by the next [`kick`](Self::kick) or
    /// [`poll`](Self::poll), so that many can go with one kick.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffers: on [`Error::QueueFull`] and [`Error::PoolFull`], take a
    /// completion and try again.
    #[inline]
    pub fn submit(&mut self, request: &Q, data: Data<B>) -> Result<Token, Rejected<B>> {
        self.pending.submit(request, data)
    }

    /// Tells the device of what was submitted, if it wants to know. Says whether it was told.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] if it cannot be reached.
    #[inline]
    pub fn kick(&mut self) -> Result<bool> {
        let Custody { held, core, hold } = &mut self.pending.custody;
        let ring = &mut held.ring;
        // Of a queue that was reset alone, the device is told nothing (§2.6.1); nor while it is
        // suspended (§3.4.1), nor if it was taken back, and may have another driver by now.
        let needed = *hold == Hold::Driven && core.is_driven() && ring.kick_needed();
        if needed {
            self.counts.kicks += 1;
            self.doorbell.ring(ring.notification_data())?;
        }
        Ok(needed)
    }

    /// Takes one completed request, if there is one. [Kicks](Self::kick) first, should that have
    /// been forgotten.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device broke a rule of the ring: reset it. What is in flight stays
    /// in custody. [`Error::Gone`] if it was reset, [`Error::QueueReset`] if the queue alone was, and
    /// nothing is left of what was completed before.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Completion<B, A>>> {
        self.kick()?;
        let done = self.pending.poll()?;
        if done.is_none() {
            let Custody { core, hold, .. } = &self.pending.custody;
            if core.is_over() {
                return Err(Error::Gone);
            }
            if *hold != Hold::Driven {
                return Err(Error::QueueReset);
            }
        }
        self.counts.completed += u64::from(done.is_some());
        Ok(done)
    }

    /// Says that nobody wants the answer to a request any more. The device goes on with it, and its
    /// buffers stay in custody: they are dropped, not returned, when they would have come back.
    ///
    /// `token` is one of this queue, since it last began.
    ///
    /// # Errors
    ///
    /// [`Error::NotInFlight`] if it names no request that the device still has, or one that was
    /// cancelled before.
    pub fn cancel(&mut self, token: Token) -> Result<()> {
        let given = self.pending.custody.held.ring.owner_mut(token);
        let cancelled = given.is_some_and(Given::cancel);
        cancelled.then_some(()).ok_or(Error::NotInFlight)
    }

    /// Asks for an interrupt at the next completion. Says whether there was one meanwhile: then
    /// poll, for none may come.
    #[inline]
    pub fn arm(&mut self) -> bool {
        self.pending.custody.held.ring.arm()
    }

    /// Asks for no interrupts.
    #[inline]
    pub fn disarm(&mut self) {
        self.pending.custody.held.ring.disarm();
    }

    /// Whether interrupts of the queue arrive anywhere. If not, it is to be polled.
    pub fn interrupts(&self) -> bool {
        self.interrupts
    }

    /// Raised by every interrupt that concerns the queue.
    pub fn signal(&self) -> &Signal {
        &self.pending.signal
    }

    /// How many requests the device has.
    pub fn in_flight(&self) -> u16 {
        let Custody { held, hold, .. } = &self.pending.custody;
        match hold {
            Hold::LetGo => 0,
            Hold::Driven | Hold::Unconfirmed => held.ring.in_flight(),
        }
    }

    /// Which of the device's queues it is.
    pub fn index(&self) -> u16 {
        self.pending.index
    }

    /// How many descriptors the ring has.
    pub fn size(&self) -> u16 {
        self.pending.setup.size
    }

    /// What went over the queue.
    pub fn counts(&self) -> Counts {
        Counts {
            interrupts: self.pending.signal.count(),
            ..self.counts
        }
    }

    /// The operating system's side.
    pub fn platform(&self) -> &P {
        &self.pending.custody.core.platform
    }

    /// Takes back the buffers of one request in flight, after the device, or the queue alone, was
    /// reset and that was confirmed. `None` when there are no more. Requests without buffers are
    /// passed over; those that were cancelled, too, and their buffers dropped.
    ///
    /// # Errors
    ///
    /// [`Error::StillDriven`] if neither was; [`Violation::ResetNotConfirmed`] if the device did
    /// not let go: the buffers are lost.
    pub fn reclaim(&mut self) -> Result<Option<Data<B>>> {
        while let Some((_, data)) = self.reclaim_request()? {
            if !matches!(data, Data::None) {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// As [`reclaim`](Self::reclaim), with the request's token, and of those without buffers, too.
    ///
    /// # Errors
    ///
    /// As [`reclaim`](Self::reclaim).
    pub fn reclaim_request(&mut self) -> Result<Option<(Token, Data<B>)>> {
        let Custody { held, core, hold } = &mut self.pending.custody;
        match (*hold, core.end()) {
            (Hold::LetGo, _) | (_, Some(End::LetGo)) => {}
            (_, Some(End::NotConfirmed)) => return Err(Violation::ResetNotConfirmed.into()),
            (_, None) => return Err(Error::StillDriven),
        }
        while let Some(token) = held.ring.next_reclaimed()
            && let Some(given) = held.ring.reclaim()
        {
            // SAFETY: the device has let go of everything: `Hold::LetGo` of the queue's, or
            // `End::LetGo` of all.
            if let Some((data, _)) = unsafe { core.take_back_data(given, 0) } {
                return Ok(Some((token, data)));
            }
        }
        Ok(None)
    }
}

/// What an answer's bytes are before the device writes them. Of no meaning in any answer.
const UNANSWERED: u8 = 0xff;

/// Rings and slots begin on a page, so that a platform that shares memory by pages shares nothing
/// else with them.
const PAGE: usize = 4096;

pub(super) fn refused(why: Refusal) -> Error {
    match why {
        Refusal::Broken(violation) => violation.into(),
        Refusal::Empty => RequestError::Empty.into(),
        Refusal::TooLong { segments, limit } => RequestError::TooLarge {
            len: segments,
            limit: usize::from(limit),
        }
        .into(),
        Refusal::TooLarge(len) => RequestError::TooLarge {
            len: usize::try_from(len).unwrap_or(usize::MAX),
            limit: u32::MAX as usize,
        }
        .into(),
        _ => Error::QueueFull,
    }
}
