//! A ring that a loop serves: what is due, and what it waits for.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use ringway_device::task::{Looked, Ran, Task};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{FileType, fstat};

use super::counters::Counters;
use super::pace::Pace;
use super::{Key, Kick, Settled};
use crate::eventfd::EventFd;
use crate::sys;

/// A ring, its task, and what wakes it.
pub(super) struct Ring {
    pub(super) key: Key,
    task: Task,
    state: State,
    kick: Source,
    /// What the worker waits for, if it is watched.
    ready: Option<i32>,
    pace: Pace,
    /// When it last did something.
    worked: Instant,
    counters: Arc<Counters>,
    stopping: Option<Stopping>,
    settling: Vec<Settling>,
    /// There was something to do, or may have been, that it has not done because it is to settle.
    owes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Something will wake it.
    Asleep,
    /// To be run.
    Due,
    /// Looked at until then. The driver was not asked to kick.
    Looking(Instant),
    /// Not served any more.
    Broken,
}

/// Where kicks come from.
enum Source {
    /// Calls alone.
    Calls,
    /// A descriptor that wakes the loop with each write to it: there is no need to read.
    Each(EventFd),
    /// A descriptor that is to be read, or the other side could not write on.
    Read(EventFd),
    /// Nowhere: there is nothing that can be waited for.
    Nowhere,
}

/// Somebody waits for the task.
struct Stopping {
    reply: SyncSender<Option<Task>>,
    until: Instant,
}

/// Somebody waits until nothing is kept of what was taken.
struct Settling {
    reply: SyncSender<Settled>,
    until: Instant,
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stepped {
    /// A batch was served, and there may be more.
    Worked,
    /// Nothing was there, and it is to be looked at again.
    Looked,
    /// It sleeps.
    Asleep,
}

/// What a ring waits for, as the loop hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Kick,
    Ready,
}

impl Ring {
    pub(super) fn new(key: Key, task: Task, counters: Arc<Counters>, pace: Pace) -> Self {
        Self {
            key,
            task,
            state: State::Due,
            kick: Source::Calls,
            ready: None,
            pace,
            worked: Instant::now(),
            counters,
            stopping: None,
            settling: Vec::new(),
            owes: false,
        }
    }

    /// Has `epoll` wait for what the worker waits for.
    pub(super) fn watch_worker(&mut self, epoll: &OwnedFd, data: EventData) {
        let watched = |&number: &i32| sys::watch(epoll, number, data).is_ok();
        // One that cannot be waited for is as good as none.
        self.ready = self.task.ready().filter(watched);
    }

    /// Has `epoll` wait for this kick, and no longer for the one before.
    pub(super) fn watch_kick(&mut self, epoll: &OwnedFd, data: EventData, kick: Kick) {
        self.unwatch_kick(epoll);
        self.kick = match kick {
            // It is not to wake anybody.
            _ if self.is_broken() => Source::Nowhere,
            Kick::Called => Source::Calls,
            Kick::Nothing => Source::Nowhere,
            Kick::Readable(descriptor) => Source::watched(epoll, data, descriptor),
        };
    }

    /// Has `epoll` wait for nothing of it any more.
    pub(super) fn unwatch(&mut self, epoll: &OwnedFd) {
        self.unwatch_kick(epoll);
        if let Some(number) = self.ready.take() {
            // It is there, for it was added.
            let _ = sys::unwatch(epoll, number);
        }
    }

    fn unwatch_kick(&mut self, epoll: &OwnedFd) {
        if let Source::Each(event) | Source::Read(event) = &self.kick {
            let _ = epoll::delete(epoll, event);
        }
        self.kick = Source::Nowhere;
    }

    /// What it waits for has come.
    pub(super) fn came(&mut self, epoll: &OwnedFd, waited: Waited, flags: EventFlags) {
        match (waited, &self.kick) {
            (Waited::Kick, source) => {
                self.counters.kicked();
                self.owes |= self.stopping.is_some() || !self.settling.is_empty();
                if let Source::Read(event) = source
                    && event.take().is_err()
                {
                    // It would wake the loop for ever.
                    self.unwatch_kick(epoll);
                }
            }
            // Its worker sees what is wrong with it, and does not read it away.
            (Waited::Ready, _) if !flags.contains(EventFlags::IN) => {
                if let Some(number) = self.ready.take() {
                    let _ = sys::unwatch(epoll, number);
                }
            }
            (Waited::Ready, _) => {}
        }
    }

    /// It was kicked by a call.
    pub(super) fn called(&mut self) {
        self.counters.kicked();
        self.owes |= self.is_finishing();
    }

    /// Makes it due. Says whether it slept.
    pub(super) fn wake(&mut self) -> bool {
        let slept = self.state == State::Asleep;
        if slept {
            self.state = State::Due;
        }
        slept
    }

    /// Serves a batch, if there is one.
    pub(super) fn step(&mut self, now: Instant) -> Stepped {
        if self.is_finishing() && self.state != State::Broken {
            return self.finish();
        }
        match self.state {
            State::Asleep | State::Broken => Stepped::Asleep,
            State::Due if self.pace.never() => {
                self.counters.ran();
                self.run()
            }
            State::Due => {
                self.counters.ran();
                match self.task.look() {
                    Looked::Something => self.found(now),
                    Looked::Nothing => self.run(),
                    Looked::Broken => self.broken(),
                }
            }
            State::Looking(until) => match self.task.look() {
                Looked::Something => {
                    self.counters.hit();
                    self.pace.hit();
                    self.found(now)
                }
                Looked::Nothing if now < until => Stepped::Looked,
                Looked::Nothing => {
                    self.counters.missed();
                    self.pace.missed(now);
                    self.run()
                }
                Looked::Broken => self.broken(),
            },
        }
    }

