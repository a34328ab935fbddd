//! Waiting for a queue: blocking the thread, or as a future on any executor.
//!
//! Thin layers over [`Queue::poll`] and [`Queue::arm`]. Interrupts are asked for only while
//! somebody waits.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bringup::Live;
use crate::dma::{Buffer, Completion, Queue};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::transport::Transport;

/// How often a future looks again at once, when the device says that work came while interrupts
/// were asked for. A device that says so for ever would keep the executor otherwise.
const LOOKS_MAX: usize = 4;

/// How often a queue without interrupts is looked at before the time is: that takes as long as some
/// looks do.
const LOOKS_AT_ONCE: usize = 16;

impl<P, B, Q, A> Queue<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    /// Waits for one completed request, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if none came: all stay in flight. Otherwise as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Completion<B, A>> {
        let deadline = self.platform().now().saturating_add(limit);
        loop {
            if let Some(done) = self.wait_once()? {
                return Ok(done);
            }
            if self.platform().now() >= deadline {
                return Err(Error::TimedOut);
            }
        }
    }

    /// As [`wait`](Self::wait), and notices when `device`, whose queue this is, asks for a reset.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait), and those of [`Live::check`].
    pub fn wait_for<T>(&mut self, device: &mut Live<T>, limit: Duration) -> Result<Completion<B, A>>
    where
        T: Transport<Platform = P>,
    {
        let deadline = self.platform().now().saturating_add(limit);
        loop {
            if let Some(done) = self.wait_once()? {
                return Ok(done);
            }
            device.check()?;
            if self.platform().now() >= deadline {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Waits until nothing is in flight, at most for `limit`, and hands what is completed to `done`.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub fn drain<T>(
        &mut self,
        device: &mut Live<T>,
        limit: Duration,
        mut done: impl FnMut(Completion<B, A>),
    ) -> Result<()>
    where
        T: Transport<Platform = P>,
    {
        let deadline = self.platform().now().saturating_add(limit);
        while self.in_flight() != 0 {
            match self.wait_once()? {
                Some(completion) => done(completion),
                None => {
                    device.check()?;
                    if self.platform().now() >= deadline {
                        return Err(Error::TimedOut);
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`poll_next`](Self::poll_next), and notices when `device`, whose queue this is, asks for
    /// a reset.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll), and those of [`Live::check`].
    pub fn poll_next_of<T>(
        &mut self,
        device: &mut Live<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Completion<B, A>>>
    where
        T: Transport<Platform = P>,
    {
        match self.poll_next(cx) {
            Poll::Pending => match device.check() {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready => ready,
        }
    }

    /// Takes a completed request, or waits once: until an interrupt, or for a while.
    pub(crate) fn wait_once(&mut self) -> Result<Option<Completion<B, A>>> {
        // The count is read before the ring is looked at: an interrupt in between is not slept
        // through.
        let seen = self.signal().count();
        if let Some(done) = self.poll()? {
            return Ok(Some(done));
        }
        if !self.interrupts() {
            // Not armed: the device is not to signal what nobody hears.
            for _ in 0..LOOKS_AT_ONCE {
                self.platform().relax();
                if let Some(done) = self.poll()? {
                    return Ok(Some(done));
                }
            }
            return Ok(None);
        }
        if !self.arm() {
            self.platform().wait(self.signal(), seen);
            if self.in_flight() > 1 {
                self.platform().gather();
            }
        }
        self.disarm();
        self.poll()
    }

    /// Takes a completed request, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Completion<B, A>>> {
        self.signal().register(cx.waker());
        for _ in 0..LOOKS_MAX {
            match self.poll() {
                Ok(Some(done)) => {
                    self.disarm();
                    return Poll::Ready(Ok(done));
                }
                Err(error) => return Poll::Ready(Err(error)),
                Ok(None) if !self.interrupts() => break,
                Ok(None) if self.arm() => {}
                Ok(None) => return Poll::Pending,
            }
        }
        // No interrupt will come, or the device keeps us busy: let others run, and look again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next completed request.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<Completion<B, A>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}
