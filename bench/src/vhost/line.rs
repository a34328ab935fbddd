//! How far two processors are apart: the time of a cache line's way there and back.

use core::sync::atomic::{AtomicU64, Ordering};
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::packet::{Processors, keep_on};

/// Round trips of a sample, of which the fastest counts: in the others somebody else had a processor.
const TRIPS: u64 = 200;
const SAMPLES: u64 = 200;

/// One line, or the two that are fetched together.
#[repr(align(128))]
struct Line(AtomicU64);

/// Nanoseconds from a store here until an answer from there is seen.
///
/// # Errors
///
/// A thread cannot be kept on its processor.
pub(super) fn round_trip(processors: Processors) -> io::Result<f64> {
    let line = Arc::new(Line(AtomicU64::new(0)));
    let there = {
        let line = Arc::clone(&line);
        thread::spawn(move || {
            let kept = keep_on(processors.rest);
            // Even when it is not kept there: whoever waits for an answer gets it.
            for trip in 0..SAMPLES * TRIPS {
                wait_for(&line, 2 * trip + 1);
                line.0.store(2 * trip + 2, Ordering::Release);
            }
            kept
        })
    };
    let kept = keep_on(processors.work);
    let mut fastest = f64::INFINITY;
    for sample in 0..SAMPLES {
        let start = Instant::now();
        for trip in sample * TRIPS..(sample + 1) * TRIPS {
            line.0.store(2 * trip + 1, Ordering::Release);
            wait_for(&line, 2 * trip + 2);
        }
        let each = start.elapsed().as_secs_f64() * 1e9 / TRIPS as f64;
        fastest = fastest.min(each);
    }
    there.join().map_err(|_| io::ErrorKind::Other)??;
    kept.map(|()| fastest)
}

fn wait_for(line: &Line, value: u64) {
    while line.0.load(Ordering::Acquire) != value {
        core::hint::spin_loop();
    }
}
