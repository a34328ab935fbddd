//! A channel that keeps everything, and what comes of that.

use core::task::Poll;

use ringway_ring::device::{Readable, Writable};
use ringway_ring::shared::Shared;
use ringway_spec::F as RingF;

use super::*;

/// A way to a disk in memory that keeps every request, and does one when it is asked for one that is
/// done, whichever.
pub(super) struct Late {
    disk: Arc<Memory>,
    kept: Vec<(Tag, Work)>,
    random: Random,
    /// How often it says that none is done, before one is.
    slow: u64,
}

/// A request, and the memory that it has to do with.
enum Work {
    Read(u64, Vec<Shared>),
    Write(u64, Vec<Shared>, Stable),
    Flush,
    Discard(Vec<Range>),
    Zero(Vec<Range>, Stable),
}

impl Late {
    pub(super) fn new(disk: Arc<Memory>) -> Self {
        Self {
            disk,
            kept: Vec::new(),
            random: Random::new(11),
            slow: 0,
        }
    }

    fn keep(&mut self, tag: Tag, work: Work) -> Poll<Result> {
        assert!(self.kept.iter().all(|(kept, _)| *kept != tag));
        assert!(tag.0 < QUEUE_SIZE);
        self.kept.push((tag, work));
        self.slow = self.random.below(3);
        Poll::Pending
    }

    fn stable(&self, stable: Stable) -> Result {
        match stable {
            Stable::WhenDone => Blocking::flush(&*self.disk),
            Stable::WhenFlushed => Ok(()),
        }
    }

    fn work(&self, work: Work) -> Result {
        let disk = &*self.disk;
        match work {
            Work::Read(offset, memory) => {
                let mut bytes = vec![0; memory.iter().map(Shared::len).sum()];
                let read = disk.read_at(offset, &mut bytes);
                if read.is_err() {
                    bytes.fill(0);
                }
                let mut left = &bytes[..];
                for run in &memory {
                    let (now, later) = left.split_at(run.len());
                    run.view().write(0, now).unwrap();
                    left = later;
                }
                read
            }
            Work::Write(offset, memory, stable) => {
                let mut bytes = Vec::new();
                for run in &memory {
                    let at = bytes.len();
                    bytes.resize(at + run.len(), 0);
                    run.view().read(0, &mut bytes[at..]).unwrap();
                }
                disk.write_at(offset, &bytes)?;
                self.stable(stable)
            }
            Work::Flush => Blocking::flush(disk),
            Work::Discard(ranges) => ranges
                .iter()
                .try_for_each(|range| Blocking::discard(disk, range.offset, range.len)),
            Work::Zero(ranges, stable) => {
                for range in &ranges {
                    Blocking::write_zeroes(disk, range.offset, range.len, range.unmap)?;
                }
                self.stable(stable)
            }
        }
    }
}

impl Channel for Late {
    fn read(&mut self, tag: Tag, offset: u64, mut into: Writable<'_>) -> Poll<Result> {
        let mut memory = Vec::new();
        while let Ok(run) = into.next_run() {
            memory.push(run.to_shared().unwrap());
        }
        self.keep(tag, Work::Read(offset, memory))
    }

    fn write(
        &mut self,
        tag: Tag,
        offset: u64,
        mut from: Readable<'_>,
        stable: Stable,
    ) -> Poll<Result> {
        let mut memory = Vec::new();
        while let Ok(run) = from.next_run() {
            assert_eq!(run.view().len(), run.to_shared().unwrap().len());
            memory.push(run.to_shared().unwrap());
        }
        self.keep(tag, Work::Write(offset, memory, stable))
    }

    fn flush(&mut self, tag: Tag) -> Poll<Result> {
        self.keep(tag, Work::Flush)
    }

    fn discard(&mut self, tag: Tag, ranges: &[Range]) -> Poll<Result> {
        self.keep(tag, Work::Discard(ranges.to_vec()))
    }

    fn write_zeroes(&mut self, tag: Tag, ranges: &[Range], stable: Stable) -> Poll<Result> {
        self.keep(tag, Work::Zero(ranges.to_vec(), stable))
    }

