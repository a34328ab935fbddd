//! What is asked of a loop, and has not been done.

use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, ThreadId};

use ringway_device::task::Task;

use super::counters::Counters;
use super::{Key, Kick, Neighbour, Settled};
use crate::eventfd::EventFd;
use crate::sync::lock;

/// Where orders are left, and the loop finds them.
#[derive(Debug)]
pub(super) struct Desk {
    /// Readable when there is something.
    pub(super) bell: EventFd,
    /// Whether there is something: looked at without the lock.
    something: AtomicBool,
    /// Whether drivers run on other processors.
    elsewhere: AtomicBool,
    papers: Mutex<Papers>,
    loop_thread: OnceLock<ThreadId>,
}

#[derive(Debug, Default)]
struct Papers {
    /// The loop has ended: nothing is left here any more.
    closed: bool,
    left: Left,
    counters: BTreeMap<Key, Arc<Counters>>,
}

/// What was left for the loop.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) orders: Vec<Order>,
    /// A ring that is kicked again before that was seen is here once.
    pub(super) kicks: BTreeSet<Key>,
}

/// What is asked.
pub(super) enum Order {
    Start {
        ring: Key,
        task: Box<Task>,
        kick: Kick,
    },
    SetKick {
        ring: Key,
        kick: Kick,
    },
    Stop {
        ring: Key,
        reply: SyncSender<Option<Task>>,
    },
    Settle {
        ring: Key,
        reply: SyncSender<Settled>,
    },
    End,
}

impl Desk {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            bell: EventFd::new()?,
            something: AtomicBool::new(false),
            elsewhere: AtomicBool::new(false),
            papers: Mutex::default(),
            loop_thread: OnceLock::new(),
        })
    }

    /// Says which thread the loop's is.
    pub(super) fn served_by(&self, thread: ThreadId) {
        self.loop_thread.get_or_init(|| thread);
    }

    /// Said before the order to start a ring.
    pub(super) fn set_neighbour(&self, neighbour: Neighbour) {
        let elsewhere = neighbour == Neighbour::Elsewhere;
        self.elsewhere.store(elsewhere, Ordering::SeqCst);
    }

    pub(super) fn neighbour(&self) -> Neighbour {
        if self.elsewhere.load(Ordering::SeqCst) {
            Neighbour::Elsewhere
        } else {
            Neighbour::Unknown
        }
    }

    pub(super) fn order(&self, order: Order) {
        let mut papers = self.papers();
        if papers.closed {
            drop(papers);
            // Not with the lock held: there may be a task in it.
            drop(order);
            return;
        }
        papers.left.orders.push(order);
        drop(papers);
        self.ring_the_bell();
    }

    pub(super) fn kick(&self, ring: Key) {
        let mut papers = self.papers();
        if !papers.closed && papers.left.kicks.insert(ring) {
            drop(papers);
            self.ring_the_bell();
        }
    }

    pub(super) fn stop(&self, ring: Key) -> Option<Task> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.order(Order::Stop { ring, reply });
        if self.loop_thread.get() == Some(&thread::current().id()) {
            // There would never be an answer.
            return None;
        }
        // None either if the loop ends: the order is dropped.
        answer.recv().ok().flatten()
    }

    /// Where it is heard that what the ring had taken is completed.
    pub(super) fn settle(&self, ring: Key) -> Receiver<Settled> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.order(Order::Settle { ring, reply });
        answer
    }

    pub(super) fn counters(&self, ring: Key) -> Arc<Counters> {
        Arc::clone(self.papers().counters.entry(ring).or_default())
    }

    /// Whether something was left. To be asked as often as one likes.
    #[inline]
    pub(super) fn has_something(&self) -> bool {
        self.something.load(Ordering::Acquire)
    }

    /// Takes what was left.
    pub(super) fn take(&self) -> Left {
        let mut papers = self.papers();
        self.something.store(false, Ordering::Release);
        mem::take(&mut papers.left)
    }

    /// Takes no more, and drops what was left: who waits for an answer gets none.
    pub(super) fn close(&self) {
        let mut papers = self.papers();
        papers.closed = true;
        let left = mem::take(&mut papers.left);
        drop(papers);
        drop(left);
    }

    fn ring_the_bell(&self) {
        // Whoever left something before has rung, and the loop has not come yet.
        if !self.something.swap(true, Ordering::AcqRel) {
            self.bell.signal();
        }
    }

    fn papers(&self) -> MutexGuard<'_, Papers> {
        // Whole between any two statements, whoever panicked.
        lock(&self.papers)
    }
}

impl core::fmt::Debug for Order {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Start { ring, .. } => write!(f, "Start({ring:?})"),
            Self::SetKick { ring, .. } => write!(f, "SetKick({ring:?})"),
            Self::Stop { ring, .. } => write!(f, "Stop({ring:?})"),
            Self::Settle { ring, .. } => write!(f, "Settle({ring:?})"),
            Self::End => f.write_str("End"),
        }
    }
}
