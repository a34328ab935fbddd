//! Back-ends that do as they please.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringway_spec::Features;
use ringway_vhost::frontend::{Error, Options, Reconnect, Transport};

use crate::fake::{self, FAULTS, Fault};
use crate::served::{bring_up, options, platform};

/// Brings a disk up, and resets it. What becomes of that is the back-end's doing; how long it may
/// take, ours. Says how often the back-end was asked.
pub(crate) fn history(fault: Option<(usize, Fault)>) -> (usize, bool) {
    let platform = platform();
    let thread = Arc::new(Mutex::new(None));
    let started = thread.clone();
    let connect = move || {
        let (ours, theirs) = UnixStream::pair()?;
        *started.lock().unwrap() = Some(fake::serve(theirs, fault));
        Ok(ours)
    };
    let options = Options {
        // A busy machine may take its time, too, and is not at fault.
        answer_limit: match fault {
            None => Duration::from_secs(5),
            Some(_) => Duration::from_millis(100),
        },
        reconnect: Reconnect::NEVER,
        ..options()
    };
    let up = Transport::connect_by(&platform, connect, options)
        .map_err(|error| error.to_string())
        .and_then(|transport| {
            bring_up(transport, Features::NONE).map_err(|error| error.to_string())
        });
    let came_up = up.is_ok();
    drop(up);
    let thread = thread.lock().unwrap().take().unwrap();
    (thread.join().unwrap(), came_up)
}

#[test]
fn one_fault_in_any_answer_is_an_error_in_time_or_none_at_all() {
    let (answers, came_up) = history(None);
    assert!(came_up && answers > 20, "{answers} answers");

    let every_answer = |fault| {
        for at in 0..answers {
            let began = Instant::now();

            let (asked, _) = history(Some((at, fault)));

            let took = began.elapsed();
            assert!(asked > at, "{fault:?} at answer {at} was never reached");
            // A reset that is not confirmed is waited for, for a second.
            assert!(
                took < Duration::from_secs(10),
                "{fault:?} at {at}: {took:?}"
            );
        }
    };
    // They wait, most of the time.
    thread::scope(|scope| {
        for fault in FAULTS {
            scope.spawn(move || every_answer(fault));
        }
    });
}

#[test]
fn a_back_end_that_says_nothing_at_all_is_no_device() {
    let platform = platform();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut once = Some(ours);
    let connect = move || {
        once.take()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let options = Options {
        answer_limit: Duration::from_millis(100),
        ..options()
    };

    let refused = Transport::connect_by(&platform, connect, options).err();

    assert!(matches!(refused, Some(Error::Silent { .. })), "{refused:?}");
}

/// A back-end that is asked to let go, and does not answer, may go on with the memory.
#[test]
fn memory_of_a_back_end_that_does_not_confirm_a_reset_is_nobodys_any_more() {
    let platform = platform();
    let (answers, _) = history(None);
    let used = |fault| {
        let before = platform.leak().queues;
        let connect = move || {
            let (ours, theirs) = UnixStream::pair()?;
            fake::serve(theirs, fault);
            Ok(ours)
        };
        let options = Options {
            answer_limit: Duration::from_millis(100),
            reconnect: Reconnect::NEVER,
            ..options()
        };
        let transport = Transport::connect_by(&platform, connect, options).unwrap();
        drop(bring_up(transport, Features::NONE).unwrap());
        platform.leak().queues - before
    };

    let confirmed = used(None);
    // The last answers are those to the reset.
    let silent = used(Some((answers - 2, Fault::Silence)));
    let closed = used(Some((answers - 2, Fault::Close)));

    assert_eq!((confirmed, silent, closed), (0, 1, 0));
}
