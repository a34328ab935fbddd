//! What is written down while a ring is served: which chains are in flight, where a successor of this
//! process finds it; and which pages were written, for whoever moves the driver's memory.

mod log;
mod packed;
mod split;

use core::fmt;
use core::sync::atomic::{Ordering, compiler_fence};
use std::sync::Arc;

use ringway_ring::ledger::{Ledger, Start, Taken};
use ringway_ring::shared::{Shared, Slot, Slots};
use ringway_spec::packed::DescriptorFlags;

pub use log::{Log, LogSwitch, RingLog, Translate};

/// Version of the record of a queue. One that is 0 was never used.
const VERSION: u16 = 1;

/// The record of what is in flight in one queue, in memory that outlives this process.
#[derive(Debug)]
pub struct Record {
    format: Format,
}

#[derive(Debug)]
enum Format {
    Split(split::Record),
    Packed(packed::Record),
}

/// What a ring says of itself, in its format, to whoever takes it over.
#[derive(Clone, Copy)]
pub enum Ring<'r> {
    /// Split: its used index.
    Split(u16),
    /// Packed: the flags of the descriptor at a place.
    Packed(&'r dyn Fn(u16) -> DescriptorFlags),
}

/// A ring's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFormat {
    /// Split.
    Split,
    /// Packed.
    Packed,
}

/// A record that cannot be one of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no room for it in the memory that was given.
    TooSmall,
    /// It is of a version that there is not.
    Version(u16),
    /// It is of a queue of another size.
    Size {
        /// Descriptors that the queue has.
        queue: u16,
        /// Descriptors that the record has room for.
        record: u16,
    },
    /// What it says is in flight cannot be.
    Inconsistent,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall => f.write_str("no room for the record of what is in flight"),
            Self::Version(version) => {
                write!(
                    f,
                    "record of what is in flight has version {version}, not {VERSION}"
                )
            }
            Self::Size { queue, record } => write!(
                f,
                "record of what is in flight is of a queue of {record} descriptors, not {queue}"
            ),
            Self::Inconsistent => f.write_str("record of what is in flight contradicts itself"),
        }
    }
}

impl core::error::Error for RecordError {}

impl Record {
    /// Bytes of the record of a queue of `size`, so that those of several queues can lie one after
    /// the other.
    pub fn bytes(format: RingFormat, size: u16) -> usize {
        /// Each record has cache lines of its own.
        const ALIGN: usize = 64;
        let bytes = match format {
            RingFormat::Split => split::Record::bytes(size),
            RingFormat::Packed => packed::Record::bytes(size),
        };
        bytes.next_multiple_of(ALIGN)
    }

    /// Opens the record in `memory`, of a queue of `size`, and says where the queue is to begin: as
    /// the record and `ring` have it, if it was used before, else at `base`.
    ///
    /// What the record says was written by a process that was perhaps killed while it wrote, and the
    /// memory is the front-end's too: nothing of it is believed that is not checked.
    ///
    /// # Errors
    ///
    /// [`RecordError`]
    pub fn open(
        memory: &Shared,
        size: u16,
        base: Start,
        ring: Ring<'_>,
    ) -> Result<(Self, Start), RecordError> {
        Ok(match ring {
            Ring::Split(used_index) => {
                let (record, start) = split::Record::open(memory, size, base, used_index)?;
                let format = Format::Split(record);
                (Self { format }, start)
            }
            Ring::Packed(flags) => {
                let (record, start) = packed::Record::open(memory, size, base, flags)?;
                let format = Format::Packed(record);
                (Self { format }, start)
            }
        })
    }
}

/// The word that says whether `slots` have a record, with its version, and above it the size of its queue,
/// which is to be `size`. What is above that is the format's own. `None` if there is no record yet.
fn found(slots: &Slots, size: u16) -> Result<Option<u64>, RecordError> {
    let header = slots.slot(0).map_or(0, Slot::second);
    let record = (header >> 16) as u16;
    match header as u16 {
        0 => Ok(None),
        VERSION if record == size => Ok(Some(header)),
        VERSION => Err(RecordError::Size {
            queue: size,
            record,
        }),
        version => Err(RecordError::Version(version)),
    }
}

/// What was stored before, before what is stored after: for a successor of this process, which finds
/// all that the processor has stored. So it is the compiler alone that is to be told.
fn before_what_follows() {
    compiler_fence(Ordering::SeqCst);
}

/// What is written down of one ring.
#[derive(Debug, Default)]
pub struct RingLedger {
    /// What is in flight.
    pub record: Option<Record>,
    /// Which pages were written.
    pub log: Arc<LogSwitch>,
}

impl Ledger for RingLedger {
    fn taken(&mut self, chain: &Taken<'_>) {
        match self.record.as_mut().map(|record| &mut record.format) {
            Some(Format::Split(record)) => record.taken(chain),
            Some(Format::Packed(record)) => record.taken(chain),
            None => {}
        }
    }

    fn resumed(&mut self, key: u16) {
        match self.record.as_mut().map(|record| &mut record.format) {
            Some(Format::Split(record)) => record.resumed(key),
            Some(Format::Packed(record)) => record.resumed(key),
            None => {}
        }
    }

    fn completed(&mut self, _key: u16, writable: &mut dyn Iterator<Item = (u64, u32)>) {
        self.log.noting(|log| {
            writable.for_each(|(address, len)| log.wrote(address, len.into()));
        });
    }

    fn given_back(&mut self, key: u16) {
        match self.record.as_mut().map(|record| &mut record.format) {
            Some(Format::Split(record)) => record.given_back(key),
            Some(Format::Packed(record)) => record.given_back(key),
            None => {}
        }
    }

    fn published(&mut self) {
        match self.record.as_mut().map(|record| &mut record.format) {
            Some(Format::Split(record)) => record.published(),
            Some(Format::Packed(record)) => record.published(),
            None => {}
        }
        self.log.noting(RingLog::published);
    }

    fn wished(&mut self) {
        self.log.noting(RingLog::wished);
    }
}
