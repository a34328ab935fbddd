//! The driver: asks for temperatures, and listens for alarms.

use core::convert::Infallible;
use core::time::Duration;

use ringway_driver::Result;
use ringway_driver::bringup::{self, Live, Probed, Wanted};
use ringway_driver::bus::{AnyTransport, Class, Driver};
use ringway_driver::dma::{Completion, Data, Queue, QueueOptions};
use ringway_driver::error::{RequestError, Violation};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;
use ringway_spec::DeviceId;

use crate::wire::{Config, EVENT_QUEUE, F, REQUEST_QUEUE, Reading, Request, THERMOMETER};

/// A queue of requests without buffers: a `Q` is asked, and a reading is answered.
type Readings<T, Q> = Queue<<T as Transport>::Platform, Infallible, Q, Reading>;

/// A rack of thermometers.
pub struct Thermometer<T: Transport> {
    device: Live<T>,
    requests: Readings<T, Request>,
    events: Option<Readings<T, ()>>,
}

impl<T: Transport> Driver<T> for Thermometer<T> {
    const ID: DeviceId = THERMOMETER;

    fn probe(device: Probed<T>) -> Result<Self> {
        let wanted = Wanted {
            optional: F::ALARM,
            ..Wanted::default()
        };
        let mut device = device.negotiate(&wanted)?;
        let options = QueueOptions::default();
        let requests = device.queue(REQUEST_QUEUE, &options)?;
        let alarms = device.features().contains(F::ALARM);
        let events = alarms.then(|| device.queue(EVENT_QUEUE, &options));
        let (device, queues) = device.start((requests, events.transpose()?))?;
        let (requests, mut events) = queues;
        if let Some(events) = &mut events {
            for _ in 0..events.size() {
                events.submit(&(), Data::None)?;
            }
            events.kick()?;
        }
        Ok(Self {
            device,
            requests,
            events,
        })
    }
}

impl<P: Platform> Class<P> for Thermometer<AnyTransport<P>> {
    /// How many sensors there are now.
    type Change = u16;

    fn change(config: &mut bringup::Config<'_, AnyTransport<P>>) -> Result<Option<u16>> {
        Ok(Some(config.read(Config::SENSORS)?.get()))
    }
}

impl<T: Transport> Thermometer<T> {
    /// How many sensors there are.
    pub fn sensors(&mut self) -> Result<u16> {
        Ok(self.device.config().read(Config::SENSORS)?.get())
    }

    /// Asks for the temperature of a sensor: of many, before the first answer.
    pub fn ask(&mut self, sensor: u16) -> Result<()> {
        let sensor = sensor.into();
        self.requests.submit(&Request { sensor }, Data::None)?;
        Ok(())
    }

    /// Waits for an answer, at most for `limit`.
    pub fn answer(&mut self, limit: Duration) -> Result<Reading> {
        reading(&self.requests.wait_for(&mut self.device, limit)?)
    }

    /// Says what is too hot.
    pub fn set_limit(&mut self, millikelvin: u32) -> Result<()> {
        let mut config = self.device.config();
        if !Config::LIMIT.exists(config.features()) {
            return Err(RequestError::Unsupported.into());
        }
        config.write(Config::LIMIT.field(), &millikelvin.into())
    }

    /// Waits for a sensor to be too hot, at most for `limit`.
    pub fn alarm(&mut self, limit: Duration) -> Result<Reading> {
        let events = self.events.as_mut().ok_or(RequestError::Unsupported)?;
        let done = events.wait_for(&mut self.device, limit)?;
        // The device gets the room back, whatever was in it.
        events.submit(&(), Data::None)?;
        events.kick()?;
        reading(&done)
    }
}

/// What the device has answered, if it is whole.
fn reading(done: &Completion<Infallible, Reading>) -> Result<Reading> {
    let (written, needed) = (done.written, size_of::<Reading>() as u32);
    if written < needed {
        return Err(Violation::TooShort { written, needed }.into());
    }
    Ok(done.answer)
}
