//! Why nothing was done, in one line that says what to do.

use std::fmt;
use std::io;
use std::path::Path;

/// The result of something that may be refused.
pub(crate) type Result<T, E = Refusal> = std::result::Result<T, E>;

/// Why nothing was done.
#[derive(Debug)]
pub(crate) struct Refusal(String);

impl Refusal {
    pub(crate) fn new(why: impl fmt::Display) -> Self {
        Self(why.to_string())
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self) {
        let style = anstyle::AnsiColor::Red.on_default().bold();
        anstream::eprintln!("{style}error:{style:#} {self}");
    }

    /// For [`Result::map_err`](std::result::Result::map_err): `path` could not be used for `what`.
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self(format!("cannot {what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ringway_host::Error> for Refusal {
    fn from(error: ringway_host::Error) -> Self {
        Self::new(error)
    }
}

impl From<ringway_machine::Error> for Refusal {
    fn from(error: ringway_machine::Error) -> Self {
        Self::new(error)
    }
}
