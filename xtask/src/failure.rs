//! Why a piece failed, and what the child that failed had printed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of a piece, or of a step of one.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A failed step.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, and where one can what to do; a sentence or a few lines.
    pub(crate) what: String,
    /// Everything the child printed, if a child failed.
    pub(crate) output: Vec<u8>,
}

impl Failure {
    /// A failure that needs no more than its sentence.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            output: Vec::new(),
        }
    }

    /// The same, of one thing among several.
    pub(crate) fn of(self, which: &str) -> Self {
        Self {
            what: format!("{which}: {}", self.what),
            ..self
        }
    }

    /// Says that `verb` could not be done to `path`, for `map_err`.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = PathBuf::from(path);
        move |e| Self::new(format!("cannot {verb} {}: {e}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
