//! The image tries itself: that what the drivers stand on holds, and that every way to fail becomes
//! a report.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::{black_box, spin_loop};
use core::iter;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ringway_driver::pci::{Address, ConfigAccess};
use ringway_guest::interrupts::{self, Handler, Trigger};
use ringway_guest::time::{self, SECOND};
use ringway_guest::{failure, memory, pci, serial, watchdog};

mod raw;

/// What is checked, and how.
type Check = (&'static str, fn() -> bool);

/// Longest wait for an interrupt that is on its way, in nanoseconds.
const PATIENCE: u64 = 10 * SECOND;

/// Runs the self-test `which`, and says whether every check of it held. All but `ok` are meant to
/// end the machine.
pub(crate) fn run(which: &str) -> bool {
    match which {
        "ok" => checks(),
        "panic" => panic!("as \"asked\""),
        "exception" => {
            failure::provoke_exception();
            false
        }
        "stack" => black_box(overflow(0)) != 0,
        "memory" => black_box(vec![0u8; 1 << 40]).is_empty(),
        "hang" => hang(),
        // With interrupts off, where no tick comes any more.
        "deadlock" => interrupts::without(hang),
        _ => failure::fail("setup", format_args!("there is no selftest {which:?}")),
    }
}

fn checks() -> bool {
    let checks: [Check; _] = [
        ("the clock and the tick agree", clock_and_tick),
        ("the watchdog looks", watchdog_looks),
        ("a handler runs once for each interrupt", handler_runs),
        ("a vector has one handler", one_handler),
        ("an edge-triggered line reaches its handler", serial_line),
        (
            "a handler may use the heap while the program does",
            heap_in_handler,
        ),
        ("the heap keeps what is in it", heap_keeps),
        (
            "blocks for devices are whole pages, zeroed, and come back",
            blocks,
        ),
        ("memory is copied, set and compared byte by byte", bytes),
        (
            "nothing answers where there is no PCI function",
            nothing_answers,
        ),
    ];
    let mut ok = true;
    for (what, check) in checks {
        ok &= report(what, check());
    }
    for (what, held) in raw::checks() {
        ok &= report(what, held);
    }
    ok & report("no interrupt went astray", interrupts::stray() == 0)
}

fn report(what: &str, ok: bool) -> bool {
    watchdog::pet();
    serial::print(serial::event("check").text("what", what).flag("ok", ok));
    ok
}

/// Never returns: the watchdog ends it.
fn hang() -> bool {
    loop {
        spin_loop();
    }
}

/// Recursion without end, on a stack that has one.
#[expect(unconditional_recursion, reason = "it is meant to overflow the stack")]
fn overflow(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    overflow(depth + 1) + black_box(frame)[0]
}

/// Ticks may be late, and those the host slept over are lost, but there are never more of them than
/// fit.
fn clock_and_tick() -> bool {
    let (start, before) = (time::now(), time::ticks());
    let came = time::wait(PATIENCE, || time::ticks() - before >= 10);
    let passed = time::now() - start;
    // One that was due before, and the rates' own error of measurement.
    let most = (passed + passed / 50) / time::TICK + 2;
    came && time::ticks() - before <= most
}

fn watchdog_looks() -> bool {
    let before = watchdog::looks();
    time::wait(PATIENCE, || watchdog::looks() > before)
}

/// A handler that counts its calls.
fn counter() -> (Arc<AtomicU64>, Handler) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    (count, Arc::new(move || _ = counted.fetch_add(1, Relaxed)))
}

/// Waits until `count` has come to `n`, or longer than anything takes.
fn arrived(count: &AtomicU64, n: u64) -> bool {
    time::wait(PATIENCE, || count.load(Relaxed) >= n)
}

/// Runs `f` with a vector that counts into the counter, and takes the vector back.
fn with_counter(f: impl FnOnce(u8, &AtomicU64) -> bool) -> bool {
    let (count, handler) = counter();
    let Ok(vector) = interrupts::allocate(&handler) else {
        return false;
    };
    let ok = f(vector, &count);
    interrupts::unregister(vector);
    drop(handler);
    // The table's own share of the handler is gone.
    ok && Arc::strong_count(&count) == 1
}

fn handler_runs() -> bool {
    with_counter(|vector, count| {
        (1..=1000).all(|n| {
            interrupts::send_to_self(vector);
            arrived(count, n) && count.load(Relaxed) == n
        })
    })
}

