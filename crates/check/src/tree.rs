//! What is on a bus, as it is said over a wire.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ringway_driver::bus::{self, DeviceNode, DriverNode, FeatureString, Name};
use ringway_driver::interrupt::VectorName;
use serde::{Deserialize, Serialize};

use crate::report::Check;

/// What became of a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusReport {
    /// What machine it was of, for who knows of several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What was checked.
    pub checks: Vec<Check>,
    /// What was on it.
    pub tree: Tree,
}

/// What is on a bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The devices, by their number.
    pub devices: Vec<Device>,
    /// The drivers.
    pub drivers: Vec<Driver>,
}

/// A device of a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// What it is called: `virtio0`.
    pub name: String,
    /// Its type.
    pub device: u32,
    /// Its vendor.
    pub vendor: u32,
    /// How it is reached: `pci-modern`, `mmio`.
    pub transport: String,
    /// Its status, if it can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// The features that were negotiated: a digit for each bit, bit 0 first.
    pub features: String,
    /// How its interrupts arrive, if it has a driver: `msix-each`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<String>,
    /// The queues that its driver has started.
    pub queues: Vec<Queue>,
    /// The name of its driver, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// A queue of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Which one.
    pub index: u16,
    /// What it is called: `request.0`.
    #[serde(default)]
    pub name: String,
    /// How many descriptors its ring has.
    pub size: u16,
    /// The message that it sends, if it sends any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<u16>,
    /// What that is called: `virtio0-request.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_name: Option<String>,
}

/// A driver of a bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// What it is called.
    pub name: String,
    /// What it is for, as patterns of modaliases.
    pub ids: Vec<String>,
    /// The names of the devices that it has.
    pub devices: Vec<String>,
}

/// The name of a device of a bus whose first one has number `first`.
pub fn name(name: Name, first: u32) -> String {
    numbered(name, first).to_string()
}

fn numbered(name: Name, first: u32) -> Name {
    Name::new(name.number().saturating_add(first))
}

impl Tree {
    /// A tree whose first device has number `first`.
    pub fn new(tree: &bus::Tree, first: u32) -> Self {
        Self {
            devices: tree
                .devices
                .iter()
                .map(|node| Device::new(node, first))
                .collect(),
            drivers: tree
                .drivers
                .iter()
                .map(|node| Driver::new(node, first))
                .collect(),
        }
    }
}

impl Device {
    fn new(node: &DeviceNode, first: u32) -> Self {
        let vector_name = |name: VectorName| VectorName {
            device: name.device.map(|name| numbered(name, first)),
            ..name
        };
        let queue = |queue: &bus::QueueNode| Queue {
            index: queue.index,
            name: queue.name.to_string(),
            size: queue.size,
            vector: queue.vector,
            vector_name: queue.interrupt.map(|name| vector_name(name).to_string()),
        };
        Self {
            name: name(node.name, first),
            device: node.modalias.device.0,
            vendor: node.modalias.vendor,
            transport: node.transport.to_string(),
            status: node.status.map(|status| status.bits()),
            features: FeatureString(node.features).to_string(),
            interrupt: node.interrupts.map(|way| way.to_string()),
            queues: node.queues.iter().map(queue).collect(),
            driver: node.driver.map(ToString::to_string),
        }
    }
}

impl Driver {
    fn new(node: &DriverNode, first: u32) -> Self {
        Self {
            name: node.name.to_string(),
            ids: node.ids.iter().map(ToString::to_string).collect(),
            devices: node
                .devices
                .iter()
                .map(|device| name(*device, first))
                .collect(),
        }
    }
}
