//! Devices that keep the rules of their rings, and are of no use nevertheless.

use ringway_device::{Device, Worker};
use ringway_ring::device::{Batch, Violation};
use ringway_spec::{DeviceId, Features};

/// A device that takes nothing.
pub(crate) fn silent() -> Box<dyn Device> {
    Box::new(Odd(|_| Ok(())))
}

/// A device that finds fault with its driver as soon as it is served, be there a chain or not.
pub(crate) fn offended() -> Box<dyn Device> {
    Box::new(Odd(|batch| {
        Err(batch.violated(Violation::Request("not like this")))
    }))
}

/// An entropy device that does with its chains what `serve` does.
struct Odd(fn(&mut Batch<'_>) -> Result<(), Violation>);

impl Device for Odd {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8]
    }

    fn read_config(&self, _: usize, _: &mut [u8]) {}

    fn write_config(&mut self, _: usize, _: &[u8]) {}

    fn worker(&mut self, _: u16, _: Features) -> Box<dyn Worker> {
        Box::new(Odd(self.0))
    }

    fn reset(&mut self) {}
}

impl Worker for Odd {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        (self.0)(batch)
    }
}
