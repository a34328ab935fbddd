//! `ringway serve net`: cards on one switch, and who else is there.
//!
//! | file | |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`peer`] | our own driver, on a machine in this process |
//! | [`station`] | what it does there: it answers, and serves ports by which others find out what arrives |

pub(crate) mod args;
mod peer;
mod station;

use std::sync::Arc;

use ringway_device::Device as Model;
use ringway_device::net::{self, Options, Port};
use ringway_host::net::Switch;
use ringway_spec::net::Mac;
use smoltcp::wire::IpCidr;

use super::Models;
use crate::refusal::Result;
use args::Net;
use peer::Peer;

/// The largest queue that a front-end can ask for: QEMU has no larger ones, and Linux's own makes all
/// queues alike, that of commands, too.
const QUEUE_SIZE: u16 = 1024;

/// Who is to be on the switch beside the cards that are served. What files they need, they have.
pub(super) enum Planned {
    /// Our own driver.
    Peer {
        port: Arc<dyn Port>,
        options: Options,
        addresses: Vec<IpCidr>,
    },
}

/// Who is there, until it is dropped.
pub(super) enum Neighbour {
    Peer(Peer),
}

impl Planned {
    /// Has it be there.
    ///
    /// # Errors
    ///
    /// [`Refusal`](crate::refusal::Refusal): why it cannot.
    pub(super) fn start(self) -> Result<Neighbour> {
        match self {
            Self::Peer {
                port,
                options,
                addresses,
            } => Peer::start(port, options, addresses).map(Neighbour::Peer),
        }
    }
}

impl Neighbour {
    /// Whether it was there all the time.
    pub(super) fn stayed(&self) -> bool {
        match self {
            Self::Peer(peer) => peer.is_there(),
        }
    }
}

/// The cards, in the order of their sockets, and who else they are to reach.
pub(super) fn cards(args: &Net) -> Result<(Models, Vec<Planned>)> {
    let switch = Switch::new();
    let options = |mac: Mac, pairs| Options {
        mac,
        mtu: args.mtu,
        pairs,
        without: args.without(),
    };
    let mut macs = args.macs()?;
    let mut planned = Vec::new();
    if args.has_peer()
        && let Some(mac) = macs.pop()
    {
        planned.push(Planned::Peer {
            port: switch.port(),
            options: options(mac, 1),
            addresses: args.peer.clone(),
        });
    }
    let card = |mac| -> Box<dyn Model> {
        let card = net::Net::new(switch.port(), options(mac, args.queues));
        Box::new(card.with_queue_size(QUEUE_SIZE))
    };
    Ok((macs.into_iter().map(card).collect(), planned))
}