    /// The processor was taken away while it was looked at.
    pub(super) fn give_way(&mut self, now: Instant) {
        if let State::Looking(_) = self.state {
            self.pace.take_rest(now);
            // Looked at once more.
            self.state = State::Looking(now);
        }
    }

    /// Whether it is to be looked at although nothing will wake it.
    pub(super) fn ticks(&self) -> bool {
        let unheard = || matches!(self.kick, Source::Nowhere);
        let busy = || self.ready.is_none() && self.task.is_busy();
        self.is_finishing() || self.state != State::Broken && (unheard() || busy())
    }

    /// Whether it is broken.
    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Somebody wants the task. Says whether nobody did before: who comes first gets nothing.
    pub(super) fn stop(&mut self, reply: SyncSender<Option<Task>>, until: Instant) -> bool {
        let before = self.stopping.replace(Stopping { reply, until });
        before.is_none()
    }

    /// Whether somebody wants the task, and can have it.
    pub(super) fn can_stop(&self) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        self.has_finished() || Instant::now() >= stopping.until
    }

    /// Somebody wants to know when nothing is kept of what was taken.
    pub(super) fn settle(&mut self, reply: SyncSender<Settled>, until: Instant) {
        self.owes |= self.state != State::Asleep;
        self.settling.push(Settling { reply, until });
    }

    /// Tells those that it can be told what they want to know: how many. One that takes longer than it
    /// may is broken.
    pub(super) fn tell_settled(&mut self) -> usize {
        let told = self.settling.len();
        if self.has_finished() {
            for settling in self.settling.drain(..) {
                let _ = settling.reply.send(Settled::Done);
            }
            return told;
        }
        let now = Instant::now();
        if !self.settling.iter().any(|settling| now >= settling.until) {
            return 0;
        }
        self.state = State::Broken;
        for settling in self.settling.drain(..) {
            let _ = settling.reply.send(Settled::Late);
        }
        told
    }

    /// Whether there is something to do that was put off.
    pub(super) fn take_debt(&mut self) -> bool {
        std::mem::take(&mut self.owes)
    }

    /// Whether nothing is kept of what was taken, or will ever be completed.
    fn has_finished(&self) -> bool {
        self.state == State::Broken || !self.task.is_busy()
    }

    /// Whether no more is to be taken for now.
    fn is_finishing(&self) -> bool {
        self.stopping.is_some() || !self.settling.is_empty()
    }

    /// Gives the task to whoever wants it. Says how many waited for something.
    pub(super) fn end(mut self) -> usize {
        let settled = if self.has_finished() {
            Settled::Done
        } else {
            Settled::Late
        };
        let told = self.settling.len();
        for settling in self.settling.drain(..) {
            let _ = settling.reply.send(settled);
        }
        let Some(stopping) = self.stopping else {
            return told;
        };
        // Whoever asked from within does not wait for it.
        let _ = stopping.reply.send(Some(self.task));
        told + 1
    }

    /// Serves what there is and asks for a kick.
    fn run(&mut self) -> Stepped {
        match self.task.run() {
            Ran::More => {
                self.state = State::Due;
                Stepped::Worked
            }
            Ran::Idle => {
                self.state = State::Asleep;
                Stepped::Asleep
            }
            Ran::Broken => self.broken(),
        }
    }

    /// Completes what it can of what was taken.
    fn finish(&mut self) -> Stepped {
        if self.task.finish().is_err() {
            return self.broken();
        }
        self.state = State::Asleep;
        Stepped::Asleep
    }

    /// Work came, and was done: looks for more, or sleeps.
    fn found(&mut self, now: Instant) -> Stepped {
        self.pace
            .came_after(now.saturating_duration_since(self.worked));
        self.worked = now;
        let look = match self.kick {
            // Or the driver would have to wait for a tick.
            Source::Nowhere => self.pace.max(),
            _ => self.pace.look(now),
        };
        if look.is_zero() {
            return self.run();
        }
        self.state = State::Looking(now + look);
        Stepped::Worked
    }

    fn broken(&mut self) -> Stepped {
        self.state = State::Broken;
        Stepped::Asleep
    }
}

impl Source {
    fn watched(epoll: &OwnedFd, data: EventData, descriptor: OwnedFd) -> Self {
        let written_without_end = fstat(&descriptor).is_ok_and(|stat| {
            let kind = FileType::from_raw_mode(stat.st_mode);
            !matches!(
                kind,
                FileType::Fifo | FileType::Socket | FileType::CharacterDevice
            )
        });
        let event = EventFd::from(descriptor);
        let (flags, source): (_, fn(EventFd) -> Self) = if written_without_end {
            (EventFlags::IN | EventFlags::ET, Self::Each)
        } else {
            (EventFlags::IN, Self::Read)
        };
        match epoll::add(epoll, event.as_fd(), data, flags) {
            Ok(()) => source(event),
            Err(_) => Self::Nowhere,
        }
    }
}
