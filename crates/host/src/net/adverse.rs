//! A network that is hard to bear, for tests.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use ringway_device::net::{Deliver, Inlet, Packet, Port};

/// Most packets that one is overtaken by.
const OVERTAKEN_MAX: usize = 8;

/// What happens to packets, in each direction: to how many of a thousand, or to how many it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// They are lost.
    pub lost: u32,
    /// They come twice.
    pub doubled: u32,
    /// They come later: after one to eight of those behind them.
    pub late: u32,
}

/// A port before another, which loses, doubles and delays packets on their way there and back.
///
/// What happens to a packet follows from the seed and from how many there were before it in its direction:
/// where these come in the same order, all is the same again. Nothing waits for time: a packet
/// that nobody overtakes is never there.
pub struct Adverse {
    port: Arc<dyn Port>,
    ways: Arc<Ways>,
}

/// Both directions.
struct Ways {
    from_card: Mutex<Way>,
    to_card: Mutex<Way>,
}

/// One direction.
#[derive(Debug)]
struct Way {
    random: Rng,
    weather: Weather,
    /// What is late, and how many it still waits for.
    late: Vec<(usize, Packet)>,
    happened: Weather,
}

/// The card, to the port behind.
struct In {
    card: Inlet,
    ways: Arc<Ways>,
}

impl Adverse {
    /// Stands before `port`.
    pub fn new(port: Arc<dyn Port>, seed: u64, weather: Weather) -> Self {
        let way = |seed| Mutex::new(Way::new(seed, weather));
        let ways = Arc::new(Ways {
            from_card: way(seed),
            to_card: way(!seed),
        });
        Self { port, ways }
    }

    /// To how many packets it has happened, in both directions together.
    pub fn happened(&self) -> Weather {
        let [from, to] = [&self.ways.from_card, &self.ways.to_card].map(|way| lock(way).happened);
        Weather {
            lost: from.lost.saturating_add(to.lost),
            doubled: from.doubled.saturating_add(to.doubled),
            late: from.late.saturating_add(to.late),
        }
    }
}

impl Port for Adverse {
    fn connect(&self, card: Inlet) {
        let ways = Arc::clone(&self.ways);
        self.port.connect(Inlet::new(Arc::new(In { card, ways })));
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        go(&self.ways.from_card, packets);
        self.port.send(packets);
    }
}

impl Deliver for In {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        go(&self.ways.to_card, packets);
        self.card.deliver(packets);
    }
}

fn lock(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

fn go(way: &Mutex<Way>, packets: &mut Vec<Packet>) {
    let mut way = lock(way);
    let before = mem::take(packets);
    for packet in before {
        way.go(packet, packets);
    }
}

impl Way {
    fn new(seed: u64, weather: Weather) -> Self {
        Self {
            random: Rng::with_seed(seed),
            weather,
            late: Vec::new(),
            happened: Weather::default(),
        }
    }

    /// One packet goes: adds what arrives to `there`.
    fn go(&mut self, packet: Packet, there: &mut Vec<Packet>) {
        let weather = self.weather;
        // All of them each time, so that what happens to the next does not depend on it.
        let mut happens = |of_thousand| self.random.u32(..1000) < of_thousand;
        let [lost, doubled, late] = [weather.lost, weather.doubled, weather.late].map(&mut happens);
        let behind = self.random.usize(1..=OVERTAKEN_MAX);
        let count = |count: &mut u32| *count = count.wrapping_add(1);
        if lost {
            return count(&mut self.happened.lost);
        }
        if late {
            count(&mut self.happened.late);
            return self.late.push((behind, packet));
        }
        if doubled {
            count(&mut self.happened.doubled);
            there.push(packet.clone());
        }
        there.push(packet);
        self.overtaken(there);
    }

    /// A packet has arrived: so have those that waited for the last one to overtake them.
    fn overtaken(&mut self, there: &mut Vec<Packet>) {
        for (left, packet) in mem::take(&mut self.late) {
            match left.saturating_sub(1) {
                0 => there.push(packet),
                left => self.late.push((left, packet)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ringway_spec::net::Header;

    use super::*;

    /// What arrives of packets that are numbered from 0.
    fn arrive(seed: u64, weather: Weather, count: u32) -> Vec<u32> {
        let way = Mutex::new(Way::new(seed, weather));
        let mut there = Vec::new();
        for number in 0..count {
            let mut packets = vec![Packet::new(Header::default(), &number.to_be_bytes())];
            go(&way, &mut packets);
            there.extend(packets);
        }
        let number = |packet: &Packet| u32::from_be_bytes(packet.bytes[..].try_into().unwrap());
        there.iter().map(number).collect()
    }

    #[test]
    fn in_fair_weather_all_come_in_order() {
        let there = arrive(1, Weather::default(), 100);

        assert!(there.into_iter().eq(0..100));
    }

    #[test]
    fn as_many_are_lost_doubled_and_late_as_it_says() {
        let weather = Weather {
            lost: 100,
            doubled: 100,
            late: 100,
        };

        let there = arrive(1, weather, 10_000);

        let mut once = there.clone();
        once.sort_unstable();
        once.dedup();
        let lost = 10_000 - once.len();
        let doubled = there.len() - once.len();
        let late = there.windows(2).filter(|pair| pair[1] < pair[0]).count();
        for (count, most) in [(lost, 1000), (doubled, 810), (late, 900)] {
            assert!(
                (most - 150..=most + 150).contains(&count),
                "{count}, {most}"
            );
        }
        // None is further behind than packets go.
        let mut seen = 0;
        for number in there {
            seen = seen.max(number);
            assert!(seen - number < 40, "{number} after {seen}");
        }
    }

    #[test]
    fn the_same_seed_is_the_same_weather_and_another_is_another() {
        let weather = Weather {
            lost: 50,
            doubled: 50,
            late: 50,
        };

        let [first, again, other] = [7, 7, 8].map(|seed| arrive(seed, weather, 1000));

        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}
