use ringway_spec::F as Ring;
use ringway_spec::net::F;
use ringway_spec::{Features, le::U32};

use super::*;
use crate::model::Device;
use crate::net::{Net, Nowhere, Options};
use crate::testing::Loop;

/// A clock that stands still until it is moved, and notes what its alarms are set to.
#[derive(Default)]
pub(in crate::net) struct Still(Arc<Mutex<Times>>);

#[derive(Default)]
struct Times {
    now: Duration,
    set: Option<Duration>,
}

struct Noted(Arc<Mutex<Times>>);

impl Clock for Still {
    fn now(&self) -> Duration {
        self.0.lock().now
    }

    fn alarm(&self, _due: Box<dyn Fn() + Send + Sync>) -> Box<dyn Alarm> {
        Box::new(Noted(Arc::clone(&self.0)))
    }
}

impl Alarm for Noted {
    fn set(&mut self, at: Duration) {
        self.0.lock().set = Some(at);
    }
}

const MICRO: Duration = Duration::from_micros(1);

fn wait(packets: u32, micros: u32) -> Coalescing {
    Coalescing {
        max_packets: U32::new(packets),
        max_usecs: U32::new(micros),
    }
}

/// A card with a transmit queue, whose notifications wait.
struct Bench {
    net: Net,
    queue: Loop,
    times: Arc<Mutex<Times>>,
}

fn bench() -> Bench {
    let clock = Still::default();
    let times = Arc::clone(&clock.0);
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: None,
        pairs: 2,
        without: Features::NONE,
    };
    let mut net = Net::new(Arc::new(Nowhere), options).with_clock(Arc::new(clock));
    let features = F::NOTF_COAL | F::VQ_NOTF_COAL | F::MQ | F::CTRL_VQ | Ring::VERSION_1;
    let worker = net.worker(1, features);
    let mut queue = Loop::served(worker, 64, Features::NONE);
    queue.driver.arm();
    Bench { net, queue, times }
}

impl Bench {
    /// Has the device send so many packets. Says how often the driver is told.
    fn send(&mut self, packets: usize) -> usize {
        for _ in 0..packets {
            self.queue.submit(&[&[0; 12], &[0; 60]], &[]);
        }
        self.queue.run();
        self.queue.used()
    }

    fn set_now(&mut self, micros: u32) {
        self.times.lock().now = MICRO * micros;
    }

    fn waits(&self) -> &Waits {
        &self.net.shared.waits
    }
}

#[test]
fn without_a_number_of_packets_or_a_time_a_driver_is_told_of_each_batch() {
    for nothing in [wait(0, 0), wait(0, 50), wait(8, 0)] {
        let mut bench = bench();
        bench.waits().set_all(Direction::Transmit, nothing);

        assert_eq!([bench.send(1), bench.send(2)], [1, 1]);
    }
}

#[test]
fn a_driver_is_told_when_there_were_as_many_packets_as_it_said() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(5, 50));

    let told = [2, 2, 1, 4, 0, 1].map(|packets| bench.send(packets));

    assert_eq!(told, [0, 0, 1, 0, 0, 1]);
}

#[test]
fn a_driver_is_told_when_as_much_time_has_gone_by_since_the_first_packet_and_the_alarm_says_when() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(100, 50));

    bench.set_now(1000);
    let first = bench.send(1);
    bench.set_now(1030);
    let second = bench.send(1);
    let alarm = bench.times.lock().set;
    bench.set_now(1049);
    let early = bench.send(0);
    bench.set_now(1050);
    let due = bench.send(0);
    bench.set_now(1060);
    let again = bench.send(1);
    let next = bench.times.lock().set;

    assert_eq!([first, second, early, due, again], [0, 0, 0, 1, 0]);
    assert_eq!((alarm, next), (Some(MICRO * 1050), Some(MICRO * 1110)));
}

/// §5.1.9.5.10.4: less to wait for may be there already.
#[test]
fn a_driver_that_waits_for_less_is_told_at_the_next_look() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(15, 50));

    let before = bench.send(10);
    bench.waits().set(1, wait(8, 50));
    let after = bench.send(0);

    assert_eq!((before, after), (0, 1));
}

#[test]
fn a_queue_that_stops_tells_of_what_waits() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(15, 50));

    let before = bench.send(10);
    bench.queue.finish();

    assert_eq!((before, bench.queue.used()), (0, 1));
}

#[test]
fn packets_that_wait_are_found_by_a_driver_that_looks() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(15, 50));

    bench.send(3);

    let found = [(); 4].map(|()| bench.queue.driver.poll().unwrap().is_some());
    assert_eq!(found, [true, true, true, false]);
}

#[test]
fn the_last_word_holds_for_a_queue_whichever_command_it_was() {
    let waits = Waits::new(4);
    (0..4).for_each(|index| waits.open(index));
    let of = |index| waits.of(index).unwrap();

    waits.set_all(Direction::Receive, wait(1, 1));
    waits.set(0, wait(2, 2));
    assert_eq!([of(0), of(2)], [wait(2, 2), wait(1, 1)]);
    assert_eq!([of(1), of(3)], [wait(0, 0); 2]);
    waits.set(1, wait(4, 4));
    assert_eq!([of(1), of(3)], [wait(4, 4), wait(0, 0)]);
    waits.set_all(Direction::Transmit, wait(5, 5));
    assert_eq!([of(1), of(3)], [wait(5, 5); 2]);
}

/// Clauses: dev:net/op/control-vq/notif-coalescing:5,
/// dev:net/op/control-vq/notif-coalescing:6
#[test]
fn a_queue_that_is_enabled_again_waits_as_all_of_its_direction_do() {
    let waits = Waits::new(4);
    waits.set_all(Direction::Receive, wait(1, 1));
    waits.set_all(Direction::Transmit, wait(2, 2));
    (0..4).for_each(|index| waits.open(index));
    assert!([0, 1].iter().all(|&index| waits.set(index, wait(9, 9))));

    for index in [0, 1] {
        waits.close(index);
        assert_eq!(waits.of(index), None);
        assert!(!waits.set(index, wait(9, 9)));
        waits.open(index);
    }

    assert_eq!(waits.of(0), Some(wait(1, 1)));
    assert_eq!(waits.of(1), Some(wait(2, 2)));
}

/// Clauses: dev:net/op/control-vq/notif-coalescing:9
#[test]
fn a_card_that_was_reset_remembers_nothing_and_has_no_queue_enabled() {
    let mut bench = bench();
    bench.waits().set_all(Direction::Transmit, wait(15, 50));

    bench.net.reset();
    let during = bench.waits().of(1);
    bench.waits().open(1);

    assert_eq!((during, bench.waits().of(1)), (None, Some(wait(0, 0))));
}

#[test]
fn a_card_offers_to_wait_only_if_it_has_a_clock() {
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: None,
        pairs: 1,
        without: F::NOTF_COAL,
    };
    let without = Net::new(Arc::new(Nowhere), options);
    let both = F::NOTF_COAL | F::VQ_NOTF_COAL;

    let offered = without.features().intersection(both);
    let with = without.with_clock(Arc::new(Still::default()));

    assert_eq!(offered, Features::NONE);
    assert_eq!(with.features().intersection(both), F::VQ_NOTF_COAL);
}
