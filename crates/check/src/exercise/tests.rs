//! The exercise, on machines that run step by step: whatever fails can be had again from its seed.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use std::sync::Mutex;

use ringway_device::blk::{Blk, Blocking, Bounced, Channel, Disk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Error as DeviceError, Worker};
use ringway_driver::platform::Trust;
use ringway_machine::{Builder, Machine, Options as Presented, Run};
use ringway_ring::device::{Batch, Chain, Violation};
use ringway_spec::blk::{Config, ID_BYTES, SECTOR_SIZE};
use ringway_spec::{DeviceId, F, Features};
use sha2::{Digest, Sha256};

mod bus;
mod net;

use super::bench::hex;
use super::{Numbers, Options, RANGES_MAX, Reads, Way, run, scan};
use crate::event::Event;
use crate::report::{Check, DeviceReport};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It refuses to be written.
    ReadOnly,
    /// It cannot read this sector.
    Unreadable(u64),
    /// It says that it wrote, and did not.
    Forgetful,
    /// It cannot flush.
    Leaky,
}

/// A disk in memory.
struct MemoryDisk {
    bytes: Mutex<Vec<u8>>,
    block_size: u32,
    fault: Fault,
}

impl MemoryDisk {
    fn new(sectors: usize, block_size: u32, fault: Fault) -> Arc<Self> {
        let mut bytes = vec![0; sectors * SECTOR_SIZE];
        Numbers::new(sectors as u64).fill(&mut bytes);
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            block_size,
            fault,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }
}

impl Disk for MemoryDisk {
    fn sectors(&self) -> u64 {
        (self.bytes.lock().unwrap().len() / SECTOR_SIZE) as u64
    }

    fn is_read_only(&self) -> bool {
        self.fault == Fault::ReadOnly
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"memory\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    }

    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Bounced::new(self))
    }
}

impl Blocking for MemoryDisk {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> ringway_device::Result {
        let (offset, end) = (offset as usize, offset as usize + into.len());
        if let Fault::Unreadable(sector) = self.fault
            && (offset..end).contains(&(sector as usize * SECTOR_SIZE))
        {
            return Err(DeviceError::Medium);
        }
        into.copy_from_slice(&self.bytes.lock().unwrap()[offset..end]);
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> ringway_device::Result {
        if self.fault != Fault::Forgetful {
            self.bytes.lock().unwrap()[offset as usize..][..from.len()].copy_from_slice(from);
        }
        Ok(())
    }

    fn flush(&self) -> ringway_device::Result {
        match self.fault {
            Fault::Leaky => Err(DeviceError::Medium),
            _ => Ok(()),
        }
    }
}

/// Numbers that look random, or one number.
enum Bytes {
    Random(Numbers),
    Same(u8),
}

impl Source for Bytes {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        match self {
            Self::Random(numbers) => numbers.fill(into),
            Self::Same(byte) => into.fill(*byte),
        }
        Ok(())
    }
}

/// A device that does nothing with its requests; of any type.
struct Mute(DeviceId);

impl Device for Mute {
    fn id(&self) -> DeviceId {
        self.0
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8]
    }

    fn config_bytes(&self) -> usize {
        size_of::<Config>()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        // A disk of some sectors.
        if offset == 0
            && let Some(capacity) = into.first_mut()
        {
            *capacity = 16;
        }
    }

    fn write_config(&mut self, _: usize, _: &[u8]) {}

    fn worker(&mut self, _: u16, _: Features) -> Box<dyn Worker> {
        Box::<Keep>::default()
    }

    fn reset(&mut self) {}
}

/// Takes every request, and keeps it.
#[derive(Default)]
struct Keep(Vec<Chain>);

impl Worker for Keep {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.0.push(chain);
        }
        Ok(())
    }
}

fn entropy(seed: u64) -> Box<dyn Device> {
    Box::new(Entropy::new(Bytes::Random(Numbers::new(seed))))
}

