//! The buses of the machines, as they are shown.

use ringway_check::tree::{self, BusReport};
use ringway_spec::{DeviceId, Modalias, Status};

use crate::tree::{Device, Driver, FeatureBits, Queue, Tree};

/// What machines in this process are called.
const HERE: &str = "this process";

/// The bus of a machine.
pub(super) fn tree(bus: &BusReport) -> Tree {
    let place = match &*bus.place {
        "" => HERE,
        place => place,
    };
    Tree {
        place: place.to_owned(),
        devices: bus.tree.devices.iter().map(device).collect(),
        drivers: bus.tree.drivers.iter().map(driver).collect(),
        problems: Vec::new(),
    }
}

fn device(device: &tree::Device) -> Device {
    let modalias = Modalias {
        device: DeviceId(device.device),
        vendor: device.vendor,
    };
    Device {
        name: device.name.clone(),
        id: Some(modalias.device),
        vendor: Some(modalias.vendor),
        modalias: Some(modalias.to_string()),
        status: device.status.map(Status::from_bits_truncate),
        features: FeatureBits::read(&device.features).map(|(bits, _)| bits),
        driver: device.driver.clone(),
        transport: Some(device.transport.clone()),
        interrupt: device.interrupt.clone(),
        queues: device.queues.iter().map(queue).collect(),
        ..Device::default()
    }
}

fn queue(queue: &tree::Queue) -> Queue {
    Queue {
        index: Some(queue.index),
        name: Some(queue.name.clone()),
        size: Some(queue.size),
        vector: queue.vector,
        vector_name: queue.vector_name.clone(),
    }
}

fn driver(driver: &tree::Driver) -> Driver {
    Driver {
        name: driver.name.clone(),
        module: None,
        devices: driver.devices.clone(),
    }
}
