//! A switch: joins network cards, whoever's they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use ringway_device::net::{Deliver, Inlet, Packet, Port};
use ringway_spec::net::Mac;

/// Most addresses that a switch remembers: whoever sends from more of them makes it forget, and
/// flood.
const ADDRESSES_MAX: usize = 4096;

/// A switch, which learns by which port an address is reached, and sends packets for others to all.
///
/// Nothing waits here: a packet is delivered on the thread that sends it.
#[derive(Default)]
pub struct Switch {
    ports: RwLock<Vec<Option<Inlet>>>,
    learnt: Mutex<HashMap<Mac, usize>>,
}

/// A port of a switch: what a card is connected to.
pub struct SwitchPort {
    switch: Arc<Switch>,
    index: usize,
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One more port, for one card.
    pub fn port(self: &Arc<Self>) -> Arc<SwitchPort> {
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        let index = ports.len();
        ports.push(None);
        Arc::new(SwitchPort {
            switch: Arc::clone(self),
            index,
        })
    }

    /// Joins another network to this one: what comes from `port` goes to the ports here, and what is for
    /// others there. The switch has it for as long as it is there itself.
    pub fn uplink(self: &Arc<Self>, port: Arc<dyn Port>) {
        let own = self.port();
        port.connect(Inlet::new(Arc::new(FromUplink {
            switch: Arc::downgrade(self),
            index: own.index,
        })));
        own.connect(Inlet::new(Arc::new(ToUplink(port))));
    }

    /// Where packets for `destination` go to, if that is known. Learns where `source` is.
    fn learn(
        learnt: &mut HashMap<Mac, usize>,
        source: Mac,
        destination: Mac,
        from: usize,
    ) -> Option<usize> {
        if !is_group(&source) && learnt.get(&source) != Some(&from) {
            if learnt.len() >= ADDRESSES_MAX {
                learnt.clear();
            }
            learnt.insert(source, from);
        }
        learnt.get(&destination).copied()
    }
}

impl Port for SwitchPort {
    fn connect(&self, card: Inlet) {
        let ports = &self.switch.ports;
        let mut ports = ports.write().unwrap_or_else(PoisonError::into_inner);
        // Ports are never taken away.
        if let Some(port) = ports.get_mut(self.index) {
            *port = Some(card);
        }
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let ports = &self.switch.ports;
        let ports = ports.read().unwrap_or_else(PoisonError::into_inner);
        let mut runs = Runs::new(ports.len());
        {
            let learnt = &self.switch.learnt;
            let mut learnt = learnt.lock().unwrap_or_else(PoisonError::into_inner);
            for packet in packets.drain(..) {
                // A card sends nothing shorter than an Ethernet header.
                let Some((destination, rest)) = packet.bytes.split_first_chunk::<6>() else {
                    continue;
                };
                let Some(source) = rest.first_chunk::<6>() else {
                    continue;
                };
                let (destination, source) = (*destination, *source);
                let to = Switch::learn(&mut learnt, source, destination, self.index);
                match to.filter(|_| !is_group(&destination)) {
                    // It is where it belongs.
                    Some(to) if to == self.index => {}
                    Some(to) => runs.add(to, packet),
                    None => runs.flood(self.index, &packet),
                }
            }
        }
        for (to, mut run) in runs.into_iter() {
            if let Some(Some(card)) = ports.get(to) {
                card.deliver(&mut run);
                // Memory for other packets.
                packets.append(&mut run);
            }
        }
    }
}

/// What comes from another network.
struct FromUplink {
    /// It has the way there, which leads here.
    switch: Weak<Switch>,
    index: usize,
}

/// What goes to another network.
struct ToUplink(Arc<dyn Port>);

impl Deliver for FromUplink {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        let Some(switch) = self.switch.upgrade() else {
            return;
        };
        let index = self.index;
        SwitchPort { switch, index }.send(packets);
    }
}

impl Deliver for ToUplink {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        self.0.send(packets);
    }
}

/// Packets for each port.
struct Runs(Vec<Vec<Packet>>);

impl Runs {
    fn new(ports: usize) -> Self {
        Self(vec![Vec::new(); ports])
    }