fn one_handler() -> bool {
    let (_, handler) = counter();
    with_counter(|vector, _| interrupts::register(vector, Arc::clone(&handler)).is_err())
        && [0x2f, 0xf0]
            .iter()
            .all(|&v| interrupts::register(v, Arc::clone(&handler)).is_err())
}

/// The serial port pulls line 4 when it has nothing left to send.
fn serial_line() -> bool {
    with_counter(|vector, count| {
        let routed = interrupts::route_gsi(4, vector, Trigger::Edge).is_ok();
        serial::interrupt_when_empty(true);
        let came = arrived(count, 1);
        serial::interrupt_when_empty(false);
        routed && came && interrupts::mask_gsi(4).is_ok()
    })
}

fn heap_in_handler() -> bool {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let handler: Handler = Arc::new(move || {
        let taken = black_box(Box::new([1u64; 100]));
        counted.fetch_add(taken[99], Relaxed);
    });
    let Ok(vector) = interrupts::allocate(&handler) else {
        return false;
    };
    for n in 0..1000u64 {
        interrupts::send_to_self(vector);
        black_box(vec![n; 100]);
    }
    let all = arrived(&count, 1000);
    interrupts::unregister(vector);
    all
}

/// Many blocks of mixed sizes, taken and given back in a scrambled order, each filled with its own
/// number.
fn heap_keeps() -> bool {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move |below: u64| {
        // Marsaglia's xorshift.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    // All bytes are the same if each is the same as the next.
    let whole = |block: &[u8]| block.get(1..).is_none_or(|rest| block.starts_with(rest));
    for turn in 0..20_000u64 {
        if blocks.len() < 500 && next(3) > 0 {
            let bits = 1 + next(15);
            let size = next(1 << bits) as usize;
            blocks.push(vec![turn as u8; size]);
        } else if !blocks.is_empty() {
            let mut block = blocks.swap_remove(next(blocks.len() as u64) as usize);
            if let Some(&byte) = block.first() {
                block.resize(block.len() + next(100) as usize, byte);
            }
            if !whole(&block) {
                return false;
            }
        }
    }
    blocks.iter().all(|block| whole(block))
}

/// Takes 8 MiB blocks until there are no more, gives them back, and does it again.
fn blocks() -> bool {
    let mut counts = [0; 2];
    for count in &mut counts {
        let mut taken: Vec<_> = iter::from_fn(raw::Block::take).collect();
        if !taken.iter_mut().all(raw::Block::is_fresh) {
            return false;
        }
        *count = taken.len();
        watchdog::pet();
    }
    counts[0] > 0 && counts[0] == counts[1]
}

/// Every length and distance around the sizes of words, against loops that move one byte at a time.
fn bytes() -> bool {
    let fresh: Vec<u8> = (0..200u8).map(|i| i.wrapping_mul(7)).collect();
    let mut ok = true;
    for length in 0..=64 {
        for (from, to) in [
            (50, 50),
            (50, 51),
            (51, 50),
            (50, 58),
            (58, 50),
            (3, 120),
            (120, 3),
            (50, 80),
        ] {
            let mut moved = fresh.clone();
            moved.copy_within(black_box(from..from + length), black_box(to));
            let expected = |i: usize| match i.checked_sub(to) {
                Some(offset) if offset < length => fresh[from + offset],
                _ => fresh[i],
            };
            ok &= moved.iter().enumerate().all(|(i, &b)| b == expected(i));

            moved[to..to + black_box(length)].fill(black_box(0xa5));
            let set = |i: usize| {
                if (to..to + length).contains(&i) {
                    0xa5
                } else {
                    expected(i)
                }
            };
            ok &= moved.iter().enumerate().all(|(i, &b)| b == set(i));
        }
        let left = &fresh[..length];
        ok &= black_box(left) == black_box(&fresh.clone()[..length]);
        for different in 0..length {
            let mut right = left.to_vec();
            right[different] ^= 0x80;
            let by_hand = left[different].cmp(&right[different]);
            ok &= black_box(left).cmp(black_box(&right)) == by_hand && left != right;
        }
    }
    ok
}

fn nothing_answers() -> bool {
    let last = Address::new(255, 31, 7);
    let ids = [(last, 0), (Address::new(0, 0, 0), 256)].map(|(at, offset)| pci::CONFIG.read32(at, offset));
    ids == [!0; 2] && memory::device_window(&(0..4096)).is_none()
}
