//! Memory of the front-end's in which this end is to keep records: of pages that were written, and
//! of chains that are in flight.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

use rustix::io::Errno;

use super::{Logging, Refusal};
use crate::eventfd::EventFd;
use crate::ledger::{Record, RingFormat};
use crate::memory;
use crate::protocol::{Inflight, LogArea};

/// Where records are to be kept. The log may change while rings run.
#[derive(Debug, Default)]
pub struct Records {
    log: Mutex<Log>,
    /// As which address the device areas of rings count that are logged.
    rings: Mutex<BTreeMap<u8, u64>>,
    inflight: Mutex<Option<Remembered>>,
}

/// Where writes to memory are logged.
#[derive(Debug, Default)]
struct Log {
    pages: Option<Shared>,
    is_on: bool,
    signal: Option<Arc<EventFd>>,
}

/// Memory that remembers what is in flight.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// For how many queues of which size.
    pub inflight: Inflight,
    /// All of it.
    pub memory: Shared,
}

impl Records {
    /// Where pages are to be marked that were written, if they are: bit by bit, from the driver's
    /// address 0 on.
    pub fn log(&self) -> Option<Shared> {
        let log = locked(&self.log);
        log.pages.clone().filter(|_| log.is_on)
    }

    /// Signalled when the log was written to, if the front-end wants that.
    pub fn log_signal(&self) -> Option<Arc<EventFd>> {
        locked(&self.log).signal.clone()
    }

    /// As which address of the driver's the device area of a ring counts, if writes to it are
    /// logged.
    pub fn ring_log(&self, ring: u8) -> Option<u64> {
        locked(&self.rings).get(&ring).copied()
    }

    /// Where the chains are to be remembered that are in flight, if they are.
    pub fn inflight(&self) -> Option<Remembered> {
        locked(&self.inflight).clone()
    }

    pub(super) fn set_logging(&self, logging: Logging) {
        locked(&self.log).is_on = logging == Logging::On;
    }

    pub(super) fn set_log(&self, area: LogArea, file: &OwnedFd) -> Result<(), Refusal> {
        let pages = memory::map(file, area.file_offset, area.size)?;
        locked(&self.log).pages = Some(pages);
        Ok(())
    }

    pub(super) fn set_log_signal(&self, signal: OwnedFd) {
        locked(&self.log).signal = Some(Arc::new(signal.into()));
    }

    pub(super) fn set_ring_log(&self, ring: u8, log: Option<u64>) {
        let mut rings = locked(&self.rings);
        match log {
            Some(address) => rings.insert(ring, address),
            None => rings.remove(&ring),
        };
    }

    pub(super) fn set_inflight(
        &self,
        inflight: Inflight,
        file: &OwnedFd,
        features: Option<Features>,
    ) -> Result<(), Refusal> {
        if inflight.size < bytes_of(inflight, features) {
            return Err(refused(inflight));
        }
        let memory = memory::map(file, inflight.file_offset, inflight.size)?;
        *locked(&self.inflight) = Some(Remembered { inflight, memory });
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        *locked(&self.log) = Log::default();
        locked(&self.rings).clear();
        *locked(&self.inflight) = None;
    }
}

/// Makes memory that remembers what is in flight as `wanted` says, in queues of at most `queues` and
/// `queue_size`.
pub(super) fn make_inflight(
    wanted: Inflight,
    queues: usize,
    queue_size: u16,
    features: Option<Features>,
) -> Result<(Inflight, OwnedFd), Refusal> {
    let possible = (1..=queues).contains(&usize::from(wanted.queues))
        && (1..=queue_size).contains(&wanted.queue_size);
    if !possible {
        return Err(refused(wanted));
    }
    let size = bytes_of(wanted, features);
    let len = usize::try_from(size).map_err(|_| refused(wanted))?;
    let (file, _) = memory::create("ringway-inflight", len).map_err(|error| Refusal::System {
        what: "make memory for what is in flight",
        error: Errno::from_io_error(&error).unwrap_or(Errno::NOMEM),
    })?;
    let inflight = Inflight {
        size,
        file_offset: 0,
        ..wanted
    };
    Ok((inflight, file))
}

/// How many bytes remember what is in flight. As long as the format is not known, as many as the
/// larger one takes.
fn bytes_of(inflight: Inflight, features: Option<Features>) -> u64 {
    let is_split = features.is_some_and(|features| !features.contains(F::RING_PACKED));
    let format = if is_split {
        RingFormat::Split
    } else {
        RingFormat::Packed
    };
    // At most 2¹⁶ times what 2¹⁶ descriptors take.
    Record::bytes(format, inflight.queue_size) as u64 * u64::from(inflight.queues)
}

fn refused(inflight: Inflight) -> Refusal {
    Refusal::Inflight {
        queues: inflight.queues,
        queue_size: inflight.queue_size,
        bytes: inflight.size,
    }
}

/// What a mutex guards, which is whole whatever happened to another thread.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Inflight = Inflight {
        size: 0,
        file_offset: 0,
        queues: 3,
        queue_size: 128,
    };

    #[test]
    fn memory_for_what_is_in_flight_has_room_for_all_queues_in_their_format() {
        for (features, bytes) in [
            (Some(F::VERSION_1), 3 * (16 * 129_u64).next_multiple_of(64)),
            (
                Some(F::RING_PACKED),
                3 * (32 * 129_u64).next_multiple_of(64),
            ),
            (None, 3 * (32 * 129_u64).next_multiple_of(64)),
        ] {
            let records = Records::default();
            let (made, file) = make_inflight(WANTED, 4, 256, features).unwrap();

            records.set_inflight(made, &file, features).unwrap();

            assert_eq!(made.size, bytes);
            let remembered = records.inflight().unwrap();
            assert_eq!(remembered.memory.len() as u64, bytes);
        }
    }

    #[test]
    fn memory_too_small_for_what_is_in_flight_or_for_queues_that_are_not_there_is_refused() {
        let records = Records::default();
        let (made, file) = make_inflight(WANTED, 4, 256, None).unwrap();

        let small = Inflight {
            size: made.size - 1,
            ..made
        };
        let beyond = Inflight {
            queues: 5,
            ..WANTED
        };
        let none = Inflight {
            queues: 0,
            ..WANTED
        };
        let large = Inflight {
            queue_size: 257,
            ..WANTED
        };

        assert_eq!(
            records.set_inflight(small, &file, None),
            Err(refused(small))
        );
        for wanted in [beyond, none, large] {
            let made = make_inflight(wanted, 4, 256, None);
            assert_eq!(made.err(), Some(refused(wanted)));
        }
        assert!(records.inflight().is_none());
    }

    #[test]
    fn the_log_is_there_while_logging_is_on() {
        let records = Records::default();
        let (file, _) = memory::create("log", 8192).unwrap();
        let area = LogArea {
            size: 4096,
            file_offset: 4096,
        };

        records.set_log(area, &file).unwrap();
        let before = records.log();
        records.set_logging(Logging::On);
        let during = records.log();
        records.clear();

        assert!(before.is_none());
        assert_eq!(during.map(|pages| pages.len()), Some(4096));
        assert!(records.log().is_none());
    }
}
