//! Time for cards whose notifications wait.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringway_device::net::{Alarm, Clock};

/// A clock with a thread, which sleeps until an alarm is due. Any number of cards may have it.
pub struct Timer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What is called when an alarm goes off.
type Due = Arc<dyn Fn() + Send + Sync>;

struct Shared {
    began: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Alarms that are set, by when they go off and by their number. One of each that there is.
    set: BTreeMap<(Duration, u64), Due>,
    /// The number of the next alarm.
    next: u64,
    off: bool,
}

/// An alarm of a [`Timer`].
struct Bell {
    shared: Arc<Shared>,
    number: u64,
    due: Due,
    /// What it was set to last.
    at: Duration,
}

impl Timer {
    /// A clock that begins now.
    ///
    /// # Errors
    ///
    /// That of the system, if there is no thread for it.
    pub fn new() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let thread = thread::Builder::new().name("timer".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run()
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.lock().off = true;
        self.shared.changed.notify_all();
        let this = thread::current().id();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != this
        {
            // It calls what it is told to, and has nothing to say if that panics.
            let _ = thread.join();
        }
    }
}

impl Clock for Timer {
    fn now(&self) -> Duration {
        self.shared.began.elapsed()
    }

    fn alarm(&self, due: Box<dyn Fn() + Send + Sync>) -> Box<dyn Alarm> {
        let mut state = self.shared.lock();
        let number = state.next;
        state.next = number.wrapping_add(1);
        Box::new(Bell {
            shared: Arc::clone(&self.shared),
            number,
            due: due.into(),
            at: Duration::ZERO,
        })
    }
}

impl Alarm for Bell {
    fn set(&mut self, at: Duration) {
        let mut state = self.shared.lock();
        state.set.remove(&(self.at, self.number));
        let first = state.set.keys().next().copied();
        state.set.insert((at, self.number), Arc::clone(&self.due));
        self.at = at;
        if first.is_none_or(|(first, _)| at < first) {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.shared.lock().set.remove(&(self.at, self.number));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls what is due, until the clock goes.
    fn run(&self) {
        let mut state = self.lock();
        while !state.off {
            let Some(first) = state.set.keys().next().copied() else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = first.0.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                let due = state.set.remove(&first);
                drop(state);
                due.into_iter().for_each(|due| due());
                state = self.lock();
            } else {
                let waited = self.changed.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Long enough for any of this, on any machine.
    const LIMIT: Duration = Duration::from_secs(30);

    fn alarm(timer: &Timer, name: u8, to: &mpsc::Sender<(u8, Duration)>) -> Box<dyn Alarm> {
        let (to, shared) = (Mutex::new(to.clone()), Arc::clone(&timer.shared));
        timer.alarm(Box::new(move || {
            let _ = to.lock().unwrap().send((name, shared.began.elapsed()));
        }))
    }

    #[test]
    fn alarms_go_off_in_the_order_of_their_times_and_not_before() {
        let timer = Timer::new().unwrap();
        let (to, from) = mpsc::channel();
        let mut alarms = [0, 1, 2].map(|name| alarm(&timer, name, &to));
        let begin = timer.now();

        for (alarm, millis) in alarms.iter_mut().zip([30, 10, 20]) {
            alarm.set(begin + Duration::from_millis(millis));
        }
        let heard = [(); 3].map(|()| from.recv_timeout(LIMIT).unwrap());

        assert_eq!(heard.map(|(name, _)| name), [1, 2, 0]);
        for ((_, at), millis) in heard.iter().zip([10, 20, 30]) {
            assert!(*at >= begin + Duration::from_millis(millis));
        }
    }

    #[test]
    fn an_alarm_goes_off_once_when_it_was_set_to_last_and_never_when_it_is_gone() {
        let timer = Timer::new().unwrap();
        let (to, from) = mpsc::channel();
        let (mut moved, mut gone) = (alarm(&timer, 0, &to), alarm(&timer, 1, &to));
        let mut last = alarm(&timer, 2, &to);
        let begin = timer.now();

        moved.set(begin + LIMIT);
        moved.set(begin + Duration::from_millis(5));
        gone.set(begin + Duration::from_millis(10));
        drop(gone);
        last.set(begin + Duration::from_millis(20));
        let heard = [(); 2].map(|()| from.recv_timeout(LIMIT).unwrap().0);

        assert_eq!(heard, [0, 2]);
        assert!(from.try_recv().is_err());
        assert!(timer.shared.lock().set.is_empty());
    }
}