fn blk(disk: &Arc<MemoryDisk>) -> Box<dyn Device> {
    Box::new(Blk::new(Arc::clone(disk) as Arc<dyn Disk>, 1))
}

fn inline(seed: u64) -> Builder {
    Machine::builder().ram(48 << 20).run(Run::Inline { seed })
}

/// Builds the machine, and exercises all that is on it.
fn exercise(builder: Builder, seed: u64) -> (Vec<DeviceReport>, Vec<Event>) {
    let machine = builder.build().unwrap();
    let platform = machine.platform();
    let slots = machine.mmio_slots().iter().copied();
    let mut events = Vec::new();
    let options = Options {
        seed,
        ..Options::default()
    };
    let reports = run(scan(&platform, slots), &options, &mut |event| {
        events.push(event);
    });
    assert_eq!(platform.leak(), Default::default());
    assert_eq!(platform.ram_used(), 0);
    (reports, events)
}

fn failed(report: &DeviceReport) -> Vec<&Check> {
    report.checks.iter().filter(|check| !check.ok).collect()
}

fn detail<'r>(report: &'r DeviceReport, what: &str) -> &'r str {
    let check = report.checks.iter().find(|check| check.what == what);
    let check = check.unwrap_or_else(|| panic!("{what} was not checked: {report:?}"));
    check.detail.as_deref().unwrap_or("it passed")
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[test]
fn devices_that_do_as_they_should_pass_every_check() {
    for seed in 0..6 {
        let sectors = [1, 2, 129, 1024, 2047][seed as usize % 5];
        let disks = [512, 512].map(|block| MemoryDisk::new(sectors, block, Fault::None));
        let before = disks.each_ref().map(|disk| disk.bytes());
        let without = [Features::NONE, F::EVENT_IDX, F::INDIRECT_DESC];
        let mut presented = Presented::default();
        let packed = seed >= 3;
        if packed {
            presented.offer = presented.offer.with(F::RING_PACKED);
        }
        if seed % 2 == 1 {
            presented.offer = presented.offer.with(F::IN_ORDER);
        }
        presented.offer = presented.offer.without(without[seed as usize % 3]);
        presented.vectors = [None, Some(1), Some(0)][seed as usize % 3];
        let machine = inline(seed)
            .pci("disk", blk(&disks[0]), presented.clone())
            .mmio("other disk", blk(&disks[1]), presented.clone())
            .pci("entropy", entropy(seed), presented.clone())
            .mmio("other entropy", entropy(!seed), presented);

        let (reports, events) = exercise(machine, seed);

        let about: Vec<_> = reports
            .iter()
            .map(|report| (&*report.name, &*report.kind, &*report.transport))
            .collect();
        let expected = [
            ("virtio0", "blk", "pci-modern"),
            ("virtio1", "entropy", "pci-modern"),
            ("virtio2", "blk", "mmio"),
            ("virtio3", "entropy", "mmio"),
        ];
        assert_eq!(about, expected);
        for report in &reports {
            assert_eq!(
                failed(report),
                Vec::<&Check>::new(),
                "seed {seed}, {report:?}"
            );
            assert_eq!(report.ring, if packed { "packed" } else { "split" });
            assert!(report.requests != 0 && report.kicks != 0, "seed {seed}");
            assert!(report.kicks <= report.requests, "seed {seed}, {report:?}");
        }
        for (report, (disk, before)) in [&reports[0], &reports[2]]
            .into_iter()
            .zip(disks.iter().zip(&before))
        {
            let about = report.disk.as_ref().unwrap();
            assert_eq!(about.sha256, Some(sha256(before)), "seed {seed}");
            assert_eq!(about.id.as_deref(), Some("memory"));
            holds_what_was_told(&report.name, &events, disk, before);
        }
    }
}

