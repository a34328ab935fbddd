//! The smallest executor there is: one future, on the thread that waits for it.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use ringway_driver::interrupt::Signal;
use ringway_driver::platform::Platform;

/// Runs `future` on this thread, which waits as `platform` does. `None` if it is not ready within
/// `limit`.
pub fn block_on<P: Platform, F: Future>(
    platform: &P,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    let woken = Arc::new(Woken(Signal::default()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = platform.now().saturating_add(limit);
    loop {
        // Counted before the future looks: what wakes it in between is not slept through.
        let seen = woken.0.count();
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if platform.now() >= deadline {
            return None;
        }
        if woken.0.count() == seen {
            platform.wait(&woken.0, seen);
        } else {
            // It woke itself: no interrupt will tell it when to look again.
            platform.relax();
        }
    }
}

/// Raised when the future wants to be polled.
struct Woken(Signal);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }
}

#[cfg(test)]
mod tests {
    use core::future::{pending, poll_fn, ready};

    use ringway_machine::{Machine, Run};

    use super::*;

    /// Long, in virtual time.
    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_future_is_polled_until_it_is_ready_however_often_it_wakes_itself() {
        let machine = Machine::builder().run(Run::Inline { seed: 1 });
        let machine = machine.build().unwrap();
        let mut left = 3;

        let counted = poll_fn(|cx| {
            cx.waker().wake_by_ref();
            left -= 1;
            if left == 0 {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        });

        assert_eq!(block_on(&machine.platform(), LIMIT, ready(1)), Some(1));
        assert_eq!(block_on(&machine.platform(), LIMIT, counted), Some(7));
    }

    #[test]
    fn a_future_that_is_never_ready_is_given_up() {
        let machine = Machine::builder().run(Run::Inline { seed: 1 });
        let machine = machine.build().unwrap();

        let output = block_on(&machine.platform(), LIMIT, pending::<()>());

        assert_eq!(output, None);
        assert!((LIMIT..2 * LIMIT).contains(&machine.platform().now()));
    }
}
