//! What the exercise of one device works with, and how it is told.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt::Write;

use ringway_driver::bringup::{Acknowledged, Live, Probed};
use ringway_driver::dma::Counts;
use ringway_driver::error::Error;
use ringway_driver::transport::Transport;
use ringway_spec::F;
use sha2::{Digest, Sha256};

use super::Options;
use super::random::Random;
use crate::event::{Event, PROGRESS_MAX};
use crate::report::DeviceReport;

/// What was found: nothing wrong, or what. For people.
pub(crate) type Finding<T = ()> = Result<T, String>;

/// What the exercise of one device works with.
pub struct Bench<'b, 's> {
    /// What the device is called.
    pub(crate) name: &'b str,
    pub(crate) seed: u64,
    pub(crate) options: &'b Options,
    pub(crate) random: &'b mut Random,
    pub(crate) sink: &'b mut (dyn FnMut(Event) + 's),
}

impl Bench<'_, '_> {
    pub(crate) fn begin(&mut self, report: &DeviceReport) {
        (self.sink)(Event::Begin {
            device: report.name.clone(),
            kind: report.kind.clone(),
            transport: report.transport.clone(),
        });
    }

    pub(crate) fn wrote(&mut self, sector: u64, bytes: &[u8]) {
        (self.sink)(Event::Wrote {
            device: self.name.to_string(),
            sector,
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        });
    }

    /// Says, now and then, that `done` of `total` bytes are done.
    pub(crate) fn progress(&mut self, progress: &mut Progress, done: u64) {
        let total = progress.total;
        if progress.ended || done < progress.next.min(total) {
            return;
        }
        progress.next = done.saturating_add(step(total));
        progress.ended = done >= total;
        (self.sink)(Event::Progress {
            device: self.name.to_string(),
            done,
            total,
        });
    }
}

/// When progress is next to be said.
#[derive(Debug)]
pub(crate) struct Progress {
    total: u64,
    next: u64,
    ended: bool,
}

impl Progress {
    pub(crate) fn of(total: u64) -> Self {
        Self {
            total,
            next: step(total),
            ended: false,
        }
    }
}

/// Bytes between two times that progress is said.
fn step(total: u64) -> u64 {
    total.div_ceil(PROGRESS_MAX).max(1)
}

/// Takes a device as far as its driver does not matter.
pub(crate) fn probe<T: Transport>(transport: T) -> Result<Probed<T>, Error> {
    Acknowledged::new(transport)?.driver()
}

/// Notes what is known of a device that has come up.
pub fn note_up<T: Transport>(report: &mut DeviceReport, queue_size: u16, device: &Live<T>) {
    let names = device.features().names(device.device_id());
    report.features = names.map(|name| name.to_string()).collect();
    if device.features().contains(F::RING_PACKED) {
        report.ring = "packed".to_string();
    }
    report.queue_size = queue_size;
    report.interrupt = device.interrupts().to_string();
}

/// Notes what went over a device's queue.
pub(crate) fn note_counts(report: &mut DeviceReport, counts: Counts) {
    report.requests = counts.completed;
    report.kicks = counts.kicks;
    report.interrupts = counts.interrupts.into();
}

/// The check of a queue that is reset alone.
pub(crate) const RESIZED: &str = "can have its queue reset and resized";

/// Whether the queues of a device can be reset alone.
pub(crate) fn can_resize<T: Transport>(device: &Live<T>) -> bool {
    device.features().contains(F::RING_RESET)
}

/// A size for a queue of `size` that is less: no power of two, if the format allows it. A request
/// that needs a descriptor for each of its three parts still has room.
pub(crate) fn smaller(size: u16) -> u16 {
    const LEAST: u16 = 4;
    (size - size / 4).max(LEAST).min(size)
}

/// How many of the buffers that a device was given came back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) given: u64,
    pub(crate) back: u64,
}

impl Tally {
    pub(crate) fn finding(self) -> Finding {
        if self.given == self.back {
            return Ok(());
        }
        Err(format!("{} of {} came back", self.back, self.given))
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A `String` takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn progress_is_said_a_bounded_number_of_times_and_at_the_end() {
        for total in [1, 199, 12_345, 1 << 30] {
            let mut said = Vec::new();
            let mut random = Random::new(0);
            let mut bench = Bench {
                name: "virtio0",
                seed: 0,
                options: &Options::default(),
                random: &mut random,
                sink: &mut |event| said.push(event),
            };
            let mut progress = Progress::of(total);

            let step = (total / 1000).max(1);
            for done in (0..=total).step_by(step as usize).chain([total]) {
                bench.progress(&mut progress, done);
            }

            assert!(said.len() as u64 <= PROGRESS_MAX, "{total}");
            let end = Event::Progress {
                device: "virtio0".to_string(),
                done: total,
                total,
            };
            assert_eq!(said.last(), Some(&end));
            assert_eq!(said.iter().filter(|event| **event == end).count(), 1);
        }
    }

    #[test]
    fn a_smaller_queue_has_room_for_a_request_and_is_never_larger() {
        let sizes = [0, 1, 3, 4, 5, 16, 256, 32768].map(smaller);

        assert_eq!(sizes, [0, 1, 3, 4, 4, 12, 192, 24576]);
    }

    #[test]
    fn hexadecimal_has_two_digits_a_byte() {
        assert_eq!(hex(&[0x00, 0x0a, 0xff]), "000aff");
    }
}
