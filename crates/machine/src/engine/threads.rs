//! A thread for each queue.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use ringway_device::task::{Ran, Task};

use super::Key;
use crate::sync::{lock, read, write};

/// Queues that were started, each with its thread.
#[derive(Debug)]
pub(crate) struct Threads {
    queues: RwLock<Queues>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Queues {
    off: bool,
    started: BTreeMap<Key, Arc<Queue>>,
}

/// A queue and the thread that serves it.
#[derive(Debug)]
struct Queue {
    wishes: Arc<Wishes>,
    thread: Thread,
    /// Taken by who joins it. Locked until it has ended: whoever else stops the queue waits, too.
    join: Mutex<Option<JoinHandle<()>>>,
}

/// What is asked of a thread. Set before it is unparked: a thread that parks looks at them after
/// the token that unparking left, so no wish is lost between looking and parking.
#[derive(Debug, Default)]
struct Wishes {
    serve: AtomicBool,
    stop: AtomicBool,
}

impl Threads {
    pub(crate) fn new() -> Self {
        Self {
            queues: RwLock::default(),
            began: Instant::now(),
        }
    }

    pub(crate) fn start(&self, key: Key, task: Task) {
        let mut queues = write(&self.queues);
        if queues.off {
            return;
        }
        let wishes = Arc::<Wishes>::default();
        let spawned = thread::Builder::new()
            .name(format!("device {} queue {}", key.0, key.1))
            .spawn({
                let wishes = Arc::clone(&wishes);
                move || serve(task, &wishes)
            });
        // Without a thread the queue is never served: its driver times out.
        if let Ok(handle) = spawned {
            let queue = Queue {
                wishes,
                thread: handle.thread().clone(),
                join: Mutex::new(Some(handle)),
            };
            let replaced = queues.started.insert(key, Arc::new(queue));
            drop(queues);
            // Only a carrier that does not keep to its contract starts a queue twice.
            if let Some(queue) = replaced {
                queue.stop();
            }
        }
    }

    pub(crate) fn kick(&self, key: Key) {
        if let Some(queue) = read(&self.queues).started.get(&key)
            && !queue.wishes.serve.swap(true, Ordering::AcqRel)
        {
            queue.thread.unpark();
        }
    }

    pub(crate) fn stop(&self, key: Key) {
        let Some(queue) = read(&self.queues).started.get(&key).cloned() else {
            return;
        };
        queue.stop();
        let mut queues = write(&self.queues);
        if queues
            .started
            .get(&key)
            .is_some_and(|now| Arc::ptr_eq(now, &queue))
        {
            queues.started.remove(&key);
        }
    }

    pub(crate) fn off(&self) {
        let started = {
            let mut queues = write(&self.queues);
            queues.off = true;
            core::mem::take(&mut queues.started)
        };
        for queue in started.values() {
            queue.stop();
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Queue {
    fn stop(&self) {
        self.wishes.stop.store(true, Ordering::Release);
        self.thread.unpark();
        let mut join = lock(&self.join);
        let ended = join.take().map(JoinHandle::join);
        drop(join);
        // A device model that panicked is not to go unnoticed.
        if let Some(Err(panicked)) = ended
            && !thread::panicking()
        {
            panic::resume_unwind(panicked);
        }
    }
}

/// Serves a queue until it is to stop.
fn serve(mut task: Task, wishes: &Wishes) {
    let mut more = true;
    while !wishes.stop.load(Ordering::Acquire) {
        if !wishes.serve.swap(false, Ordering::AcqRel) && !more {
            thread::park();
            continue;
        }
        match task.run() {
            // What it keeps is done elsewhere, and no kick says when.
            Ran::Idle if task.is_busy() => {
                more = true;
                thread::yield_now();
            }
            Ran::Idle => more = false,
            Ran::More => more = true,
            Ran::Broken => return,
        }
    }
}
