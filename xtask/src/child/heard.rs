//! What a child has printed so far.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Most bytes kept of what a child prints, so that a child gone mad cannot
/// fill our memory.
const KEPT: usize = 32 << 20;

/// Which of a child's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

/// What a child has printed.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Both of them, in the order they came.
    pub(super) log: Vec<u8>,
    /// The last line that says something.
    pub(super) last: String,
}

impl Heard {
    fn add(&mut self, line: &[u8], stream: Stream) {
        if self.log.len() < KEPT {
            let own = match stream {
                Stream::Output => &mut self.stdout,
                Stream::Error => &mut self.stderr,
            };
            own.extend_from_slice(line);
            self.log.extend_from_slice(line);
        }
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            self.last = text.trim().to_owned();
        }
    }
}

/// Collects what comes out of one pipe, on a thread of its own; passes it on, too, if `verbose`.
pub(super) fn listen(
    pipe: impl Read + Send + 'static,
    heard: &Arc<Mutex<Heard>>,
    stream: Stream,
    verbose: bool,
) -> JoinHandle<()> {
    let heard = Arc::clone(heard);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if verbose {
                // Nothing is lost if our own standard error is gone.
                let _ = io::stderr().write_all(&line);
            }
            lock(&heard).add(&line, stream);
            line.clear();
        }
    })
}

/// A listener that panicked has still heard what it heard.
pub(super) fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