    fn add(&mut self, to: usize, packet: Packet) {
        if let Some(run) = self.0.get_mut(to) {
            run.push(packet);
        }
    }

    /// To all ports but one.
    fn flood(&mut self, from: usize, packet: &Packet) {
        for (to, run) in self.0.iter_mut().enumerate() {
            if to != from {
                run.push(packet.clone());
            }
        }
    }

    fn into_iter(self) -> impl Iterator<Item = (usize, Vec<Packet>)> {
        let runs = self.0.into_iter().enumerate();
        runs.filter(|(_, run)| !run.is_empty())
    }
}

/// Whether an address is that of several stations.
fn is_group(address: &Mac) -> bool {
    address[0] & 1 != 0
}

#[cfg(test)]
mod tests {
    use ringway_spec::net::Header;

    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];
    const ALL: Mac = [0xff; 6];

    #[test]
    fn addresses_are_learnt_from_whoever_sends_and_learnt_again_where_they_move() {
        let mut learnt = HashMap::new();

        let unknown = Switch::learn(&mut learnt, A, B, 0);
        let known = Switch::learn(&mut learnt, B, A, 1);
        Switch::learn(&mut learnt, A, ALL, 2);
        let moved = Switch::learn(&mut learnt, B, A, 1);

        assert_eq!((unknown, known, moved), (None, Some(0), Some(2)));
    }

    #[test]
    fn the_address_of_several_is_nobodys() {
        let mut learnt = HashMap::new();

        Switch::learn(&mut learnt, ALL, B, 0);

        assert_eq!(Switch::learn(&mut learnt, A, ALL, 1), None);
    }

    #[test]
    fn no_more_addresses_are_remembered_than_may_be() {
        let mut learnt = HashMap::new();

        for number in 0..3 * ADDRESSES_MAX as u32 {
            let [a, b, c, d] = number.to_be_bytes();
            Switch::learn(&mut learnt, [2, 0, a, b, c, d], ALL, 0);
            assert!(learnt.len() <= ADDRESSES_MAX);
        }
    }

    #[test]
    fn packets_for_everybody_go_to_all_ports_but_their_own() {
        let mut runs = Runs::new(3);
        let packet = Packet::default();

        runs.flood(1, &packet);
        runs.add(0, packet);
        runs.add(7, Packet::default());

        let counts = runs.into_iter().map(|(to, run)| (to, run.len()));
        assert_eq!(counts.collect::<Vec<_>>(), [(0, 2), (2, 1)]);
    }
    /// A network that says what comes to it, and a card to it.
    #[derive(Default)]
    struct Other {
        come: Mutex<Vec<Packet>>,
        card: Mutex<Option<Inlet>>,
    }

    impl Port for Other {
        fn connect(&self, card: Inlet) {
            *self.card.lock().unwrap() = Some(card);
        }

        fn send(&self, packets: &mut Vec<Packet>) {
            self.come.lock().unwrap().append(packets);
        }
    }

    impl Other {
        fn say(&self, from: Mac, to: Mac) {
            let card = self.card.lock().unwrap().clone().unwrap();
            card.deliver(&mut vec![packet(from, to)]);
        }
    }

    fn packet(from: Mac, to: Mac) -> Packet {
        Packet::new(Header::default(), &[&to[..], &from, &[0; 48]].concat())
    }

    /// A loop would be a storm.
    #[test]
    fn an_uplink_gets_what_is_for_others_than_ours_and_nothing_comes_back() {
        let (switch, up, down) = (
            Switch::new(),
            Arc::<Other>::default(),
            Arc::<Other>::default(),
        );
        switch.uplink(up.clone());
        switch.uplink(down.clone());

        down.say(A, ALL);
        up.say(B, A);
        down.say(A, B);
        up.say(A, B);

        let come = |other: &Other| other.come.lock().unwrap().len();
        assert_eq!((come(&up), come(&down)), (2, 1));
    }

    #[test]
    fn a_network_goes_with_the_switch_that_it_was_joined_to() {
        let (switch, up) = (Switch::new(), Arc::<Other>::default());
        switch.uplink(up.clone());

        drop(switch);
        up.say(A, ALL);

        assert_eq!(Arc::strong_count(&up), 1);
    }
}
