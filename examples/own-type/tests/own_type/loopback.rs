//! The driver over registers, in front of the device: PCI and MMIO, split and packed.

use std::time::Duration;

use own_type::device::{Rack, Thermometer as Device};
use own_type::driver::Thermometer;
use ringway_device::Offer;
use ringway_driver::bus::attach;
use ringway_driver::error::Error;
use ringway_driver::transport::Transport;
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_spec::{F, Features};

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) type AnyTransport = ringway_driver::bus::AnyTransport<Platform>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Pci,
    Mmio,
}

/// A machine that has a thermometer, and the device as a driver finds it.
pub(crate) fn machine(way: Way, ring: Features, run: Run, rack: &Rack) -> (Machine, AnyTransport) {
    let device = Box::new(Device::new(rack.clone()));
    let options = Options {
        offer: Offer::default().with(ring),
        ..Options::default()
    };
    let builder = Machine::builder().run(run);
    let machine = match way {
        Way::Pci => builder.pci("rack", device, options),
        Way::Mmio => builder.mmio("rack", device, options),
    };
    let machine = machine.build().unwrap();
    let found = found(&machine);
    (machine, found)
}

/// The one device of a machine.
pub(crate) fn found(machine: &Machine) -> AnyTransport {
    let platform = machine.platform();
    let mut functions =
        pci::devices(&platform).map(|device| Box::new(device.unwrap()) as AnyTransport);
    let slots = machine.mmio_slots().to_vec();
    let windows = mmio::scan(machine.platform(), slots);
    let mut windows = windows.map(|device| Box::new(device.unwrap()) as AnyTransport);
    functions.next().or_else(|| windows.next()).unwrap()
}

/// Everything that the device can do, done.
pub(crate) fn exercise<T: Transport>(mut driver: Thermometer<T>, rack: &Rack) {
    assert_eq!(driver.sensors(), Ok(2));
    let readings = [1, 0, 2].map(|sensor| {
        driver.ask(sensor).unwrap();
        let reading = driver.answer(LIMIT).unwrap();
        (reading.sensor.get(), reading.millikelvin.get())
    });
    assert_eq!(readings, [(1, 291_150), (0, 290_000), (2, 0)]);

    driver.set_limit(300_000).unwrap();
    // More often than the queue has descriptors.
    for round in 0..100 {
        let sensor = round % 2;
        rack.set(sensor, 299_999);
        rack.set(sensor, 300_001 + u32::from(round));

        let alarm = driver.alarm(LIMIT).unwrap();

        let expected = (sensor, 300_001 + u32::from(round));
        assert_eq!((alarm.sensor.get(), alarm.millikelvin.get()), expected);
    }
    assert_eq!(driver.alarm(Duration::ZERO), Err(Error::TimedOut));

    rack.plug(280_000);
    assert_eq!(driver.sensors(), Ok(3));
}

pub(crate) fn rack() -> Rack {
    let rack = Rack::default();
    rack.plug(290_000);
    rack.plug(291_150);
    rack
}

#[test]
fn the_device_does_what_it_is_for_over_every_transport_and_ring() {
    for way in [Way::Pci, Way::Mmio] {
        for ring in [Features::NONE, F::RING_PACKED, F::RING_PACKED | F::IN_ORDER] {
            for run in [
                Run::Threaded,
                Run::Inline { seed: 1 },
                Run::Inline { seed: 2 },
            ] {
                let rack = rack();
                let (_machine, device) = machine(way, ring, run, &rack);
                let driver: Thermometer<_> = attach(device).unwrap();

                exercise(driver, &rack);
            }
        }
    }
}

#[test]
fn a_reset_takes_the_limit_away_and_what_was_to_be_told() {
    let rack = rack();
    let run = Run::Inline { seed: 3 };
    let (machine, device) = machine(Way::Pci, Features::NONE, run, &rack);
    let mut driver: Thermometer<_> = attach(device).unwrap();
    driver.set_limit(1).unwrap();

    drop(driver);
    rack.set(0, 300_000);
    let mut driver: Thermometer<_> = attach(found(&machine)).unwrap();

    rack.set(1, 300_000);
    assert_eq!(driver.alarm(Duration::ZERO), Err(Error::TimedOut));
}
