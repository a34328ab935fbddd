//! The three ways in which a driver hands out what is done.

use core::time::Duration;

use ringway_driver::blk::{Blk, Done};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::{Filled, Rng};
use ringway_driver::error::{Error, Result};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;

use super::PATIENCE;
use super::executor::block_on;

/// How completions are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By looking again and again.
    Polled,
    /// By a thread that waits.
    Blocking,
    /// By a future.
    Async,
}

impl Way {
    /// Takes one completion. There is to be a request in flight.
    pub(crate) fn take<D: Driven>(self, platform: &D::Platform, driver: &mut D) -> Result<D::Done> {
        match self {
            Self::Polled => {
                let deadline = platform.now().saturating_add(PATIENCE);
                loop {
                    if let Some(done) = driver.poll()? {
                        return Ok(done);
                    }
                    if platform.now() >= deadline {
                        return Err(Error::TimedOut);
                    }
                    platform.relax();
                }
            }
            Self::Blocking => driver.wait(PATIENCE),
            Self::Async => {
                block_on(platform, PATIENCE, driver.next()).unwrap_or(Err(Error::TimedOut))
            }
        }
    }
}

/// A driver whose completions can be taken in every way.
pub(crate) trait Driven {
    type Platform: Platform;
    type Done;

    fn poll(&mut self) -> Result<Option<Self::Done>>;
    fn wait(&mut self, limit: Duration) -> Result<Self::Done>;
    fn next(&mut self) -> impl Future<Output = Result<Self::Done>>;
}

impl<T: Transport> Driven for Blk<T, DmaBuffer> {
    type Platform = T::Platform;
    type Done = Done<DmaBuffer>;

    fn poll(&mut self) -> Result<Option<Self::Done>> {
        self.poll()
    }

    fn wait(&mut self, limit: Duration) -> Result<Self::Done> {
        self.wait(limit)
    }

    fn next(&mut self) -> impl Future<Output = Result<Self::Done>> {
        self.next()
    }
}

impl<T: Transport> Driven for Rng<T, DmaBuffer> {
    type Platform = T::Platform;
    type Done = Filled<DmaBuffer>;

    fn poll(&mut self) -> Result<Option<Self::Done>> {
        self.poll()
    }

    fn wait(&mut self, limit: Duration) -> Result<Self::Done> {
        self.wait(limit)
    }

    fn next(&mut self) -> impl Future<Output = Result<Self::Done>> {
        self.next()
    }
}
