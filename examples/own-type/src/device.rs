//! The device: a rack of sensors, which somebody outside heats and cools.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_device::{Device, Notifier, Worker, config};
use ringway_ring::device::{Batch, Chain, Violation};
use ringway_spec::{DeviceId, Features};
use zerocopy::IntoBytes;

use crate::wire::{Config, EVENT_QUEUE, F, REQUEST_QUEUE, Reading, Request, THERMOMETER};

/// The sensors, which whoever has the rack and the device's workers share.
#[derive(Clone, Default)]
pub struct Rack(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    millikelvin: Vec<u32>,
    /// What is too hot, once a driver has said it.
    limit: Option<u32>,
    /// The sensors that were too hot, until the driver is told.
    alarms: BTreeSet<u16>,
    notifier: Option<Notifier>,
}

impl Rack {
    /// Plugs one more sensor in: the configuration changes.
    pub fn plug(&self, millikelvin: u32) {
        let mut state = self.state();
        state.millikelvin.push(millikelvin);
        if let Some(notifier) = &state.notifier {
            notifier.config_changed();
        }
    }

    /// Heats or cools a sensor: the event queue may have something to tell.
    pub fn set(&self, sensor: u16, millikelvin: u32) {
        let mut state = self.state();
        if let Some(known) = state.millikelvin.get_mut(usize::from(sensor)) {
            *known = millikelvin;
        }
        if state.limit.is_some_and(|limit| millikelvin > limit) {
            state.alarms.insert(sensor);
        }
        if let Some(notifier) = &state.notifier {
            notifier.due(EVENT_QUEUE);
        }
    }

    fn read(&self, sensor: u16) -> Reading {
        let known = self.state().millikelvin.get(usize::from(sensor)).copied();
        Reading {
            sensor: sensor.into(),
            millikelvin: known.unwrap_or(0).into(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device.
pub struct Thermometer {
    rack: Rack,
    features: Features,
}

impl Thermometer {
    /// A device that measures with these sensors.
    pub fn new(rack: Rack) -> Self {
        let features = Features::NONE;
        Self { rack, features }
    }
}

impl Device for Thermometer {
    fn id(&self) -> DeviceId {
        THERMOMETER
    }

    fn features(&self) -> Features {
        F::ALARM
    }

    fn queue_sizes(&self) -> &[u16] {
        &[64, 64]
    }

    fn config_bytes(&self) -> usize {
        size_of::<Config>()
    }

    fn presented(&mut self, notifier: Notifier) {
        self.rack.state().notifier = Some(notifier);
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let state = self.rack.state();
        let now = Config {
            limit: state.limit.unwrap_or(u32::MAX).into(),
            sensors: (state.millikelvin.len() as u16).into(),
        };
        config::read(&now, offset, into);
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) {
        let limit = config::written(Config::LIMIT.field(), offset, from);
        if Config::LIMIT.exists(self.features) && limit.is_some() {
            self.rack.state().limit = limit.map(|limit| limit.get());
        }
    }

    fn negotiated(&mut self, features: Features) {
        self.features = features;
    }

    fn worker(&mut self, index: u16, _: Features) -> Box<dyn Worker> {
        let (rack, room) = (self.rack.clone(), VecDeque::new());
        match index {
            REQUEST_QUEUE => Box::new(Requests { rack }),
            _ => Box::new(Events { rack, room }),
        }
    }

    fn reset(&mut self) {
        self.features = Features::NONE;
        self.rack.state().limit = None;
        self.rack.state().alarms.clear();
    }
}

/// Serves the request queue: answers each chain as it comes.
struct Requests {
    rack: Rack,
}

impl Worker for Requests {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            let request = batch.readable(&chain).read_value::<Request>();
            let request = request.map_err(|_| batch.violated(TOO_SHORT))?;
            give(batch, chain, &self.rack.read(request.sensor.get()))?;
        }
        Ok(())
    }
}

/// Serves the event queue: keeps its chains, as room, until there is something to tell.
struct Events {
    rack: Rack,
    room: VecDeque<Chain>,
}

impl Worker for Events {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.room.push_back(chain);
        }
        while let Some(chain) = self.room.pop_front() {
            let Some(sensor) = self.rack.state().alarms.pop_first() else {
                self.room.push_front(chain);
                break;
            };
            give(batch, chain, &self.rack.read(sensor))?;
        }
        Ok(())
    }
}

const TOO_SHORT: Violation = Violation::Request("no whole request, or no room for a reading");

/// Completes a chain with a reading.
fn give(batch: &mut Batch<'_>, chain: Chain, reading: &Reading) -> Result<(), Violation> {
    let written = batch.writable(&chain).write(reading.as_bytes());
    written.map_err(|_| batch.violated(TOO_SHORT))?;
    batch.complete(chain, size_of::<Reading>() as u32);
    Ok(())
}
