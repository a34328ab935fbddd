//! What authors of a device, or of a driver, may get wrong: said in words, where it is done.

use own_type::device::{Rack, Thermometer};
use own_type::wire::{Config, THERMOMETER};
use ringway_device::{Device, Worker};
use ringway_driver::bringup::{Acknowledged, Negotiated, Wanted};
use ringway_driver::dma::{Pending, QueueOptions};
use ringway_driver::error::{Error, TransportError};
use ringway_machine::{Machine, Options, Run};
use ringway_spec::config::Field;
use ringway_spec::le::U32;
use ringway_spec::{DeviceId, Features};
use ringway_vhost::backend::DeviceCarrier;

use crate::loopback::{AnyTransport, Way, machine, rack};

/// The device, but for what its author got wrong.
struct Wrong {
    right: Thermometer,
    id: DeviceId,
    features: Features,
    queues: Vec<u16>,
    config_bytes: usize,
}

impl Device for Wrong {
    fn id(&self) -> DeviceId {
        self.id
    }

    fn features(&self) -> Features {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queues
    }

    fn config_bytes(&self) -> usize {
        self.config_bytes
    }

    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker> {
        self.right.worker(index, features)
    }

    fn reset(&mut self) {
        self.right.reset();
    }
}

fn wrong(change: fn(&mut Wrong)) -> Box<Wrong> {
    let mut device = Wrong {
        right: Thermometer::new(Rack::default()),
        id: THERMOMETER,
        features: Features::NONE,
        queues: vec![64, 64],
        config_bytes: size_of::<Config>(),
    };
    change(&mut device);
    Box::new(device)
}

#[test]
fn a_device_that_cannot_be_presented_is_refused_by_name_and_with_the_reason() {
    for (change, pci, mmio, socket) in [
        (
            (|device| device.id = DeviceId(65535)) as fn(&mut Wrong),
            "rack: there is no number here for device type 65535: choose one from 1 to 63",
            "",
            "",
        ),
        (
            |device| device.queues = vec![8; 257],
            "",
            "",
            "257 queues, of which a driver can reach 256 here",
        ),
        (
            |device| device.features = Features::bit(24),
            "rack: features 0x1000000 are for no device type to define: choose bits 0 to 23, or 50 to 127 (§2.2)",
            "rack: features 0x1000000 are for no device type to define: choose bits 0 to 23, or 50 to 127 (§2.2)",
            "features 0x1000000 are for no device type to define: choose bits 0 to 23, or 50 to 127 (§2.2)",
        ),
        (
            |device| device.config_bytes = 300,
            "",
            "",
            "configuration space of 300 bytes, of which a driver can see 256 here",
        ),
    ] {
        let on_pci = Machine::builder()
            .pci("rack", wrong(change), Options::default())
            .build();
        let on_mmio = Machine::builder()
            .mmio("rack", wrong(change), Options::default())
            .build();
        let offer = DeviceCarrier::default_offer();
        let on_socket =
            DeviceCarrier::new(wrong(change), offer, Vec::new(), std::sync::Arc::new(()));

        let said = [
            on_pci.err().map(|error| error.to_string()),
            on_mmio.err().map(|error| error.to_string()),
            on_socket.err().map(|fault| fault.to_string()),
        ];
        assert_eq!(said.map(Option::unwrap_or_default), [pci, mmio, socket]);
    }
}

/// A machine, and its thermometer as far as a driver that wants this has brought it up.
fn negotiated(wanted: &Wanted) -> (Machine, Result<Negotiated<AnyTransport>, Error>) {
    let run = Run::Inline { seed: 5 };
    let (machine, device) = machine(Way::Pci, Features::NONE, run, &rack());
    let device = Acknowledged::new(device).and_then(|device| device.driver());
    (machine, device.and_then(|device| device.negotiate(wanted)))
}

#[test]
fn a_driver_that_wants_a_feature_of_no_device_type_is_told_so() {
    let reserved = Features::bit(44) | Features::bit(25);

    let (_machine, refused) = negotiated(&Wanted {
        optional: reserved,
        ..Wanted::default()
    });

    let refused = refused.err();

    assert_eq!(refused, Some(Error::FeaturesReserved(reserved)));
    let words =
        "driver wants features 0x100002000000, which are for no device type to define (§2.2)";
    assert_eq!(refused.unwrap().to_string(), words);
}

#[test]
fn a_driver_that_sets_up_a_queue_that_is_not_there_is_told_which() {
    let (_machine, device) = negotiated(&Wanted::default());
    let mut device = device.unwrap();

    let queue = device.queue::<Box<[u8]>, (), ()>(2, &QueueOptions::default());
    let refused = queue.map(|_: Pending<_, _>| ()).unwrap_err();

    assert_eq!(refused, Error::NoQueue(2));
    assert_eq!(refused.to_string(), "device has no queue 2");
}

#[test]
fn a_driver_that_looks_beyond_the_configuration_is_told_where() {
    let (_machine, device) = negotiated(&Wanted::default());
    let mut device = device.unwrap();

    let beyond = device.config().read(Field::<U32>::at(size_of::<Config>()));

    let range = TransportError::Range { offset: 6, len: 4 };
    let refused = beyond.map(U32::get).unwrap_err();
    assert_eq!(refused, Error::Transport(range));
    let words = "transport failed: 4 bytes at 0x6 are out of range";
    assert_eq!(refused.to_string(), words);
}
