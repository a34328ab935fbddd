//! Why the machine could not be brought up, or would not do as asked.

use core::fmt;

/// What went wrong, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The loader left no PVH start info of version 1 or later.
    NoStartInfo,
    /// The memory map is absent, out of reach, or longer than
    /// [`start_info::MOST_REGIONS`](crate::start_info::MOST_REGIONS).
    BadMemoryMap {
        /// The number of entries that the start info claims.
        entries: u32,
    },
    /// No RAM is left for the heap.
    NoMemory,
    /// The command line is out of reach, too long, or not UTF-8.
    BadCommandLine,
    /// A word of the command line that cannot be read.
    Malformed {
        /// The word.
        word: &'static str,
    },
    /// The timer that the clock is calibrated against does not count.
    NoClock,
    /// There is no local APIC where it can be reached.
    NoApic,
    /// The interrupt controller has no such line.
    NoLine {
        /// The line asked for.
        gsi: u32,
        /// How many lines there are.
        lines: u32,
    },
    /// The vector is not one of those that devices may use.
    BadVector {
        /// The vector asked for.
        vector: u8,
    },
    /// The vector has a handler already.
    VectorTaken {
        /// The vector asked for.
        vector: u8,
    },
    /// Every vector has a handler.
    NoVector,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStartInfo => f.write_str("the loader left no PVH start info with a memory map"),
            Self::BadMemoryMap { entries } => write!(f, "no usable memory map ({entries} entries)"),
            Self::NoMemory => f.write_str("no RAM for the heap below 4 GiB"),
            Self::BadCommandLine => f.write_str("the command line is too long or not UTF-8"),
            Self::Malformed { word } => write!(f, "cannot read {word:?} on the command line"),
            Self::NoClock => f.write_str("no interval timer to calibrate the clock against"),
            Self::NoApic => f.write_str("no local APIC within reach"),
            Self::NoLine { gsi, lines } => {
                write!(f, "no interrupt line {gsi}: there are {lines}")
            }
            Self::BadVector { vector } => write!(f, "vector {vector:#x} is not for devices"),
            Self::VectorTaken { vector } => write!(f, "vector {vector:#x} has a handler already"),
            Self::NoVector => f.write_str("every vector has a handler"),
        }
    }
}

impl core::error::Error for Error {}

/// The result of what may fail here.
pub type Result<T> = core::result::Result<T, Error>;