/// Finds every write that was told on the disk, and nothing else changed.
fn holds_what_was_told(name: &str, events: &[Event], disk: &MemoryDisk, before: &[u8]) {
    let (now, mut expected) = (disk.bytes(), before.to_owned());
    let mut count = 0;
    for event in events {
        if let Event::Wrote {
            device,
            sector,
            bytes,
            sha256: told,
        } = event
            && device == name
        {
            let start = *sector as usize * SECTOR_SIZE;
            let range = start..start + *bytes as usize;
            assert_eq!(*told, sha256(&now[range.clone()]), "sector {sector}");
            expected[range.clone()].copy_from_slice(&now[range]);
            count += 1;
        }
    }
    assert!(now == expected, "something else was written");
    assert_eq!(count, disk.sectors().min(RANGES_MAX));
    assert_ne!(now[..SECTOR_SIZE], before[..SECTOR_SIZE]);
    assert_ne!(
        now[now.len() - SECTOR_SIZE..],
        before[now.len() - SECTOR_SIZE..]
    );
}

#[test]
fn a_disk_is_read_through_buffers_that_are_used_again() {
    // More than is in flight at a time.
    let sectors = 36_000;
    let disk = MemoryDisk::new(sectors, 512, Fault::None);
    let before = disk.bytes();
    let machine = inline(1).pci("disk", blk(&disk), Presented::default());

    let (reports, _) = exercise(machine, 1);

    let about = reports[0].disk.as_ref().unwrap();
    assert_eq!(about.sha256, Some(sha256(&before)));
    assert_eq!(reports[0].in_flight, reports[0].queue_size);
}

#[test]
fn a_queue_has_no_more_descriptors_and_a_disk_no_more_requests_than_it_may() {
    let disk = MemoryDisk::new(5000, 512, Fault::None);
    let machine = inline(1)
        .pci("disk", blk(&disk), Presented::default())
        .mmio("entropy", entropy(1), Presented::default());
    let machine = machine.build().unwrap();
    let slots = machine.mmio_slots().iter().copied();
    let options = Options {
        queue: Some(8),
        depth: Some(2),
        ..Options::default()
    };

    let reports = run(scan(&machine.platform(), slots), &options, &mut |_| {});

    for report in &reports {
        assert_eq!(failed(report), Vec::<&Check>::new());
    }
    let about = |at: usize| (reports[at].queue_size, reports[at].in_flight);
    assert_eq!((about(0), about(1)), ((8, 2), (8, 8)));
}

#[test]
fn a_disk_that_is_read_to_be_counted_is_told_once_for_half_of_what_is_in_flight() {
    for (depth, way) in [
        (1, Way::Blocking),
        (1, Way::Polled),
        (8, Way::Blocking),
        (8, Way::Polled),
        (8, Way::Async),
    ] {
        let disk = MemoryDisk::new(33, 512, Fault::None);
        let machine = inline(3).pci("disk", blk(&disk), Presented::default());
        let machine = machine.build().unwrap();
        let options = Options {
            depth: Some(depth),
            reads: Some(Reads { count: 101, way }),
            ..Options::default()
        };

        let reports = run(scan(&machine.platform(), []), &options, &mut |_| {});

        let report = &reports[0];
        assert_eq!(failed(report), Vec::<&Check>::new());
        assert_eq!((report.requests, report.bytes), (101, 101 * 4096));
        assert_eq!(report.in_flight, depth);
        // The first fills the queue, and each of the others half of it.
        let half = u64::from(depth.div_ceil(2));
        let kicks = (101 - u64::from(depth)).div_ceil(half) + 1;
        assert!(report.kicks <= kicks, "{way:?}: {report:?}");
    }
}

