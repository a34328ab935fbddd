//! Interrupts as drivers meet them: vectors that run out, lines that are shared, futures that are
//! woken.
#![cfg(test)]

use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Instant;

use ringway_device::Result;
use ringway_device::entropy::{Entropy, Source};
use ringway_driver::bringup::Interrupts;
use ringway_driver::bus::attach;
use ringway_driver::entropy::Rng;
use ringway_driver::pci::{self, Pci, Preference};
use ringway_machine::{Machine, Options, Platform, Run, Step};

const LIMIT: Duration = Duration::from_secs(30);

/// Threads, and a few orders of steps.
const RUNS: [Run; 4] = [
    Run::Threaded,
    Run::Inline { seed: 1 },
    Run::Inline { seed: 2 },
    Run::Inline { seed: 3 },
];

/// Every byte the same.
struct Same(u8);

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> Result {
        into.fill(self.0);
        Ok(())
    }
}

/// A machine with as many sources of entropy, the first of which gives zeroes, the next ones, and
/// so on, and the drivers of all.
fn machine(
    run: Run,
    vectors: u16,
    devices: u8,
    options: &Options,
) -> (Machine, Vec<Rng<Pci<Platform>>>) {
    let builder = Machine::builder().run(run).vectors(vectors);
    let machine = (0..devices)
        .fold(builder, |builder, byte| {
            let device = Box::new(Entropy::new(Same(byte)));
            builder.pci(&format!("rng {byte}"), device, options.clone())
        })
        .build()
        .unwrap();
    let platform = machine.platform();
    let drivers = pci::scan(&platform)
        .map(|function| {
            attach(pci::open(&platform, &function, Preference::ModernFirst).unwrap()).unwrap()
        })
        .collect();
    (machine, drivers)
}

/// Remembers that a future was woken, and unparks the thread that has it.
struct Woken {
    flag: AtomicBool,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// The smallest executor: on an inline machine, it makes things happen until the future is woken.
/// An interrupt that gets lost ends it.
fn block_on<F: Future>(platform: &Platform, future: F) -> F::Output {
    let woken = Arc::new(Woken {
        flag: AtomicBool::new(false),
        thread: thread::current(),
    });
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let asleep = Instant::now();
        while !woken.flag.swap(false, Ordering::SeqCst) {
            match platform.step() {
                Some(step) => assert_ne!(step, Step::Idle, "nothing will ever wake the future"),
                None => thread::park_timeout(LIMIT),
            }
            assert!(asleep.elapsed() < LIMIT, "nothing has woken the future");
        }
    }
}

/// Uses all devices at once, several times, and waits for each in turn: by interrupts alone.
fn use_all(platform: &Platform, drivers: &mut [Rng<Pci<Platform>>]) {
    for _ in 0..4 {
        for rng in &mut *drivers {
            rng.request(vec![0xff; 8].into()).unwrap();
            rng.kick().unwrap();
        }
        for (byte, rng) in (0..).zip(&mut *drivers) {
            let filled = block_on(platform, rng.next()).unwrap();
            assert_eq!(*filled.buffer, [byte; 8]);
        }
    }
}

#[test]
fn vectors_that_run_out_are_shared_and_then_lines_do() {
    for run in RUNS {
        let (machine, mut drivers) = machine(run, 5, 4, &Options::default());

        use_all(&machine.platform(), &mut drivers);

        let ways: Vec<_> = drivers
            .iter_mut()
            .map(|rng| rng.device().interrupts())
            .collect();
        use Interrupts::{Each, Line, One};
        assert_eq!(ways, [Each, Each, One, Line], "{run:?}");
        assert_eq!(machine.interrupts().lost, 0, "{run:?}");
        // What one gives back, the next can have.
        drop(drivers.remove(0));
        let first = pci::scan(&machine.platform()).next().unwrap();
        let mut again: Rng<_> =
            attach(pci::open(&machine.platform(), &first, Preference::ModernFirst).unwrap())
                .unwrap();
        assert_eq!(again.device().interrupts(), Each, "{run:?}");
    }
}

#[test]
fn devices_that_share_a_line_are_all_heard() {
    for run in RUNS {
        let options = Options {
            vectors: Some(0),
            ..Options::default()
        };
        // Of nine devices on four lines, three are on one of them.
        let (machine, mut drivers) = machine(run, 64, 9, &options);

        use_all(&machine.platform(), &mut drivers);

        for rng in &mut drivers {
            assert_eq!(rng.device().interrupts(), Interrupts::Line);
        }
        drop(drivers);
        assert_eq!(machine.platform().ram_used(), 0, "{run:?}");
    }
}
