//! What is done with a device that a bus has bound, whatever it is: asked, answered, taken back with
//! requests in flight.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_driver::blk::Blk;
use ringway_driver::bus::{AnyTransport, Class, Name, Parting, Sink};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, Result};
use ringway_driver::net::{Net, Offload, Transmitter};
use ringway_driver::platform::Platform;
use spin::Mutex;

use super::PATIENCE;

/// The most requests that a device has when it is taken back.
pub(super) const DEPTH: u16 = 8;

pub(super) type Disk<P> = Blk<AnyTransport<P>, DmaBuffer>;
pub(super) type Source<P> = Rng<AnyTransport<P>, DmaBuffer>;
pub(super) type Card<P> = Net<AnyTransport<P>, DmaBuffer>;

/// What a driver has made, by the names of the devices.
pub(super) struct Shelf<D>(pub(super) Mutex<Vec<(Name, D)>>);

impl<P: Platform, D: Class<P>> Sink<P, D> for Shelf<D> {
    fn added(&self, name: Name, device: D) {
        self.0.lock().push((name, device));
    }

    fn removed(&self, name: Name, _: Parting) {
        // Whoever has taken it has buffers to take back; nothing is in flight on what is here.
        drop(self.take(name));
    }
}

impl<D> Shelf<D> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    pub(super) fn take(&self, name: Name) -> Option<D> {
        let mut devices = self.0.lock();
        let place = devices.iter().position(|(known, _)| *known == name)?;
        Some(devices.swap_remove(place).1)
    }
}

/// What is done with a device that a driver has made, whatever it is.
pub(super) trait Usable<P: Platform>: Class<P> {
    /// Asks something of it.
    fn ask(&mut self, platform: &P) -> Result<()>;

    /// Tells it of what was asked.
    fn kick(&mut self) -> Result<bool>;

    /// Waits for an answer.
    fn answer(&mut self) -> Result<(), String>;

    /// Takes a buffer back that was answered, if there is one.
    fn take(&mut self) -> Result<bool>;

    /// How many requests it has.
    fn in_flight(&mut self) -> u16;

    /// Takes a buffer back that was not.
    fn reclaim(&mut self) -> Result<bool>;
}

impl<P: Platform> Usable<P> for Disk<P> {
    fn ask(&mut self, platform: &P) -> Result<()> {
        let buffer = DmaBuffer::new(platform, self.disk().block_size as usize)?;
        self.read(0, buffer)?;
        Ok(())
    }

    fn kick(&mut self) -> Result<bool> {
        self.kick()
    }

    fn answer(&mut self) -> Result<(), String> {
        let done = self.wait(PATIENCE).map_err(|error| error.to_string())?;
        done.result.map_err(|failure| failure.to_string())
    }

    fn take(&mut self) -> Result<bool> {
        Ok(self.poll()?.is_some())
    }

    fn in_flight(&mut self) -> u16 {
        Self::in_flight(self)
    }

    fn reclaim(&mut self) -> Result<bool> {
        Ok(self.reclaim()?.is_some())
    }
}

impl<P: Platform> Usable<P> for Source<P> {
    fn ask(&mut self, platform: &P) -> Result<()> {
        self.request(DmaBuffer::new(platform, 64)?)?;
        Ok(())
    }

    fn kick(&mut self) -> Result<bool> {
        self.kick()
    }

    fn answer(&mut self) -> Result<(), String> {
        let filled = self.wait(PATIENCE).map_err(|error| error.to_string())?;
        let any = (filled.random != 0).then_some(());
        any.ok_or_else(|| "no byte is random".to_string())
    }

    fn take(&mut self) -> Result<bool> {
        Ok(self.poll()?.is_some())
    }

    fn in_flight(&mut self) -> u16 {
        Self::in_flight(self)
    }

    fn reclaim(&mut self) -> Result<bool> {
        Ok(self.reclaim()?.is_some())
    }
}

/// A packet for nobody, of a type that is for trying things out.
const PACKET: [u8; 60] = {
    let mut packet = [0; 60];
    [packet[0], packet[5]] = [2, 9];
    [packet[6], packet[11]] = [2, 1];
    [packet[12], packet[13]] = [0x88, 0xb5];
    packet
};

/// The transmit queue of a card's first pair.
fn transmitter<P: Platform>(card: &mut Card<P>) -> Result<&mut Transmitter<P, DmaBuffer>> {
    let pair = card.pairs().first_mut();
    pair.map(|pair| &mut pair.transmitter)
        .ok_or(Error::NoQueue(1))
}

impl<P: Platform> Usable<P> for Card<P> {
    fn ask(&mut self, platform: &P) -> Result<()> {
        let before = self.facts().header_len;
        let mut buffer = DmaBuffer::new(platform, before + PACKET.len())?;
        // It was made as long.
        let _ = buffer.write(before, &PACKET);
        transmitter(self)?.send(buffer, &Offload::default())?;
        Ok(())
    }

    fn kick(&mut self) -> Result<bool> {
        transmitter(self)?.kick()
    }

    fn answer(&mut self) -> Result<(), String> {
        let words = |error: Error| error.to_string();
        let sent = transmitter(self).map_err(words)?.queue().wait(PATIENCE);
        sent.map(drop).map_err(words)
    }

    fn take(&mut self) -> Result<bool> {
        Ok(transmitter(self)?.queue().poll()?.is_some())
    }

    fn in_flight(&mut self) -> u16 {
        transmitter(self).map_or(0, |queue| queue.in_flight())
    }

    fn reclaim(&mut self) -> Result<bool> {
        Ok(transmitter(self)?.queue().reclaim()?.is_some())
    }
}

/// Gives a device as many requests as it has room for, at most `depth`, and tells it of them. Says how
/// many.
pub(super) fn load<P: Platform, D: Usable<P>>(
    platform: &P,
    device: &mut D,
    depth: u16,
) -> Result<usize, String> {
    let mut asked = 0;
    while asked < usize::from(depth) {
        match device.ask(platform) {
            Ok(()) => asked += 1,
            Err(Error::QueueFull) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    device.kick().map_err(|error| error.to_string())?;
    Ok(asked)
}

/// Finds that a device was taken back, and that all that it was asked comes home, answered or not.
pub(super) fn all_back<P: Platform, D: Usable<P>>(
    device: &mut D,
    asked: usize,
) -> Result<(), String> {
    let mut back = 0;
    // Ends: it completes nothing more.
    let why = loop {
        match device.take() {
            Ok(true) => back += 1,
            Ok(false) => return Err("it answers as if it was driven".to_string()),
            Err(error) => break error,
        }
    };
    if why != Error::Gone {
        return Err(format!("its driver is told that {why}"));
    }
    while device.reclaim().map_err(|error| error.to_string())? {
        back += 1;
    }
    if back != asked {
        return Err(format!("{back} of {asked} came back"));
    }
    Ok(())
}