#[test]
fn a_feature_that_is_declined_is_not_agreed_to() {
    for (without, name) in [
        (F::EVENT_IDX, "EVENT_IDX"),
        (F::INDIRECT_DESC, "INDIRECT_DESC"),
        (F::RING_PACKED, "RING_PACKED"),
    ] {
        let disk = MemoryDisk::new(100, 512, Fault::None);
        let mut presented = Presented::default();
        presented.offer = presented.offer.with(F::RING_PACKED);
        let machine = inline(4).pci("disk", blk(&disk), presented.clone()).mmio(
            "entropy",
            entropy(4),
            presented,
        );
        let machine = machine.build().unwrap();
        let slots = machine.mmio_slots().iter().copied();
        let options = Options {
            without,
            ..Options::default()
        };

        let reports = run(scan(&machine.platform(), slots), &options, &mut |_| {});

        for report in &reports {
            assert_eq!(failed(report), Vec::<&Check>::new());
            let count = |name: &str| report.features.iter().filter(|f| *f == name).count();
            let all = ["EVENT_IDX", "INDIRECT_DESC", "RING_PACKED"].map(count);
            assert_eq!((all.iter().sum::<usize>(), count(name)), (2, 0));
        }
    }
}

#[test]
fn a_disk_is_driven_with_as_much_memory_as_there_is() {
    let disk = MemoryDisk::new(5000, 512, Fault::None);
    let machine = inline(1).ram(1 << 20).trust(Trust::Trusted);
    let machine = machine.mmio("disk", blk(&disk), Presented::default());

    let (reports, _) = exercise(machine, 1);

    // Less than half of the disk can be in flight.
    assert_eq!(failed(&reports[0]), Vec::<&Check>::new());
}

#[test]
fn blocks_of_a_disk_are_read_and_written_whole() {
    for block_size in [1024, 4096, 256 * 1024] {
        let disk = MemoryDisk::new(4096, block_size, Fault::None);
        let before = disk.bytes();
        let machine = inline(1).mmio("disk", blk(&disk), Presented::default());

        let (reports, _) = exercise(machine, 1);

        let about = reports[0].disk.as_ref().unwrap();
        assert_eq!(failed(&reports[0]), Vec::<&Check>::new());
        assert_eq!(about.block_size, block_size);
        assert_eq!(about.sha256, Some(sha256(&before)));
    }
}

#[test]
fn a_disk_that_ends_within_a_block_cannot_be_read_whole() {
    let disk = MemoryDisk::new(17, 4096, Fault::None);
    let machine = inline(1).mmio("disk", blk(&disk), Presented::default());

    let (reports, _) = exercise(machine, 1);

    assert_eq!(
        detail(&reports[0], "can be read whole"),
        "17 sectors are not whole blocks of 4096 bytes"
    );
}

#[test]
fn a_disk_that_is_read_only_is_not_written() {
    let disk = MemoryDisk::new(100, 512, Fault::ReadOnly);
    let before = disk.bytes();
    let machine = inline(2).pci("disk", blk(&disk), Presented::default());

    let (reports, events) = exercise(machine, 2);

    assert_eq!(failed(&reports[0]), Vec::<&Check>::new());
    assert_eq!(detail(&reports[0], "refuses to be written"), "it passed");
    assert!(reports[0].disk.as_ref().unwrap().read_only);
    assert!(disk.bytes() == before);
    let wrote = |event: &&Event| matches!(event, Event::Wrote { .. });
    assert_eq!(events.iter().filter(wrote).count(), 0);
}

#[test]
fn a_disk_with_a_fault_fails_the_checks_that_see_it_and_no_others() {
    for (fault, what, found) in [
        (
            Fault::Unreadable(999),
            "can be read whole",
            "sector 896: input or output error",
        ),
        (
            Fault::Forgetful,
            "holds what was written",
            "is not what was written",
        ),
        (Fault::Leaky, "can be flushed", "input or output error"),
    ] {
        for seed in 0..4 {
            let disk = MemoryDisk::new(1000, 512, fault);
            let machine = inline(seed).pci("disk", blk(&disk), Presented::default());

            let (reports, _) = exercise(machine, seed);

            let said = detail(&reports[0], what);
            assert!(said.contains(found), "{fault:?}: {said}");
            // The last block is always written, and read back.
            let twice = matches!(fault, Fault::Unreadable(_));
            assert_eq!(
                failed(&reports[0]).len(),
                1 + usize::from(twice),
                "{fault:?}"
            );
        }
    }
}

