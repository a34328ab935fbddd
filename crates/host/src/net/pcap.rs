//! Writes down what goes through a port, for those who look at captures.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_device::net::{Deliver, Inlet, Packet, Port};

use format::Direction;

mod format;

/// Most of a packet that is written down where nobody asks for less, in bytes: more than any has.
pub const SNAP_MAX: u32 = 262_144;

/// Most bytes that wait to be written: what comes meanwhile is missed.
const WAITING_MAX: usize = 8 << 20;

/// How long the last of them may take to be written, against files that take none.
const END_MAX: Duration = Duration::from_secs(5);

/// A file that what goes through ports is written down in.
///
/// The form is pcapng: times have nanoseconds, and each packet says at which card it was, and which way it
/// went, seen from there. A packet of which something is left to do is written as it goes by: its checksum
/// is that of the pseudo header, and it may be larger than the network carries. So it is in captures of
/// Linux's own cards, too.
///
/// Traffic does not wait for the file: a thread writes, and what finds no room with it is missed and
/// counted. After an error nothing more is written. The end is written when the capture and its ports have
/// been dropped.
pub struct Capture {
    film: Arc<Film>,
}

/// A port before another, which writes down what goes through it, in both directions.
pub struct Pcap {
    port: Arc<dyn Port>,
    capture: Arc<Capture>,
    interface: usize,
}

/// How much was written down, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that are, or will be, in the file.
    pub noted: u64,
    /// Those that are not: there was no room, or the file had failed.
    pub missed: u64,
}

/// What waits to be written.
struct Film {
    snap: u32,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What is to be written, as it will be.
    waiting: Vec<u8>,
    /// Whether more is taken.
    open: bool,
    /// Whether a thread writes.
    writing: bool,
    /// Of each port.
    counts: Vec<Counts>,
}

/// The card, to the port behind.
struct In {
    card: Inlet,
    film: Arc<Film>,
    interface: usize,
}

impl Capture {
    /// A capture that no file was given yet: what comes waits for one, as far as there is room. No more
    /// than the first `snap` bytes of each packet are written.
    pub fn new(snap: u32) -> Arc<Self> {
        let mut waiting = Vec::new();
        format::begin(&mut waiting);
        let state = Mutex::new(State {
            waiting,
            open: true,
            writing: false,
            counts: Vec::new(),
        });
        Arc::new(Self {
            film: Arc::new(Film {
                snap,
                state,
                changed: Condvar::new(),
            }),
        })
    }

    /// Writes to `file` from here on. `failed` is told, once, why no more is written. Called once.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread.
    pub fn write_to(
        &self,
        file: impl Write + Send + 'static,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<()> {
        self.film.lock().writing = true;
        let film = Arc::clone(&self.film);
        let thread = thread::Builder::new().name("capture".to_owned());
        let started = thread.spawn(move || {
            if let Err(error) = film.write(file) {
                failed(error);
            }
            film.written();
        });
        if started.is_err() {
            self.film.written();
        }
        started.map(drop)
    }

    /// Stands before `port`, which the capture knows by this name.
    pub fn port(self: &Arc<Self>, name: &str, port: Arc<dyn Port>) -> Pcap {
        Pcap {
            port,
            capture: Arc::clone(self),
            interface: self.film.interface(name),
        }
    }

    /// How much was written down so far, of all ports together.
    pub fn counts(&self) -> Counts {
        let counts = &self.film.lock().counts;
        counts.iter().fold(Counts::default(), |all, one| Counts {
            noted: all.noted.saturating_add(one.noted),
            missed: all.missed.saturating_add(one.missed),
        })
    }
}

impl Port for Pcap {
    fn connect(&self, card: Inlet) {
        self.port.connect(Inlet::new(Arc::new(In {
            card,
            film: Arc::clone(&self.capture.film),
            interface: self.interface,
        })));
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let film = &self.capture.film;
        film.note(self.interface, Direction::Out, packets);
        self.port.send(packets);
    }
}

impl Deliver for In {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        self.film.note(self.interface, Direction::In, packets);
        self.card.deliver(packets);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let mut state = self.film.lock();
        state.open = false;
        let changed = &self.film.changed;
        changed.notify_all();
        // Or it goes on alone, to a file that takes nothing.
        let _ = changed.wait_timeout_while(state, END_MAX, |state| state.writing);
    }
}

impl Film {
    /// Nobody writes any more.
    fn written(&self) {
        self.lock().writing = false;
        self.changed.notify_all();
    }

    /// One more interface.
    fn interface(&self, name: &str) -> usize {
        let mut state = self.lock();
        let index = state.counts.len();
        state.counts.push(Counts::default());
        if state.open {
            format::interface(&mut state.waiting, self.snap, name);
        }
        index
    }

    /// Puts packets before the thread that writes.
    fn note(&self, interface: usize, direction: Direction, packets: &[Packet]) {
        let now = now();
        let snap = usize::try_from(self.snap).unwrap_or(usize::MAX);
        let mut state = self.lock();
        let State {
            waiting,
            open,
            counts,
            ..
        } = &mut *state;
        let Some(counts) = counts.get_mut(interface) else {
            return;
        };
        for packet in packets {
            let seen = packet.bytes.get(..snap).unwrap_or(&packet.bytes);
            let room = WAITING_MAX.saturating_sub(waiting.len());
            if !*open || format::packet_bytes(seen) > room {
                counts.missed = counts.missed.saturating_add(1);
                continue;
            }
            // No capture has more interfaces.
            let at = (interface as u32, now);
            format::packet(waiting, at, direction, seen, packet.bytes.len());
            counts.noted = counts.noted.saturating_add(1);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what comes, until the end.
    fn write(&self, mut file: impl Write) -> io::Result<()> {
        let mut now = Vec::new();
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && state.open;
            let state = self.changed.wait_while(self.lock(), idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let last = !state.open;
            now.clear();
            mem::swap(&mut now, &mut state.waiting);
            if last {
                for (interface, counts) in (0..).zip(&state.counts) {
                    format::end(&mut now, (interface, self::now()), counts);
                }
            }
            drop(state);
            let done = file.write_all(&now).and_then(|()| file.flush());
            if done.is_err() {
                let mut state = self.lock();
                state.open = false;
                state.waiting = Vec::new();
            }
            if last || done.is_err() {
                return done;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970: enough until 2554.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
