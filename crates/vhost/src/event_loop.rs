//! One thread that serves rings: those of one device, or of several.
//!
//! It sleeps in `epoll_wait` until a ring is kicked, a worker can go on, or something is
//! [asked](Handle) of it. What kicks is not read where that can be helped: a counter that is
//! written to wakes anew each time. After a batch it may look at a ring for some time before it
//! sleeps, without the driver having to kick, as long as that pays.
//!
//! Serving takes no lock and allocates nothing. A ring that always has more to do is served in turn
//! with the others, and so is what is asked.

mod counters;
mod desk;
mod pace;
mod ring;
mod turns;

use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};

use ringway_device::task::{Runner, Task};

use desk::{Desk, Order};
use turns::Turns;

pub use counters::Counts;

/// Which ring: of which device, a number that whoever starts it chooses, and of which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The device.
    pub device: usize,
    /// The queue.
    pub queue: u16,
}

/// What tells that a ring has chains.
#[derive(Debug, Default)]
pub enum Kick {
    /// [`Handle::kick`].
    #[default]
    Called,
    /// This becoming readable, or [`Handle::kick`]. An `eventfd`, or what has the same effect.
    Readable(OwnedFd),
    /// Nothing: the ring is looked at from time to time.
    Nothing,
}

impl From<Option<OwnedFd>> for Kick {
    fn from(descriptor: Option<OwnedFd>) -> Self {
        descriptor.map_or(Self::Called, Self::Readable)
    }
}

/// How a loop behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The longest that a ring is looked at after its last batch, before the loop sleeps. None to
    /// sleep at once. Where a process may use one processor only, that is so in any case, unless the
    /// driver is [elsewhere](Neighbour): while the loop looks, it could do nothing.
    pub look_max: Duration,
    /// How long a task that keeps chains may take to complete them once it is to stop.
    pub stop_max: Duration,
}

/// Where a driver runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Neighbour {
    /// On the processor of the loop, perhaps, if the loop's process may use one only.
    #[default]
    Unknown,
    /// On another processor.
    Elsewhere,
}

/// Longer than a disk takes, and no reason for a front-end to give up.
pub const STOP_MAX: Duration = Duration::from_secs(10);

impl Default for Options {
    fn default() -> Self {
        Self {
            look_max: Duration::from_micros(50),
            stop_max: STOP_MAX,
        }
    }
}

/// The loop. Ends when it is dropped; then its tasks are dropped, too.
#[derive(Debug)]
pub struct EventLoop {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl EventLoop {
    /// Starts one, on a thread with this name.
    ///
    /// # Errors
    ///
    /// What the system says: it has no room for a thread, or too many descriptors.
    pub fn spawn(name: &str, options: Options) -> io::Result<Self> {
        let desk = Arc::new(Desk::new()?);
        let turns = Turns::new(Arc::clone(&desk), options)?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || turns.go_on())?;
        desk.served_by(thread.thread().id());
        Ok(Self {
            handle: Handle(desk),
            thread: Some(thread),
        })
    }

    /// What is asked of it through.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        self.handle.0.order(Order::End);
        // A device model that panicked is not to go unnoticed.
        if let Some(Err(panicked)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            panic::resume_unwind(panicked);
        }
    }
}

/// Asks a loop for things, from any thread. What is asked is done in its order. Once the loop has
/// ended, nothing is.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Desk>);

impl Handle {
    /// Has the ring served from here on. One that has the same key is stopped, and its task is
    /// dropped.
    pub fn start(&self, ring: Key, task: Task, kick: impl Into<Kick>) {
        self.0.order(Order::Start {
            ring,
            task: Box::new(task),
            kick: kick.into(),
        });
    }

    /// Has the ring looked at. Ignored if there is none.
    pub fn kick(&self, ring: Key) {
        self.0.kick(ring);
    }

    /// Replaces what tells that the ring has chains, and has it looked at. Ignored if there is none.
    pub fn set_kick(&self, ring: Key, kick: impl Into<Kick>) {
        let kick = kick.into();
        self.0.order(Order::SetKick { ring, kick });
    }

    /// Stops the ring, and returns its task, if there is one: it does not run then, and never will.
    /// A task that keeps chains has [some time](Options::stop_max) to complete them; one that needs longer comes back
    /// [busy](Task::is_busy).
    ///
    /// A task that asks for this from within gets nothing: the ring is stopped when it has run.
    pub fn stop(&self, ring: Key) -> Option<Task> {
        self.0.stop(ring)
    }

    /// Has the ring complete what it has taken, and take nothing more meanwhile; then it goes on. For
    /// whoever takes memory back of what a driver asked for before. What takes longer than a task has
    /// to [stop](Options::stop_max) breaks the ring: it is served no more.
    pub fn settle(&self, ring: Key) -> Settling {
        Settling(self.0.settle(ring))
    }

    /// Says where the driver is of rings that are started from here on.
    pub fn set_neighbour(&self, neighbour: Neighbour) {
        self.0.set_neighbour(neighbour);
    }

    /// What has happened on the ring, since there first was one with its key.
    pub fn counts(&self, ring: Key) -> Counts {
        self.0.counters(ring).counts()
    }

    /// For a carrier: serves the rings of one device.
    pub fn runner(&self, device: usize) -> Port {
        Port {
            handle: self.clone(),
            device,
        }
    }
}

/// What was asked of a ring that is to [settle](Handle::settle).
#[derive(Debug)]
pub struct Settling(Receiver<Settled>);

/// What became of what a ring had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is completed, or there was nothing.
    Done,
    /// It took too long, and the ring is broken.
    Late,
}

impl Settling {
    /// Waits for it.
    pub fn wait(self) -> Settled {
        // A loop that has ended has nothing.
        self.0.recv().unwrap_or(Settled::Done)
    }
}

/// Serves the rings of one device, kicked by calls.
#[derive(Clone, Debug)]
pub struct Port {
    handle: Handle,
    device: usize,
}

impl Port {
    fn key(&self, queue: u16) -> Key {
        Key {
            device: self.device,
            queue,
        }
    }
}

impl Runner for Port {
    fn start(&self, index: u16, task: Task) {
        self.handle.start(self.key(index), task, Kick::Called);
    }

    fn kick(&self, index: u16) {
        self.handle.kick(self.key(index));
    }

    fn stop(&self, index: u16) {
        drop(self.handle.stop(self.key(index)));
    }
}

#[cfg(test)]
mod tests;
