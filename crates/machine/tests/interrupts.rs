//! Interrupts as drivers meet them: vectors that run out, lines that are shared, futures that are
//! woken.
#![cfg(test)]

use core::num::NonZeroU16;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Instant;

use ringway_device::Result;
use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::entropy::{self, Entropy};
use ringway_driver::blk::Blk;
use ringway_driver::bringup::{Acknowledged, Interrupts, Wanted};
use ringway_driver::bus::attach;
use ringway_driver::dma::{Callback, QueueOptions};
use ringway_driver::entropy::Rng;
use ringway_driver::interrupt::Processors;
use ringway_driver::pci::{self, Pci, Preference};
use ringway_machine::{Machine, Options, Platform, Run, Source, Step};

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

impl entropy::Source for Same {
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

/// A disk of `queues` request queues, and its driver, which has a callback for each as said.
fn disk(run: Run, vectors: u16, callbacks: &[Callback]) -> (Machine, Blk<Pci<Platform>>) {
    let queues = NonZeroU16::new(callbacks.len() as u16).unwrap();
    let device = BlkDevice::new(Arc::new(RamDisk::new(64)), queues.get());
    let options = Options {
        vectors: Some(vectors),
        ..Options::default()
    };
    let builder = Machine::builder().run(run);
    let machine = builder
        .pci("disk", Box::new(device), options)
        .build()
        .unwrap();
    let platform = machine.platform();
    let function = pci::scan(&platform).next().unwrap();
    let transport = pci::open(&platform, &function, Preference::ModernFirst).unwrap();
    let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
    let disk = Blk::open_with(probed, &Wanted::default(), queues, |index| QueueOptions {
        callback: callbacks[usize::from(index)],
        ..QueueOptions::default()
    });
    (machine, disk.unwrap())
}

/// Drivers' defect 16: whoever waits for a queue is woken by its interrupt.
#[test]
fn every_way_of_interrupts_reaches_every_queue_that_has_a_callback() {
    use Callback::{None, Own, Slow};
    let ways = [
        (5, Interrupts::Each, [Own, Slow, Own, Own]),
        (4, Interrupts::SlowShared, [Own, Slow, Own, Own]),
        (4, Interrupts::Each, [Own, Slow, None, Own]),
        (3, Interrupts::Shared, [Own, Slow, Own, Own]),
        (1, Interrupts::One, [Own, Slow, Own, Own]),
        (0, Interrupts::Line, [Own, Slow, Own, Own]),
    ];
    for run in RUNS {
        for (vectors, expected, callbacks) in ways {
            let (machine, mut disk) = disk(run, vectors, &callbacks);
            let platform = machine.platform();

            let mut others = disk.take_others();
            for _ in 0..4 {
                disk.read(0, vec![0xff; 512].into()).unwrap();
                disk.kick().unwrap();
                let done = block_on(&platform, disk.next()).unwrap();
                assert_eq!(done.result, Ok(()));
                for (requests, callback) in others.iter_mut().zip(&callbacks[1..]) {
                    requests.read(1, vec![0xff; 512].into()).unwrap();
                    requests.kick().unwrap();
                    let done = match callback {
                        None => requests.wait(LIMIT),
                        Own | Slow => block_on(&platform, requests.next()),
                    };
                    assert_eq!(done.unwrap().result, Ok(()));
                }
            }

            assert_eq!(disk.device().interrupts(), expected, "{run:?}");
            assert_eq!(machine.interrupts().lost, 0, "{run:?}");
        }
    }
}

/// What `/proc/interrupts` would have.
#[test]
fn interrupts_are_listed_by_their_names_with_where_they_are_bound() {
    let (machine, mut disk) = disk(Run::Inline { seed: 1 }, 3, &[Callback::Own; 2]);
    let second = Processors::only(1).unwrap();

    disk.device().set_affinity(1, &second).unwrap();

    assert_eq!(disk.device().affinity(0), Ok(Processors::ANY));
    assert_eq!(disk.device().affinity(1), Ok(second));
    let connected = machine.connected();
    let rows = connected
        .iter()
        .map(|row| (row.source, row.name.to_string(), row.processors));
    let expected = [
        (Source::Vector(0), "virtio-config", Processors::ANY),
        (Source::Vector(1), "virtio-request.0", Processors::ANY),
        (Source::Vector(2), "virtio-request.1", second),
    ];
    let expected = expected.map(|(source, name, bound)| (source, name.to_owned(), bound));
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    drop(disk);
    assert!(machine.connected().is_empty());
}

/// Two devices, one after the other: each is asked, and says whether it was it.
#[test]
fn of_two_devices_on_a_line_only_the_one_that_raised_it_hears_of_it() {
    let options = Options {
        vectors: Some(0),
        ..Options::default()
    };
    // Lines go round: the first and the fifth device are on one.
    let (machine, mut drivers) = machine(Run::Inline { seed: 1 }, 64, 5, &options);
    let rows = machine.connected();
    let on_one_line = |source| rows.iter().filter(|row| row.source == source).count();
    assert_eq!(
        rows.iter().map(|row| on_one_line(row.source)).max(),
        Some(2)
    );

    for _ in 0..4 {
        drivers[0].request(vec![0xff; 8].into()).unwrap();
        drivers[0].kick().unwrap();
        block_on(&machine.platform(), drivers[0].next()).unwrap();
    }

    assert_ne!(drivers[0].counts().interrupts, 0);
    let others = drivers[1..].iter().map(|rng| rng.counts().interrupts);
    assert_eq!(others.sum::<u32>(), 0);
}
