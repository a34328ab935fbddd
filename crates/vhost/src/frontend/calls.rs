//! Interrupts: descriptors that back-ends signal, and threads that wait for them.
//!
//! A thread that waits for a queue waits for its descriptors itself: between a back-end's signal and
//! the handler there is no other thread. It is one system call, too: a descriptor is watched for the
//! moment of a signal (edge-triggered), and never read. So nobody takes a signal away from another
//! thread that waits for it, either.

use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, RwLock};

use ringway_driver::interrupt::{Handler, Signal};
use rustix::event::{Timespec, epoll};
use rustix::io;

use super::platform::Platform;
use crate::eventfd::EventFd;
use crate::sync::{lock, read, write};

/// Most that happens at once to one who waits. What is more is seen next time.
const EVENTS: usize = 16;

/// What a watched descriptor is called that is no interrupt's: interrupts are counted from 0.
const OTHER: u64 = u64::MAX;

/// All interrupts of a platform.
#[derive(Debug)]
pub(crate) struct Calls {
    interrupts: RwLock<Interrupts>,
    /// Who waits, or has waited and will again.
    ears: Mutex<Vec<Arc<Ear>>>,
    /// Signalled when there are other interrupts than before.
    changed: EventFd,
}

#[derive(Debug, Default)]
struct Interrupts {
    next: u32,
    all: Vec<Interrupt>,
}

#[derive(Debug)]
struct Interrupt {
    number: u32,
    call: Arc<EventFd>,
    handler: Handler<Platform>,
}

/// What one thread waits for.
#[derive(Debug)]
struct Ear {
    /// Of which queue, if it is not for all. Compared, never followed.
    signal: Option<usize>,
    epoll: OwnedFd,
}

/// What has happened to one who waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Something other than an interrupt did.
    pub(crate) by_other: bool,
}

impl Calls {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupts: RwLock::default(),
            ears: Mutex::default(),
            changed: EventFd::new()?,
        })
    }

    /// One more, which calls `handler`. Its number. `None` if there are too many descriptors.
    pub(crate) fn provide(&self, handler: Handler<Platform>) -> Option<u32> {
        let call = Arc::new(EventFd::shared().ok()?);
        let number = {
            let mut interrupts = write(&self.interrupts);
            let number = interrupts.next;
            interrupts.next = number.checked_add(1)?;
            interrupts.all.push(Interrupt {
                number,
                call,
                handler,
            });
            number
        };
        self.renew();
        Some(number)
    }

    /// What a back-end signals to raise interrupt `number`.
    pub(crate) fn call(&self, number: u32) -> Option<Arc<EventFd>> {
        let interrupts = read(&self.interrupts);
        let mut all = interrupts.all.iter();
        all.find(|interrupt| interrupt.number == number)
            .map(|interrupt| Arc::clone(&interrupt.call))
    }

    /// Forgets all interrupts of `handler`. When this returns, it does not run.
    pub(crate) fn disconnect(&self, handler: &Handler<Platform>) {
        // Handlers run with this lock held by those who read.
        let gone: Vec<_> = {
            let mut interrupts = write(&self.interrupts);
            let all = &mut interrupts.all;
            all.extract_if(.., |interrupt| interrupt.handler.same_as(handler))
                .collect()
        };
        if !gone.is_empty() {
            self.renew();
        }
    }

    /// Waits for an interrupt that raises `signal`, for anything at `other`, or for `limit`, and
    /// runs the handlers of what came. Without a `signal`, for all interrupts. Returns at once if
    /// `signal` was raised since it counted `seen`.
    pub(crate) fn wait(
        &self,
        waiting: Option<(&Signal, u32)>,
        other: BorrowedFd<'_>,
        limit: Duration,
    ) -> Woken {
        let nothing = Woken { by_other: false };
        let Ok(ear) = self.ear(waiting.map(|(signal, _)| signal), other) else {
            // There are too many descriptors. Whoever waits looks again, and again.
            std::thread::sleep(limit.min(Duration::from_millis(1)));
            return nothing;
        };
        if waiting.is_some_and(|(signal, seen)| signal.count() != seen) {
            return nothing;
        }
        // A limit of ours is far below what there is room for.
        let limit = Timespec::try_from(limit).ok();
        let mut room = [MaybeUninit::uninit(); EVENTS];
        // Interrupted by a signal, or not: whoever waits looks again.
        let Ok((events, _)) = epoll::wait(&ear.epoll, &mut room, limit.as_ref()) else {
            return nothing;
        };
        let mut woken = nothing;
        for event in events {
            match event.data.u64() {
                OTHER => woken.by_other = true,
                number => self.run(number),
            }
        }
        woken
    }

    /// Runs the handler of one interrupt, if it is still there.
    fn run(&self, number: u64) {
        let interrupts = read(&self.interrupts);
        let mut all = interrupts.all.iter();
        if let Some(interrupt) = all.find(|interrupt| u64::from(interrupt.number) == number) {
            interrupt.handler.handle();
        }
    }

    /// Has whoever waits for all interrupts look at something else.
    pub(crate) fn wake(&self) {
        self.changed.signal();
    }

    /// Has everybody look again what there is to wait for.
    fn renew(&self) {
        lock(&self.ears).clear();
        self.wake();
    }

    /// What waits for `signal`, or for all. Made when it is first wanted.
    fn ear(&self, signal: Option<&Signal>, other: BorrowedFd<'_>) -> io::Result<Arc<Ear>> {
        let place = signal.map(|signal| ptr::from_ref(signal).addr());
        let mut ears = lock(&self.ears);
        if let Some(ear) = ears.iter().find(|ear| ear.signal == place) {
            return Ok(Arc::clone(ear));
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |fd: BorrowedFd<'_>, number, flags| {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(number), flags)
        };
        watch(other, OTHER, epoll::EventFlags::IN)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        if signal.is_none() {
            watch(self.changed.as_fd(), OTHER, edge)?;
        }
        for interrupt in &read(&self.interrupts).all {
            if signal.is_none_or(|signal| interrupt.handler.raises(signal)) {
                watch(interrupt.call.as_fd(), u64::from(interrupt.number), edge)?;
            }
        }
        let ear = Arc::new(Ear {
            signal: place,
            epoll,
        });
        ears.push(Arc::clone(&ear));
        Ok(ear)
    }
}
