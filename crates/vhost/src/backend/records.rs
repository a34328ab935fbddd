//! Memory of the front-end's in which this end keeps records: of pages that were written, and of
//! chains that are in flight.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_ring::driver::Areas;
use ringway_ring::ledger;
use ringway_ring::map::Map;
use ringway_ring::shared::{Bits, Shared};
use ringway_spec::packed::DescriptorFlags;
use ringway_spec::{F, Features, packed, split};
use rustix::io::Errno;

use super::{Logging, Refusal, Start};
use crate::eventfd::EventFd;
use crate::ledger::{Log, Record, Ring, RingFormat, RingLog, Translate};
use crate::memory::{self, Table};
use crate::protocol::{Inflight, LogArea};

/// Where records are kept.
#[derive(Debug, Default)]
pub(super) struct Records {
    pages: Option<Arc<Log>>,
    logging: Option<Logging>,
    signal: Option<Arc<EventFd>>,
    inflight: Option<Remembered>,
}

/// Memory that remembers what is in flight.
#[derive(Clone, Debug)]
struct Remembered {
    /// For how many queues of which size.
    inflight: Inflight,
    /// All of it.
    memory: Shared,
}

impl Records {
    /// Whether what is in flight is remembered.
    pub(super) fn remember(&self) -> bool {
        self.inflight.is_some()
    }

    /// How a ring that runs at `areas` logs what it writes, if it does. `translate` says where the log
    /// has what the driver's addresses name, if they are not the log's.
    pub(super) fn log(
        &self,
        ring: &Start,
        areas: Areas,
        translate: Option<Arc<dyn Translate>>,
    ) -> Option<RingLog> {
        if self.logging != Some(Logging::On) {
            return None;
        }
        let mut log = RingLog {
            log: self.pages.clone()?,
            areas: Vec::new(),
            translate,
            signal: self.signal.clone(),
        };
        if let Some(device_area) = ring.addresses.logged() {
            if ring.features.contains(F::RING_PACKED) {
                log.areas.push((device_area, packed::EVENT_BYTES as u64));
                // The protocol has no address for it, and the device writes it, too.
                let bytes = packed::descriptor_bytes(ring.size) as u64;
                match &log.translate {
                    None => log.areas.push((areas.descriptor, bytes)),
                    Some(translate) => {
                        let mut runs = Vec::new();
                        translate
                            .runs(areas.descriptor, bytes, &mut |at, len| runs.push((at, len)));
                        log.areas.extend(runs);
                    }
                }
            } else {
                let bytes = split::used_bytes(ring.size) as u64;
                log.areas.push((device_area, bytes));
            }
        }
        Some(log)
    }

    /// The record of ring `index`, which is to begin as `ring` says at `areas` of `map`, and where it
    /// begins with regard to that. No record if nothing is remembered.
    pub(super) fn record(
        &self,
        index: u8,
        ring: &Start,
        areas: Areas,
        map: &Map,
    ) -> Result<(Option<Record>, ledger::Start), Refusal> {
        let Start {
            size,
            available,
            used,
            ..
        } = *ring;
        let index_ = u32::from(index);
        let base = ledger::Start {
            used,
            in_flight: Vec::new(),
        };
        let Some(Remembered { inflight, memory }) = &self.inflight else {
            if available != used {
                return Err(Refusal::ChainsLost {
                    index: index_,
                    available,
                    used,
                });
            }
            return Ok((None, base));
        };
        let is_packed = ring.features.contains(F::RING_PACKED);
        let format = if is_packed {
            RingFormat::Packed
        } else {
            RingFormat::Split
        };
        let bytes = Record::bytes(format, inflight.queue_size);
        let at = usize::from(index) * bytes;
        let memory = memory
            .slice(at, bytes)
            .filter(|_| size <= inflight.queue_size);
        let memory = memory.ok_or_else(|| refused(*inflight))?;
        let of_ring = |address: u64, len: usize| {
            let violation = ringway_ring::device::Violation::Area(address);
            map.shared(address, len).ok_or(Refusal::Ring {
                index: index_,
                violation,
            })
        };
        let opened = if is_packed {
            let descriptors = of_ring(areas.descriptor, packed::descriptor_bytes(size))?;
            let flags = |place: u16| {
                /// Where a descriptor has its flags.
                const FLAGS: usize = 14;
                let at = usize::from(place) * size_of::<packed::Descriptor>() + FLAGS;
                let bytes = descriptors.view().read_value(at).unwrap_or_default();
                DescriptorFlags::from_bits_retain(u16::from_le_bytes(bytes))
            };
            Record::open(&memory, size, base, Ring::Packed(&flags))
        } else {
            let used = of_ring(areas.device, split::used_bytes(size))?;
            let index = used.view().read_value(split::INDEX).unwrap_or_default();
            Record::open(&memory, size, base, Ring::Split(u16::from_le_bytes(index)))
        };
        let (record, start) = opened.map_err(|error| Refusal::Record {
            index: index_,
            error,
        })?;
        Ok((Some(record), start))
    }

