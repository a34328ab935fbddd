//! A disk with several request queues, each in the hands of a thread of its own.
#![cfg(test)]

use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use ringway_device::Offer;
use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_driver::blk::{Blk, Requests};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::QueueOptions;
use ringway_driver::error::Error;
use ringway_driver::pci::{self, Pci, Preference};
use ringway_driver::transport::Transport;
use ringway_driver::{bus, mmio};
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_spec::blk::SECTOR_SIZE;
use ringway_spec::{F, Features};

const LIMIT: Duration = Duration::from_secs(30);

/// Sectors of the part of the disk that each queue is used for.
const PART: u64 = 16;
/// How often each of them is written.
const ROUNDS: u8 = 8;

fn device(queues: u16) -> Box<BlkDevice> {
    let sectors = usize::from(queues) * PART as usize;
    Box::new(BlkDevice::new(Arc::new(RamDisk::new(sectors)), queues))
}

fn options(format: Features) -> Options {
    Options {
        offer: Offer::NOTHING.with(F::EVENT_IDX | F::INDIRECT_DESC | format),
        ..Options::default()
    }
}

fn open<T: Transport>(transport: T, queues: u16) -> Blk<T> {
    let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
    let queues = NonZeroU16::new(queues).unwrap();
    Blk::open_with(probed, &Wanted::default(), queues, |_| {
        QueueOptions::default()
    })
    .unwrap()
}

fn pci_transport(machine: &Machine) -> Pci<Platform> {
    let platform = machine.platform();
    let function = pci::scan(&platform).next().unwrap();
    pci::open(&platform, &function, Preference::ModernFirst).unwrap()
}

/// Writes a part of the disk again and again, many sectors at a time, and finds what was written.
fn use_part(requests: &mut Requests<Platform>, part: u64) {
    let first = part * PART;
    for round in 0..ROUNDS {
        let byte = |sector: u64| (sector as u8).wrapping_mul(31).wrapping_add(round);
        for sector in first..first + PART {
            let bytes = vec![byte(sector); SECTOR_SIZE];
            requests.write(sector, bytes.into()).unwrap();
        }
        requests.kick().unwrap();
        for _ in 0..PART {
            assert_eq!(requests.wait(LIMIT).unwrap().result, Ok(()));
        }
        let asked = (first..first + PART).map(|sector| {
            let token = requests.read(sector, vec![0; SECTOR_SIZE].into());
            (token.unwrap(), byte(sector))
        });
        let mut asked: HashSet<_> = asked.collect();
        while !asked.is_empty() {
            let done = requests.wait(LIMIT).unwrap();
            let bytes = done.buffer.unwrap();
            assert!(bytes.iter().all(|byte| *byte == bytes[0]));
            assert!(asked.remove(&(done.token, bytes[0])), "asked for, here");
        }
    }
}

/// Uses all queues at once, and ends with the device.
fn use_all<T: Transport<Platform = Platform>>(disk: Blk<T>, queues: u16) -> u64 {
    let (device, mut handles) = disk.into_parts();
    assert_eq!(handles.len(), usize::from(queues));

    thread::scope(|scope| {
        for (part, requests) in (0..).zip(&mut handles) {
            scope.spawn(move || use_part(requests, part));
        }
    });

    device.reset().unwrap();
    let last = handles.last_mut().unwrap();
    assert_eq!(last.poll().err(), Some(Error::Gone));
    let completed = handles.iter().map(|requests| requests.counts().completed);
    completed.sum()
}

#[test]
fn every_queue_is_used_by_a_thread_of_its_own() {
    for queues in [1, 2, 4] {
        for format in [Features::NONE, F::RING_PACKED] {
            for vectors in [None, Some(2), Some(0)] {
                let options = Options {
                    vectors,
                    ..options(format)
                };
                let builder = Machine::builder().run(Run::Threaded);
                let built = builder.pci("disk", device(queues), options).build();
                let machine = built.unwrap();

                let completed = use_all(open(pci_transport(&machine), queues), queues);

                let each = u64::from(ROUNDS) * PART * 2;
                assert_eq!(completed, each * u64::from(queues), "{queues} {format:?}");
                assert_eq!(machine.platform().ram_used(), 0);
            }
        }
    }
}

#[test]
fn the_queues_of_a_disk_in_a_slot_share_its_line() {
    let builder = Machine::builder().run(Run::Threaded);
    let built = builder
        .mmio("disk", device(4), options(F::RING_PACKED))
        .build();
    let machine = built.unwrap();
    let slots = machine.mmio_slots().to_vec();
    let mut found = mmio::scan(machine.platform(), slots).flatten();

    let completed = use_all(open(found.next().unwrap(), 4), 4);

    assert_eq!(completed, u64::from(ROUNDS) * PART * 2 * 4);
    assert_eq!(machine.platform().ram_used(), 0);
}

/// Who wants one queue notices nothing of the others.
#[test]
fn a_disk_of_several_queues_is_used_by_one_as_any_other() {
    let builder = Machine::builder().run(Run::Threaded);
    let built = builder
        .pci("disk", device(4), options(Features::NONE))
        .build();
    let machine = built.unwrap();

    let mut disk: Blk<_> = bus::attach(pci_transport(&machine)).unwrap();

    assert!(disk.others().is_empty());
    disk.write(0, vec![7; SECTOR_SIZE].into()).unwrap();
    assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
}

/// What is in flight on queues whose handles are elsewhere is given back by those.
#[test]
fn a_disk_that_is_reset_gives_back_what_is_in_flight_on_every_queue() {
    let run = Run::Inline { seed: 1 };
    let builder = Machine::builder().run(run);
    let built = builder
        .pci("disk", device(3), options(Features::NONE))
        .build();
    let machine = built.unwrap();
    let mut disk = open(pci_transport(&machine), 3);
    let mut others = disk.take_others();
    disk.read(0, vec![0; SECTOR_SIZE].into()).unwrap();
    for requests in &mut others {
        requests.read(0, vec![0; SECTOR_SIZE].into()).unwrap();
    }

    let (reset, first) = disk.reset();

    assert!(reset.is_ok());
    let mut queues = others.into_iter().chain([first]);
    assert!(queues.all(|mut requests| requests.reclaim().unwrap().is_some()));
}
