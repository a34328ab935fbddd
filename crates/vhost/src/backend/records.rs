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
use crate::protocol::{Inflight, LogArea, Region};

/// Where records are kept.
#[derive(Debug, Default)]
pub(super) struct Records {
    pages: Option<Arc<Log>>,
    /// How large the log is.
    bytes: u64,
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
    /// Forgets what is in flight: the device was reset, and nothing is.
    pub(super) fn forget(&mut self) {
        self.inflight = None;
    }

    /// Whether writes are logged.
    pub(super) fn is_logging(&self) -> bool {
        self.logging == Some(Logging::On) && self.pages.is_some()
    }

    /// How a ring that runs at `areas` logs what it writes, if it does. `translate` says where the log
    /// has what the driver's addresses name, if they are not the log's.
    pub(super) fn log(
        &self,
        ring: &Start,
        areas: Areas,
        translate: Option<Arc<dyn Translate>>,
    ) -> Option<RingLog> {
        let log = self.pages.clone().filter(|_| self.is_logging())?;
        // What the device writes of the ring.
        let mut parts = Vec::new();
        if let Some(device_area) = ring.addresses.logged() {
            // What is behind an IOMMU is found there: front-ends do not agree on whose address it is
            // that they say.
            let at = if translate.is_some() {
                areas.device
            } else {
                device_area
            };
            if ring.features.contains(F::RING_PACKED) {
                parts.push((at, packed::EVENT_BYTES));
                // The protocol has no address for it.
                parts.push((areas.descriptor, packed::descriptor_bytes(ring.size)));
            } else {
                parts.push((at, split::used_bytes(ring.size)));
            }
        }
        let mut logged = Vec::new();
        for (at, len) in parts {
            match &translate {
                None => logged.push((at, len as u64)),
                Some(translate) => {
                    translate.runs(at, len as u64, &mut |at, len| logged.push((at, len)));
                }
            }
        }
        Some(RingLog {
            log,
            areas: logged,
            translate,
            signal: self.signal.clone(),
        })
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
        reaches(area.size, table.end())?;
        let pages = memory::map(file, area.file_offset, area.size)?;
        self.pages = Some(Arc::new(Log::new(Bits::new(pages))));
        self.bytes = area.size;
        Ok(())
    }

    /// Fails if the log, as long as writes are logged, does not reach to the end of these regions.
    pub(super) fn can_log<'r>(
        &self,
        regions: impl IntoIterator<Item = &'r Region>,
    ) -> Result<(), Refusal> {
        let ends = regions
            .into_iter()
            .map(|region| region.guest_address.saturating_add(region.size));
        match ends.max() {
            Some(end) if self.is_logging() => reaches(self.bytes, end),
            _ => Ok(()),
        }
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

/// Fails if a log of `bytes` does not reach to `end`.
fn reaches(bytes: u64, end: u64) -> Result<(), Refusal> {
    let needed = end.div_ceil(PAGES_PER_BYTE);
    if bytes < needed {
        return Err(Refusal::Log { bytes, needed });
    }
    Ok(())
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

#[cfg(test)]
mod tests;