    pub(super) fn set_logging(&mut self, logging: Logging) {
        self.logging = Some(logging);
    }

    /// `table` is what the log has to cover at least: a smaller one would miss writes.
    pub(super) fn set_log(
        &mut self,
        area: LogArea,
        file: &OwnedFd,
        table: &Table,
    ) -> Result<(), Refusal> {
        let needed = table.end().div_ceil(PAGES_PER_BYTE);
        if area.size < needed {
            return Err(Refusal::Log {
                bytes: area.size,
                needed,
            });
        }
        let pages = memory::map(file, area.file_offset, area.size)?;
        self.pages = Some(Arc::new(Log::new(Bits::new(pages))));
        Ok(())
    }

    pub(super) fn set_log_signal(&mut self, signal: OwnedFd) {
        self.signal = Some(Arc::new(signal.into()));
    }

    pub(super) fn set_inflight(
        &mut self,
        inflight: Inflight,
        file: &OwnedFd,
        features: Option<Features>,
    ) -> Result<(), Refusal> {
        if inflight.size < bytes_of(inflight, features) {
            return Err(refused(inflight));
        }
        let memory = memory::map(file, inflight.file_offset, inflight.size)?;
        self.inflight = Some(Remembered { inflight, memory });
        Ok(())
    }
}

/// Bytes of memory that a byte of the log is for: 8 pages.
const PAGES_PER_BYTE: u64 = 8 * 4096;

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
            let mut records = Records::default();
            let (made, file) = make_inflight(WANTED, 4, 256, features).unwrap();

            records.set_inflight(made, &file, features).unwrap();

            assert_eq!(made.size, bytes);
            assert_eq!(records.inflight.unwrap().memory.len() as u64, bytes);
        }
    }

    #[test]
    fn memory_too_small_for_what_is_in_flight_or_for_queues_that_are_not_there_is_refused() {
        let mut records = Records::default();
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
        assert!(!records.remember());
    }

    #[test]
    fn a_log_that_does_not_cover_the_memory_is_refused() {
        let mut records = Records::default();
        let (file, _) = memory::create("log", 8192).unwrap();
        let (ram, _) = memory::create("ram", 0x10000).unwrap();
        let mut table = Table::new();
        let region = crate::protocol::Region {
            guest_address: 4096 * PAGES_PER_BYTE,
            size: 0x10000,
            user_address: 0,
            file_offset: 0,
        };
        let area = |size| LogArea {
            size,
            file_offset: 0,
        };

        let without_memory = records.set_log(area(4096), &file, &table);
        table.set(vec![(region, ram)]).unwrap();
        let too_small = records.set_log(area(4097), &file, &table);
        let enough = records.set_log(area(4098), &file, &table);

        let refused = Refusal::Log {
            bytes: 4097,
            needed: 4098,
        };
        assert_eq!(
            [without_memory, too_small, enough],
            [Ok(()), Err(refused), Ok(())]
        );
    }
}
