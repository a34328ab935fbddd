//! A machine whose queues are looked at.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::blk::{self, RamDisk};
use ringway_driver::blk::Blk;
use ringway_driver::{bus, pci};
use ringway_machine::{Machine, Options, Run};

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(30);

fn machine(run: Run) -> Machine {
    let disk = Box::new(blk::Blk::new(Arc::new(RamDisk::new(64)), 1));
    let machine = Machine::builder().run(run);
    let machine = machine.pci("disk", disk, Options::default());
    machine.build().unwrap()
}

#[test]
fn requests_are_served_when_somebody_looks_and_nobody_kicks() {
    let machine = machine(Run::Polled);
    let platform = machine.platform();
    let mut disk: Blk<_> = bus::probe(pci::devices(&platform).flatten())
        .unwrap()
        .unwrap();
    // From here on its driver is asked not to kick.
    platform.look();

    let token = disk.write(3, Box::from([9; 512])).unwrap();
    let before = disk.poll().unwrap();
    let found = platform.look();
    let done = disk.poll().unwrap().unwrap();
    let then = platform.look();

    assert!(before.is_none());
    assert_eq!((done.token, done.result), (token, Ok(())));
    assert_eq!((found, then), (Some(true), Some(false)));
    assert_eq!(machine.device("disk").unwrap().kicks(), 0);
}

#[test]
fn who_waits_has_the_machine_looked_at() {
    let machine = machine(Run::Polled);
    let platform = machine.platform();
    let mut disk: Blk<_> = bus::probe(pci::devices(&platform).flatten())
        .unwrap()
        .unwrap();

    for sector in 0..64 {
        disk.write(sector, Box::from([sector as u8; 512])).unwrap();
        assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
    }
    disk.read(63, vec![0; 512].into()).unwrap();
    let read = disk.wait(LIMIT).unwrap();

    assert_eq!(read.result, Ok(()));
    assert_eq!(read.buffer, Some(vec![63; 512].into()));
    assert_eq!(platform.step(), None);
}

#[test]
fn other_machines_are_not_looked_at() {
    let looked = [Run::Threaded, Run::Inline { seed: 1 }].map(|run| {
        let machine = machine(run);
        machine.platform().look()
    });

    assert_eq!(looked, [None; 2]);
}

#[test]
fn a_queue_that_is_stopped_while_others_are_looked_at_is_served_no_more() {
    let machine = machine(Run::Polled);
    let platform = machine.platform();
    let mut disk: Blk<_> = bus::probe(pci::devices(&platform).flatten())
        .unwrap()
        .unwrap();
    disk.write(0, Box::from([1; 512])).unwrap();

    let (transport, mut requests) = disk.reset();

    assert!(transport.is_ok());
    assert_eq!(platform.look(), Some(false));
    assert!(requests.reclaim().unwrap().is_some());
}
