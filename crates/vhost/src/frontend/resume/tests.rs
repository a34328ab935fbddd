use std::fs::File;
use std::os::unix::fs::FileExt;

use ringway_ring::driver::Geometry;

use super::*;
use crate::frontend::HugePages;

fn share() -> Share {
    Share::new(1 << 20, HugePages::No).unwrap()
}

fn setup(share: &Share, geometry: Geometry) -> (QueueSetup, ringway_ring::driver::Memory) {
    let memory = share.pages().take(geometry.bytes(), 64).unwrap();
    let setup = QueueSetup {
        size: geometry.size(),
        areas: geometry.areas(memory.address),
    };
    (setup, memory)
}

fn put(share: &Share, address: u64, value: u16) {
    let at = share.at(address, 2).unwrap();
    at.view().write_value(0, &U16::new(value)).unwrap();
}

/// Indices near the wrap: drivers' defect 1 is of the same kind.
#[test]
fn a_split_ring_goes_on_from_what_was_used() {
    let share = share();
    let (setup, _memory) = setup(&share, Geometry::new(8, 0).unwrap());
    let resumed = |available, used| {
        put(&share, setup.areas.driver + 2, available);
        put(&share, setup.areas.device + 2, used);
        split(3, &setup, &share)
    };

    for (available, used) in [(0, 0), (5, 0), (8, 0), (3, 0xfffb), (0xffff, 0xfff8)] {
        assert_eq!(resumed(available, used), Ok(u32::from(used)));
    }
    for (available, used) in [(0, 1), (9, 0), (0xfffb, 3)] {
        let why = Violation::NotResumable {
            index: 3,
            available,
            used,
        };
        assert_eq!(resumed(available, used), Err(why.into()));
    }
}

struct Packed {
    share: Share,
    setup: QueueSetup,
    file: File,
    ledger: (Inflight, OwnedFd),
    _memory: ringway_ring::driver::Memory,
}

impl Packed {
    /// The note of the second of two queues.
    fn new() -> Self {
        let share = share();
        let (setup, _memory) = setup(&share, Geometry::packed(6, 0).unwrap());
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096 + 512).unwrap();
        let inflight = Inflight {
            size: 512,
            file_offset: 4096,
            queues: 2,
            queue_size: 6,
        };
        let ledger = (inflight, file.try_clone().unwrap().into());
        Self {
            share,
            setup,
            file,
            ledger,
            _memory,
        }
    }

    fn note(&self, now: (u16, u8), old: (u16, u8)) {
        let mut bytes = [0; 32];
        bytes[8] = 1;
        bytes[16..18].copy_from_slice(&now.0.to_le_bytes());
        bytes[18..20].copy_from_slice(&old.0.to_le_bytes());
        (bytes[20], bytes[21]) = (now.1, old.1);
        self.file.write_all_at(&bytes, 4096 + 256).unwrap();
    }

    fn base(&self) -> Result<u32> {
        packed(1, &self.setup, &self.share, Some(&self.ledger))
    }
}

#[test]
fn a_packed_ring_goes_on_from_what_was_noted() {
    let ring = Packed::new();

    let fresh = ring.base();
    ring.note((5, 0), (5, 0));
    let noted = ring.base();

    assert_eq!(fresh, Ok(PACKED_START));
    assert_eq!(noted, Ok(0x0005_0005));
}

#[test]
fn a_back_end_that_ended_between_the_note_and_the_ring_is_judged_by_the_ring() {
    let ring = Packed::new();
    ring.note((1, 0), (4, 1));

    let before = ring.base();
    let descriptor = ring.setup.areas.descriptor + 4 * 16 + 14;
    put(&ring.share, descriptor, AVAILABLE | USED);
    let after = ring.base();

    assert_eq!(before, Ok(0x8004_8004));
    assert_eq!(after, Ok(0x0001_0001));
}

#[test]
fn without_a_note_or_with_one_that_cannot_be_a_packed_ring_does_not_go_on() {
    let ring = Packed::new();
    ring.note((6, 1), (6, 1));

    let impossible = ring.base();
    let none = packed(1, &ring.setup, &ring.share, None);

    let index = 1;
    let base = 0x8006;
    assert_eq!(impossible, Err(Violation::Base { index, base }.into()));
    assert_eq!(none, Err(Violation::NoLedger(1).into()));
}
