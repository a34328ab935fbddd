//! What goes over one pair of queues: packets out, as many as may be on their way, and back.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_driver::Error;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::RequestError;
use ringway_driver::net::{Facts, Offload, Packet, Pair};
use ringway_driver::platform::Platform as _;
use ringway_vhost::frontend::Platform;

use super::frame::{Frames, Judged};
use super::ledger::Ledger;

/// Buffers to receive into beside those that the device has: for packets that are being looked at.
const SPARE: usize = 64;

/// What the threads of a run share.
pub(super) struct Run {
    pub(super) frames: Frames,
    /// One for each pair.
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    pub(super) burst: usize,
    /// Most packets of a pair that may be on their way.
    pub(super) depth: u64,
    pub(super) checksum: bool,
    pub(super) polls: bool,
    pub(super) patience: Duration,
    /// When a packet came that was waited for.
    last: Mutex<Instant>,
    /// Nothing more is to be sent or waited for.
    over: AtomicBool,
}

/// A pair of queues, and buffers for both.
pub(super) struct Stream {
    number: usize,
    pair: Pair<Platform, DmaBuffer>,
    platform: Platform,
    header_len: usize,
    /// To be sent.
    free: Vec<DmaBuffer>,
    /// To be received into.
    spare: RefCell<Vec<DmaBuffer>>,
}

impl Run {
    pub(super) fn new(
        frames: Frames,
        ledgers: Vec<Ledger>,
        (burst, depth): (u16, u64),
        checksum: bool,
        polls: bool,
        patience: Duration,
    ) -> Self {
        Self {
            frames,
            ledgers: ledgers.into_iter().map(Mutex::new).collect(),
            burst: burst.into(),
            depth,
            checksum,
            polls,
            patience,
            last: Mutex::new(Instant::now()),
            over: AtomicBool::new(false),
        }
    }

    /// Has all threads end.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether all packets came back, or none does any more.
    fn is_over(&self) -> bool {
        let over = || {
            let waited = lock(&self.last).elapsed();
            waited > self.patience || self.ledgers.iter().all(|ledger| lock(ledger).is_done())
        };
        if !self.over.load(Ordering::Relaxed) && over() {
            self.end();
        }
        self.over.load(Ordering::Relaxed)
    }

    /// Notes a packet. It may have come by another pair than it was sent by.
    fn came(&self, number: usize, judged: Judged, bytes: usize) {
        let flow = match judged {
            Judged::Whole(name) | Judged::Corrupted(name) => name.flow.into(),
            Judged::Foreign => number,
        };
        let ledger = self.ledgers.get(flow).or(self.ledgers.get(number));
        if ledger.is_some_and(|ledger| lock(ledger).came(judged, bytes)) {
            *lock(&self.last) = Instant::now();
        }
    }
}

impl Stream {
    /// A pair whose device has no buffers yet.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(super) fn new(
        number: usize,
        mut pair: Pair<Platform, DmaBuffer>,
        facts: &Facts,
        longest: usize,
        buffer: usize,
    ) -> Result<Self, Error> {
        let platform = pair.receiver.queue().platform().clone();
        let header_len = facts.header_len;
        let (out, back) = (pair.transmitter.depth(), pair.receiver.depth());
        let free = DmaBuffer::several(&platform, out.into(), header_len + longest)?;
        let spare = DmaBuffer::several(&platform, usize::from(back) + SPARE, buffer)?;
        let mut stream = Self {
            number,
            pair,
            platform,
            header_len,
            free,
            spare: RefCell::new(spare),
        };
        let spare = &stream.spare;
        stream.pair.receiver.fill(|| spare.borrow_mut().pop())?;
        Ok(stream)
    }

    /// The pair, and what went over it.
    pub(super) fn pair(&mut self) -> &mut Pair<Platform, DmaBuffer> {
        &mut self.pair
    }

    /// Sends what this pair is to send, and receives whatever comes, until all that was sent is back.
    ///
    /// # Errors
    ///
    /// The device broke a rule, or is gone.
    pub(super) fn run(&mut self, run: &Run) -> Result<(), Error> {
        let (mut packet, mut expected) = (Vec::new(), Vec::new());
        if !run.polls {
            self.pair.receiver.arm();
        }
        while !run.is_over() {
            // Before the rings are looked at: what is signalled in between is not slept through.
            let seen = self.pair.receiver.signal().count();
            let sent = self.send(run, &mut packet)?;
            let received = self.receive(run, &mut packet, &mut expected)?;
            if sent || received {
                continue;
            }
            if run.polls {
                self.platform.relax();
            } else {
                self.platform.wait(self.pair.receiver.signal(), seen);
            }
        }
        Ok(())
    }

    /// Sends a burst, or what there is room for. Says whether it was anything.
    fn send(&mut self, run: &Run, packet: &mut Vec<u8>) -> Result<bool, Error> {
        let Self {
            pair,
            free,
            header_len,
            number,
            ..
        } = self;
        pair.transmitter.reclaim(|buffer| free.push(buffer))?;
        let Some(ledger) = run.ledgers.get(*number) else {
            return Ok(false);
        };
        let mut sent = 0;
        while sent < run.burst && pair.transmitter.in_flight() < pair.transmitter.depth() {
            // Not longer: whoever receives for us waits for it.
            let due = lock(ledger).next(run.depth);
            let Some((name, mut buffer)) = due.and_then(|name| Some((name, free.pop()?))) else {
                break;
            };
            run.frames.write(name, packet);
            let checksum = match run.checksum {
                true => Frames::leave_checksum(packet),
                false => None,
            };
            put(&mut buffer, *header_len, packet)?;
            let offload = Offload {
                checksum,
                cut: None,
            };
            // Before it is: it may be back at once.
            lock(ledger).sent(packet.len());
            let given = pair.transmitter.send(buffer, &offload);
            given.map_err(|rejected| rejected.why)?;
            sent += 1;
        }
        if sent != 0 {
            pair.transmitter.kick()?;
        }
        Ok(sent != 0)
    }

    /// Receives a burst, or what there is. Says whether there may be more.
    fn receive(
        &mut self,
        run: &Run,
        packet: &mut Vec<u8>,
        expected: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let Self {
            pair,
            spare,
            number,
            ..
        } = self;
        let each = |came: Packet<DmaBuffer>| {
            packet.resize(came.len(), 0);
            came.copy_to(packet);
            let judged = run.frames.judge(packet, &came.received, expected);
            run.came(*number, judged, packet.len());
            spare.borrow_mut().extend(came.into_buffers());
        };
        let burst = pair
            .receiver
            .receive(run.burst, each, || spare.borrow_mut().pop())?;
        Ok(burst.packets != 0 || burst.more)
    }
}

/// Puts a packet in a buffer, behind `before` bytes, and no more.
fn put(buffer: &mut DmaBuffer, before: usize, packet: &[u8]) -> Result<(), Error> {
    let (len, limit) = (before + packet.len(), buffer.capacity());
    let fits = buffer.set_len(len);
    fits.and_then(|()| buffer.write(before, packet))
        .map_err(|_| Error::Request(RequestError::TooLarge { len, limit }))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