    fn next_done(&mut self) -> Option<(Tag, Result)> {
        self.slow = self.slow.checked_sub(1).unwrap_or(2);
        if self.kept.is_empty() || self.slow != 0 {
            return None;
        }
        let at = self.random.below(self.kept.len() as u64) as usize;
        let (tag, work) = self.kept.swap_remove(at);
        Some((tag, self.work(work)))
    }

    fn ready(&self) -> Option<i32> {
        Some(7)
    }
}

/// Requests in flight together, with a driver that accepts `ring` as well: the sectors that were
/// read, in the order in which they came.
fn order(ring: Features) -> Vec<u8> {
    let disk = Arc::new(Memory {
        way: Way::Later,
        ..Memory::new()
    });
    let mut device = Blk::new(disk, 1);
    let features = device.features() | ring;
    let mut blk = Loop::new(&mut device, features);
    let mut asked = Vec::new();
    for sector in 0..SECTORS {
        let header = blk.ram.holding(&header(RequestType::IN, sector.into()));
        let answer = blk.ram.holding(&[UNTOUCHED; 513]);
        let token = blk.driver.submit(&[header], &[answer], ()).unwrap();
        asked.push((token, answer));
    }
    blk.driver.kick_needed();
    let mut came = Vec::new();
    blk.run();
    assert!(blk.is_busy());
    while came.len() < asked.len() {
        blk.run();
        while let Some(done) = blk.driver.poll().unwrap() {
            let sector = asked.iter().position(|(token, _)| *token == done.token);
            let sector = sector.unwrap();
            let bytes = blk.ram.bytes(asked[sector].1);
            assert_eq!(done.written, 513);
            assert_eq!(bytes, [&[sector as u8; 512][..], &[OK]].concat());
            came.push(sector as u8);
        }
    }
    assert!(!blk.is_busy());
    came
}

#[test]
fn requests_are_completed_as_they_are_done() {
    for format in [Features::NONE, RingF::RING_PACKED] {
        let mut came = order(format);

        assert!(!came.is_sorted());
        came.sort_unstable();
        assert!(came.into_iter().eq(0..SECTORS));
    }
}

#[test]
fn requests_are_completed_in_their_order_if_that_was_agreed_on() {
    for format in [Features::NONE, RingF::RING_PACKED] {
        let came = order(RingF::IN_ORDER | format);

        assert!(came.into_iter().eq(0..SECTORS));
    }
}

#[test]
fn what_is_kept_is_answered_where_it_was_asked_though_regions_have_other_numbers() {
    let (_disk, mut blk) = disk(Way::Later);
    let asked: Vec<_> = (0..SECTORS)
        .map(|sector| blk.submit(&[&header(RequestType::IN, sector.into())], &[512, 1]))
        .collect();
    blk.run();
    assert!(blk.is_busy());

    blk.renumber();
    while blk.is_busy() {
        blk.run();
    }

    for (sector, answer) in (0..).zip(&asked) {
        assert!(blk.driver.poll().unwrap().is_some());
        assert_eq!(blk.ram.bytes(answer[0]), [sector; 512]);
        assert_eq!(blk.ram.bytes(answer[1]), [OK]);
    }
}

/// Devices' defect 12: a queue is stopped with requests in flight.
#[test]
fn a_queue_that_is_stopped_does_nothing_more() {
    let (disk, mut blk) = disk(Way::Later);
    for _ in 0..4 {
        blk.submit(&[&header(RequestType::OUT, 0), &[9; 512]], &[1]);
    }
    blk.run();
    let before = disk.done();

    drop(blk);

    assert!(before.len() < 4);
    assert_eq!(disk.done(), []);
    assert_eq!(Arc::strong_count(&disk), 1);
}

#[test]
fn a_worker_says_when_it_is_to_be_served_again() {
    let now = Arc::new(Memory::new());
    let later = Arc::new(Memory {
        way: Way::Later,
        ..Memory::new()
    });

    let ready =
        [now, later].map(|disk| Requests::new(disk, Features::NONE, Arc::default()).ready());

    assert_eq!(ready, [None, Some(7)]);
}
