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

/// A port before another, which writes down what goes through it, in both directions.
///
/// The form is pcapng: times have nanoseconds, and each packet says which way it went, seen from the
/// card. A packet of which something is left to do is written as it goes by: its checksum is that of the
/// pseudo header, and it may be larger than the network carries. So it is in captures of Linux's own
/// cards, too.
///
/// Traffic does not wait for the file: a thread writes, and what finds no room with it is missed and
/// counted. After an error nothing more is written. Dropped, it writes the end of the capture.
pub struct Pcap {
    port: Arc<dyn Port>,
    film: Arc<Film>,
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
    snap: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What is to be written, as it will be.
    waiting: Vec<u8>,
    /// Whether more is taken.
    open: bool,
    /// Whether the thread that writes has come to its end.
    written: bool,
    counts: Counts,
}

/// The card, to the port behind.
struct In {
    card: Inlet,
    film: Arc<Film>,
}

impl Pcap {
    /// Stands before `port`, and writes no more than the first `snap` bytes of each packet to `file`.
    /// `failed` is told, once, why no more is written.
    ///
    /// # Errors
    ///
    /// The system has no room for a thread.
    pub fn new(
        port: Arc<dyn Port>,
        file: impl Write + Send + 'static,
        snap: u32,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let mut waiting = Vec::new();
        format::begin(&mut waiting, snap);
        let film = Arc::new(Film {
            snap: usize::try_from(snap).unwrap_or(usize::MAX),
            state: Mutex::new(State {
                waiting,
                open: true,
                written: false,
                counts: Counts::default(),
            }),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&film);
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                if let Err(error) = own.write(file) {
                    failed(error);
                }
                own.lock().written = true;
                own.changed.notify_all();
            })?;
        Ok(Self { port, film })
    }

    /// How much was written down so far.
    pub fn counts(&self) -> Counts {
        self.film.lock().counts
    }
}

impl Port for Pcap {
    fn connect(&self, card: Inlet) {
        let film = Arc::clone(&self.film);
        self.port.connect(Inlet::new(Arc::new(In { card, film })));
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        self.film.note(Direction::Out, packets);
        self.port.send(packets);
    }
}

impl Deliver for In {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        self.film.note(Direction::In, packets);
        self.card.deliver(packets);
    }
}

impl Drop for Pcap {
    fn drop(&mut self) {
        let mut state = self.film.lock();
        state.open = false;
        let changed = &self.film.changed;
        changed.notify_all();
        // Or it goes on alone, to a file that takes nothing.
        let _ = changed.wait_timeout_while(state, END_MAX, |state| !state.written);
    }
}

impl Film {
    /// Puts packets before the thread that writes.
    fn note(&self, direction: Direction, packets: &[Packet]) {
        let now = now();
        let mut state = self.lock();
        for packet in packets {
            let seen = packet.bytes.get(..self.snap).unwrap_or(&packet.bytes);
            let room = WAITING_MAX.saturating_sub(state.waiting.len());
            if !state.open || format::packet_bytes(seen) > room {
                state.counts.missed = state.counts.missed.saturating_add(1);
                continue;
            }
            format::packet(&mut state.waiting, now, direction, seen, packet.bytes.len());
            state.counts.noted = state.counts.noted.saturating_add(1);
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
                format::end(&mut now, self::now(), state.counts);
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
