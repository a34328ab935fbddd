//! The device on a bus: found, bound, heard of, and taken back.

use std::sync::{Arc, Mutex};

use own_type::driver::Thermometer;
use own_type::wire::THERMOMETER;
use ringway_driver::bus::{Bus, Id, Name, Parting, Sink};
use ringway_driver::error::Error;
use ringway_machine::{Platform, Run};
use ringway_spec::Features;

use crate::loopback::{AnyTransport, LIMIT, Way, machine, rack};

type Driven = Thermometer<AnyTransport>;

/// What an operating system has of the class: devices, and what it was told.
#[derive(Default)]
struct System {
    devices: Mutex<Vec<Driven>>,
    told: Mutex<Vec<String>>,
}

impl Sink<Platform, Driven> for System {
    fn added(&self, name: Name, device: Driven) {
        self.devices.lock().unwrap().push(device);
        self.told.lock().unwrap().push(format!("{name} added"));
    }

    fn changed(&self, name: Name, sensors: u16) {
        let told = format!("{name} has {sensors} sensors");
        self.told.lock().unwrap().push(told);
    }

    fn removed(&self, name: Name, why: Parting) {
        self.told.lock().unwrap().push(format!("{name} {why:?}"));
    }
}

#[test]
fn the_bus_finds_binds_hears_of_and_takes_back_a_device_of_ones_own() {
    for way in [Way::Pci, Way::Mmio] {
        let (rack, run) = (rack(), Run::Inline { seed: 4 });
        let (_machine, device) = machine(way, Features::NONE, run, &rack);
        let (system, mut bus) = (Arc::new(System::default()), Bus::new());
        let ids = [Id::of(THERMOMETER)];
        bus.register::<Driven, _>("thermometer", &ids, Arc::clone(&system))
            .unwrap();

        let name = bus.add(device);
        rack.plug(300_000);
        // Until the interrupt has come.
        while !bus.run_pending() {
            system.devices.lock().unwrap()[0].ask(2).unwrap();
            system.devices.lock().unwrap()[0].answer(LIMIT).unwrap();
        }
        let tree = bus.tree().to_string();
        bus.unbind(name).unwrap();

        let told = ["virtio0 added", "virtio0 has 3 sensors", "virtio0 Unbound"];
        assert_eq!(*system.told.lock().unwrap(), told);
        assert!(tree.contains("virtio:d0000003Fv"), "{tree}");
        assert!(tree.contains("thermometer"), "{tree}");
        let mut taken_back = system.devices.lock().unwrap().pop().unwrap();
        assert_eq!(taken_back.ask(0).err(), Some(Error::Gone));
        assert_eq!(taken_back.alarm(LIMIT).err(), Some(Error::Gone));
    }
}