#[test]
fn bytes_that_are_always_the_same_are_found_out() {
    let same = Box::new(Entropy::new(Bytes::Same(7)));
    let machine = inline(3).mmio("entropy", same, Presented::default());

    let (reports, _) = exercise(machine, 3);

    assert!(detail(&reports[0], "gives other bytes each time").contains("told nothing new"));
    assert!(detail(&reports[0], "gives bytes that look random").contains("bits are set"));
    assert_eq!(failed(&reports[0]).len(), 2);
}

#[test]
fn a_device_that_does_nothing_is_waited_for_once_and_lets_go_of_all() {
    // A card has to be joined to another.
    let alone = super::TYPES
        .into_iter()
        .filter(|&id| id != DeviceId::NETWORK);
    for id in alone {
        let machine = inline(4).pci("mute", Box::new(Mute(id)), Presented::default());

        let (reports, _) = exercise(machine, 4);

        let late = "nothing came within the time allowed";
        let failed = failed(&reports[0]);
        assert!(!failed.is_empty(), "{id}: {failed:?}");
        assert_eq!(failed[0].detail.as_deref(), Some(late), "{id}");
        assert_eq!(detail(&reports[0], "gives every buffer back"), "it passed");
        assert_eq!(detail(&reports[0], "lets go when it is reset"), "it passed");
        let patience = super::PATIENCE.as_micros() as u64;
        assert!(
            (patience..2 * patience).contains(&reports[0].microseconds),
            "{id}"
        );
    }
}

#[test]
fn a_type_without_a_driver_is_no_failure_unless_there_is_no_other() {
    let console = || Box::new(Mute(DeviceId::CONSOLE));
    let alone = inline(5).pci("console", console(), Presented::default());
    let both = inline(5)
        .pci("console", console(), Presented::default())
        .mmio("entropy", entropy(5), Presented::default());

    let (alone, _) = exercise(alone, 5);
    let (both, _) = exercise(both, 5);

    assert_eq!(
        detail(&alone[0], "has a driver"),
        "there is none for its type"
    );
    assert_eq!((&*both[0].kind, &both[0].checks[..]), ("console", &[][..]));
    assert_eq!(failed(&both[1]), Vec::<&Check>::new());
}

#[test]
fn the_same_seed_gives_the_same_run_again() {
    let run = |seed| {
        let disk = MemoryDisk::new(1000, 512, Fault::None);
        let machine = inline(seed)
            .pci("disk", blk(&disk), Presented::default())
            .mmio("entropy", entropy(seed), Presented::default());
        (exercise(machine, seed), disk.bytes())
    };

    let first = run(6);

    assert_eq!(first, run(6));
    assert_ne!(first, run(7));
}

#[test]
fn what_happens_is_told_in_order() {
    let disk = MemoryDisk::new(5000, 512, Fault::None);
    let machine = inline(8)
        .pci("disk", blk(&disk), Presented::default())
        .mmio("entropy", entropy(8), Presented::default());

    let (_, events) = exercise(machine, 8);

    let mut told: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Begin { device, .. } => format!("begin {device}"),
            Event::Progress { device, .. } => format!("progress {device}"),
            Event::Wrote { device, .. } => format!("wrote {device}"),
            Event::Device(report) => format!("end {}", report.name),
            _ => "?".to_owned(),
        })
        .collect();
    told.dedup();
    let expected = [
        "begin virtio1",
        "progress virtio1",
        "end virtio1",
        "begin virtio0",
        "progress virtio0",
        "wrote virtio0",
        "end virtio0",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_first_number_is_the_callers() {
    let machine = inline(9)
        .pci("entropy", entropy(9), Presented::default())
        .build()
        .unwrap();

    let options = Options {
        seed: 9,
        first: 2,
        ..Options::default()
    };
    let reports = run(scan(&machine.platform(), []), &options, &mut |_| {});

    assert_eq!(reports[0].name, "virtio2");
}
