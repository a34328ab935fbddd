//! The link of a card, which comes and goes without its driver's doing. Spec: VIRTIO 1.4 §5.1.4 "Device
//! configuration layout".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_spec::Features;
use ringway_spec::net::{
    DUPLEX_FULL, DUPLEX_HALF, DUPLEX_UNKNOWN, F, LinkStatus, SPEED_MAX, SPEED_UNKNOWN,
};
use spin::Mutex;

use super::inlet::{Inlet, Shared};
use super::packet::{Packet, Port};

/// The link of a card: a handle, for whoever decides of it. Any number of threads may have one.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

/// Whether a link sends and receives at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// Either, at a time.
    Half,
    /// Both at once.
    Full,
}

/// What is to be said of a link.
pub(super) struct State {
    up: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Clone, Copy)]
struct Said {
    speed: Option<u32>,
    duplex: Option<Duplex>,
    /// The driver is asked to announce itself.
    announce: bool,
    /// It can be asked.
    announces: bool,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Whether there is a link.
    pub fn is_up(&self) -> bool {
        self.0.link.is_up()
    }

    /// The link comes, or goes: its driver is told. While there is none, packets are dropped, in both
    /// directions.
    pub fn set_up(&self, up: bool) {
        if self.0.link.up.swap(up, Ordering::SeqCst) != up {
            self.0.config_changed();
        }
    }

    /// The link's speed in Mbit/s, [`SPEED_MAX`] at most, and whether it is full duplex, as far as they
    /// are known. Its driver is told. Nothing is slower or faster for it.
    pub fn set_speed(&self, speed: Option<u32>, duplex: Option<Duplex>) {
        let mut said = self.0.link.said.lock();
        (said.speed, said.duplex) = (speed.map(|speed| speed.min(SPEED_MAX)), duplex);
        drop(said);
        self.0.config_changed();
    }

    /// Asks the driver to announce itself to the network (§5.1.9.5.4), until it says that it has: for
    /// when the card is at another place of the network. Says whether the driver can be asked.
    pub fn announce(&self) -> bool {
        let mut said = self.0.link.said.lock();
        if !said.announces {
            return false;
        }
        said.announce = true;
        drop(said);
        self.0.config_changed();
        true
    }

    /// Whether the driver was asked to announce itself, and has not said yet that it has.
    pub fn is_announcing(&self) -> bool {
        self.0.link.said.lock().announce
    }
}

impl State {
    /// Of a link that is there, and of which no more is known.
    pub(super) fn new() -> Self {
        Self {
            up: AtomicBool::new(true),
            said: Mutex::new(Said {
                speed: None,
                duplex: None,
                announce: false,
                announces: false,
            }),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// The driver's features are these; none before it has any.
    pub(super) fn settle(&self, features: Features) {
        let mut said = self.said.lock();
        said.announces = features.contains(F::GUEST_ANNOUNCE | F::STATUS);
        said.announce = false;
    }

    /// The driver has announced itself.
    pub(super) fn announced(&self) {
        self.said.lock().announce = false;
    }

    /// As the configuration has it.
    pub(super) fn status(&self) -> LinkStatus {
        let mut status = LinkStatus::empty();
        status.set(LinkStatus::LINK_UP, self.is_up());
        status.set(LinkStatus::ANNOUNCE, self.said.lock().announce);
        status
    }

    /// As the configuration has it.
    pub(super) fn speed(&self) -> (u32, u8) {
        let said = *self.said.lock();
        let duplex = match said.duplex {
            None => DUPLEX_UNKNOWN,
            Some(Duplex::Half) => DUPLEX_HALF,
            Some(Duplex::Full) => DUPLEX_FULL,
        };
        (said.speed.unwrap_or(SPEED_UNKNOWN), duplex)
    }
}

/// A port that sends nothing on while there is no link.
pub(super) struct Linked {
    pub(super) port: Arc<dyn Port>,
    pub(super) shared: Arc<Shared>,
}

impl Port for Linked {
    fn connect(&self, card: Inlet) {
        self.port.connect(card);
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        if self.shared.link.is_up() {
            self.port.send(packets);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use ringway_spec::net::Config;
    use zerocopy::FromBytes;

    use super::*;
    use crate::model::Device;
    use crate::net::{Net, Nowhere, Options};

    fn config(net: &Net) -> Config {
        let mut bytes = vec![0; net.config_bytes()];
        net.read_config(0, &mut bytes);
        Config::read_from_bytes(&bytes).unwrap()
    }

    /// Clauses: dev:net/cfg:10,
    /// dev:net/cfg:11
    #[test]
    fn what_is_not_known_of_a_link_is_said_so_and_the_rest_is_what_can_be() {
        let options = Options {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: None,
            pairs: 1,
            without: Features::NONE,
        };
        let net = Net::new(Arc::new(Nowhere), options);
        let link = net.link();
        let said = |speed, duplex| {
            link.set_speed(speed, duplex);
            let config = config(&net);
            (config.speed.get(), config.duplex)
        };

        let at_first = config(&net);

        assert_eq!((at_first.speed.get(), at_first.duplex), (u32::MAX, 0xff));
        assert_eq!(said(Some(0), Some(Duplex::Half)), (0, 0));
        assert_eq!(said(Some(100_000), Some(Duplex::Full)), (100_000, 1));
        assert_eq!(said(Some(u32::MAX), None), (0x7fff_ffff, 0xff));
        assert_eq!(said(None, None), (u32::MAX, 0xff));
    }
}
