//! Driver for the entropy device. Spec: VIRTIO 1.4 §5.4 "Entropy Device".

use core::convert::Infallible;
use core::task::{Context, Poll};
use core::time::Duration;

use ringway_ring::driver::Token;
use ringway_spec::DeviceId;
use ringway_spec::entropy::REQUEST_QUEUE;

use crate::bringup::{Config, Live, Probed, Wanted};
use crate::bus::{AnyTransport, Class, Driver};
use crate::dma::{Buffer, Counts, Data, Queue, QueueOptions, Rejected};
use crate::error::{Error, RequestError, Result};
use crate::platform::Platform;
use crate::transport::Transport;

/// A source of random bytes.
///
/// Nothing here waits but [`wait`](Self::wait) and [`next`](Self::next): [`request`](Self::request)
/// hands the device a buffer, and [`poll`](Self::poll) takes it back, from a loop, after an
/// interrupt, or from a future.
#[derive(Debug)]
pub struct Rng<T: Transport, B: Buffer = alloc::boxed::Box<[u8]>> {
    device: Live<T>,
    requests: Queue<T::Platform, B>,
}

/// A buffer that the device has given back.
#[derive(Debug)]
pub struct Filled<B> {
    /// What [`Rng::request`] called it.
    pub token: Token,
    /// The buffer.
    pub buffer: B,
    /// How many of its first bytes are random (§5.4.6.1). The others are what they were.
    pub random: u32,
}

/// What a driver of this type calls its queues.
const KIND: &str = "input";

impl<T: Transport, B: Buffer> Driver<T> for Rng<T, B> {
    const ID: DeviceId = DeviceId::ENTROPY;

    fn probe(device: Probed<T>) -> Result<Self> {
        Self::open(device, &Wanted::default(), &QueueOptions::default())
    }
}

impl<P: Platform, B: Buffer> Class<P> for Rng<AnyTransport<P>, B> {
    /// It has no configuration (§5.4.4).
    type Change = Infallible;

    fn change(_: &mut Config<'_, AnyTransport<P>>) -> Result<Option<Infallible>> {
        Ok(None)
    }
}

impl<T: Transport, B: Buffer> Rng<T, B> {
    /// Brings the device up with features and a queue of the caller's choice.
    ///
    /// # Errors
    ///
    /// What [`bringup`](crate::bringup) finds.
    pub fn open(device: Probed<T>, wanted: &Wanted, options: &QueueOptions) -> Result<Self> {
        let mut device = device.negotiate(wanted)?;
        let options = QueueOptions {
            kind: KIND,
            ..*options
        };
        let requests = device.queue(REQUEST_QUEUE, &options)?;
        let (device, requests) = device.start(requests)?;
        Ok(Self { device, requests })
    }

    /// Asks the device to fill `buffer` (§5.4.6). It is told by the next [`kick`](Self::kick) or
    /// [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffer: on [`Error::QueueFull`], take a completion and try again.
    pub fn request(&mut self, buffer: B) -> Result<Token, Rejected<B>> {
        self.requests.submit(&(), Data::Writable(buffer))
    }

    /// Tells the device of what was asked, if it wants to know.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn kick(&mut self) -> Result<bool> {
        self.requests.kick()
    }

    /// Takes back one buffer, if the device has finished with any.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device broke a rule; [`Error::NeedsReset`] if it asks for a reset.
    pub fn poll(&mut self) -> Result<Option<Filled<B>>> {
        match self.requests.poll()? {
            Some(done) => filled(done).map(Some),
            None => self.device.check().map(|()| None),
        }
    }

    /// Waits for one buffer, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`], or as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Filled<B>> {
        filled(self.requests.wait_for(&mut self.device, limit)?)
    }

    /// Takes back one buffer, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Filled<B>>> {
        self.requests
            .poll_next_of(&mut self.device, cx)
            .map(|done| filled(done?))
    }

    /// The next buffer that the device gives back.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<Filled<B>> {
        core::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Waits until the device has nothing any more, at most for `limit`, and hands what it completes to
    /// `done`: before it is taken back in good order.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`]: what is in flight stays there. Otherwise as [`poll`](Self::poll).
    pub fn drain(&mut self, limit: Duration, mut done: impl FnMut(Filled<B>)) -> Result<()> {
        // What has no buffer is nothing to hand over.
        let each = |completion| filled(completion).into_iter().for_each(&mut done);
        self.requests.drain(&mut self.device, limit, each)
    }

    /// Says that nobody wants the answer to a request any more. The device goes on with it; the
    /// buffer is dropped, not returned, when it comes back.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::cancel`].
    pub fn cancel(&mut self, token: Token) -> Result<()> {
        self.requests.cancel(token)
    }

    /// The device.
    pub fn device(&mut self) -> &mut Live<T> {
        &mut self.device
    }

    /// What went over its queue.
    pub fn counts(&self) -> Counts {
        self.requests.counts()
    }

    /// How many descriptors its queue has.
    pub fn queue_size(&self) -> u16 {
        self.requests.size()
    }

    /// How many buffers the device has.
    pub fn in_flight(&self) -> u16 {
        self.requests.in_flight()
    }

    /// Takes the queue back from the device, which goes on, and begins again with one of at most
    /// `size` descriptors. Buffers of requests that the device had not completed are handed to
    /// `back`.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::resize`].
    pub fn resize(&mut self, size: u16, mut back: impl FnMut(B)) -> Result<()> {
        // There is one at most for each request.
        let back = |data: Data<B>| data.buffer().into_iter().for_each(&mut back);
        self.requests.resize(&mut self.device, size, back)
    }

    /// Takes back one buffer that was in flight when the device was reset, or went: none of it is
    /// random. `None` when there are no more.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::reclaim`].
    pub fn reclaim(&mut self) -> Result<Option<Filled<B>>> {
        let reclaimed = self.requests.reclaim_request()?;
        let filled = reclaimed.map(|(token, data)| {
            let buffer = data.buffer().ok_or(NO_BUFFER)?;
            Ok(Filled {
                token,
                buffer,
                random: 0,
            })
        });
        filled.transpose()
    }

    /// The two handles that the driver is made of, to be used, sent and dropped apart.
    pub fn into_parts(self) -> (Live<T>, Queue<T::Platform, B>) {
        (self.device, self.requests)
    }

    /// Resets the device. Returns its transport, to begin again, and the queue, from which buffers
    /// in flight can be [reclaimed](Queue::reclaim).
    pub fn reset(self) -> (Result<T>, Queue<T::Platform, B>) {
        (self.device.reset(), self.requests)
    }
}

/// Does not happen: every request was submitted with a buffer.
const NO_BUFFER: Error = Error::Request(RequestError::Empty);

fn filled<B>(done: crate::dma::Completion<B>) -> Result<Filled<B>> {
    let buffer = done.data.buffer().ok_or(NO_BUFFER)?;
    Ok(Filled {
        token: done.token,
        buffer,
        random: done.written,
    })
}

#[cfg(test)]
mod tests;
