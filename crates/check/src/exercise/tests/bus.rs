//! The exercise of a bus.

use super::*;
use crate::exercise::on_bus;
use crate::tree::BusReport;

fn exercise(builder: Builder, options: &Options) -> (BusReport, Vec<Event>) {
    let machine = builder.build().unwrap();
    let platform = machine.platform();
    let used = platform.ram_used();
    let slots = machine.mmio_slots().iter().copied();
    let mut events = Vec::new();
    let report = on_bus(&platform, slots, options, &mut |event| events.push(event));
    assert_eq!(platform.ram_used(), used);
    (report, events)
}

fn failed(report: &BusReport) -> Vec<&Check> {
    report.checks.iter().filter(|check| !check.ok).collect()
}

#[test]
fn a_bus_of_devices_that_do_as_they_should_passes_every_check() {
    for seed in 0..6 {
        let disk = MemoryDisk::new(64, 512, Fault::None);
        let lines = Presented {
            vectors: Some(0),
            ..Presented::default()
        };
        let machine = inline(seed)
            .pci("disk", blk(&disk), Presented::default())
            .pci("entropy", entropy(seed), lines)
            .mmio("disk in a slot", blk(&disk), Presented::default())
            .mmio("entropy in a slot", entropy(seed), Presented::default());

        let options = Options {
            first: 3,
            ..Options::default()
        };
        let (report, events) = exercise(machine, &options);

        assert_eq!(failed(&report), Vec::<&Check>::new(), "{seed}");
        assert_eq!(report.checks.len(), 5 + 4 * 6);
        assert_eq!(events, [Event::Bus(Box::new(report.clone()))]);
        let devices = &report.tree.devices;
        let driven = devices
            .iter()
            .map(|device| (&*device.name, device.driver.as_deref(), device.status));
        let (up, [blk, entropy]) = (Some(15), [Some("blk"), Some("entropy")]);
        assert_eq!(
            driven.collect::<Vec<_>>(),
            [
                ("virtio3", blk, up),
                ("virtio4", entropy, up),
                ("virtio5", blk, up),
                ("virtio6", entropy, up)
            ]
        );
        assert_eq!(report.tree.drivers[1].devices, ["virtio3", "virtio5"]);
        assert_eq!(report.tree.drivers[1].ids, ["virtio:d00000002v*"]);
    }
}

#[test]
fn a_device_of_a_bus_that_does_not_work_is_told_by_its_name() {
    let disk = MemoryDisk::new(64, 512, Fault::Unreadable(0));
    let machine = inline(1)
        .pci("entropy", entropy(1), Presented::default())
        .pci("disk", blk(&disk), Presented::default());

    let (report, _) = exercise(machine, &Options::default());

    let failed = failed(&report);
    let whats: Vec<_> = failed.iter().map(|check| &*check.what).collect();
    assert_eq!(
        whats,
        [
            "virtio1 works after it was bound again",
            "virtio1 works after it has slept"
        ]
    );
}
