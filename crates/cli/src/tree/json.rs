//! A bus for programs. The names of the fields are promised: `ringway ls --help` lists them.

use serde_json::{Value, json};

use super::{Device, Driver, Interface, Interrupt, Problem, Queue, Tree, status_names};

impl Tree {
    /// One object. What is not known is `null`.
    pub(crate) fn json(&self) -> Value {
        json!({
            "place": self.place,
            "devices": list(&self.devices, device),
            "drivers": list(&self.drivers, driver),
            "problems": list(&self.problems, problem),
        })
    }
}

fn list<T>(all: &[T], one: fn(&T) -> Value) -> Vec<Value> {
    all.iter().map(one).collect()
}

fn device(device: &Device) -> Value {
    let status = device.status.map(|status| {
        json!({
            "value": status.bits(),
            "names": status_names(status),
        })
    });
    let names: Vec<_> = device.feature_names().map(|n| n.to_string()).collect();
    json!({
        "name": device.name,
        "device": device.id.map(|id| id.0),
        "type": device.id.map(|id| id.to_string()),
        "vendor": device.vendor,
        "modalias": device.modalias,
        "status": status,
        "features": device.features.map(|_| names),
        "bit_string": device.features.map(super::FeatureBits::string),
        "driver": device.driver,
        "transport": device.transport,
        "parent": device.parent,
        "pci_address": device.pci_address,
        "interfaces": list(&device.interfaces, interface),
        "interrupt": device.interrupt,
        "interrupts": list(&device.interrupts, interrupt),
        "queues": list(&device.queues, queue),
        "problems": list(&device.problems, problem),
    })
}

fn driver(driver: &Driver) -> Value {
    json!({
        "name": driver.name,
        "module": driver.module,
        "devices": driver.devices,
    })
}

fn interface(interface: &Interface) -> Value {
    json!({ "class": interface.class, "name": interface.name })
}

fn interrupt(interrupt: &Interrupt) -> Value {
    json!({
        "irq": interrupt.irq,
        "vector": interrupt.vector,
        "name": interrupt.name,
        "count": interrupt.count,
    })
}

fn queue(queue: &Queue) -> Value {
    json!({
        "index": queue.index,
        "name": queue.name,
        "size": queue.size,
        "vector": queue.vector,
        "vector_name": queue.vector_name,
    })
}

fn problem(problem: &Problem) -> Value {
    json!({ "attribute": problem.attribute, "why": problem.why })
}

#[cfg(test)]
mod tests {
    use ringway_spec::{DeviceId, Status};

    use super::*;
    use crate::tree::FeatureBits;

    #[test]
    fn what_is_not_known_is_null_and_what_is_has_its_name() {
        let known = Device {
            name: "virtio0".to_owned(),
            id: Some(DeviceId::BLOCK),
            status: Some(Status::ACKNOWLEDGE),
            features: Some(FeatureBits::read("0000010").unwrap().0),
            ..Device::default()
        };
        let tree = Tree {
            devices: vec![known, Device::default()],
            ..Tree::default()
        };

        let json = tree.json();

        let [known, unknown] = [&json["devices"][0], &json["devices"][1]];
        assert_eq!(known["type"], "blk");
        assert_eq!(known["status"]["names"], json!(["ACKNOWLEDGE"]));
        assert_eq!(known["features"], json!(["RO"]));
        for field in ["device", "type", "status", "features", "bit_string"] {
            assert_eq!(unknown[field], Value::Null, "{field}");
        }
        assert_eq!(unknown["queues"], json!([]));
    }
}
