//! `ringway serve net`: cards on one switch, and who else is there.
//!
//! | file | |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`peer`] | our own driver, on a machine in this process |
//! | [`tap`] | the host, by an interface |
//! | [`station`] | what it does there: it answers, and serves ports by which others find out what arrives |

pub(crate) mod args;
mod peer;
mod station;
mod tap;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringway_device::Device as Model;
use ringway_device::net::{self, Options, Port};
use ringway_host::net::{Capture, Switch};
use ringway_spec::net::Mac;
use smoltcp::wire::IpCidr;

use super::Models;
use crate::refusal::{Refusal, Result};
use args::Net;
use peer::Peer;
use tap::Uplink;

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
    /// The host.
    Uplink(Uplink),
    /// Whoever reads what goes through the cards, in this file.
    Capture(Arc<Capture>, File, PathBuf),
}

/// Who is there, until it is dropped.
pub(super) enum Neighbour {
    Peer(Peer),
    /// By the interface of this name.
    Uplink(String, Kept),
    Capture(Kept),
}

/// Whether all went well, of what others tell.
#[derive(Clone, Default)]
pub(super) struct Kept {
    failed: Arc<AtomicBool>,
}

impl Kept {
    /// Says why not.
    fn fail(&self, why: &Refusal) {
        self.failed.store(true, Ordering::Relaxed);
        why.tell();
    }

    fn is_so(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }
}

impl Planned {
    /// Has it be there.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: why it cannot.
    pub(super) fn start(self) -> Result<Neighbour> {
        match self {
            Self::Peer {
                port,
                options,
                addresses,
            } => Peer::start(port, options, addresses).map(Neighbour::Peer),
            Self::Uplink(uplink) => Ok(uplink.start()),
            Self::Capture(capture, file, path) => {
                let kept = Kept::default();
                let told = kept.clone();
                let failed = move |error| {
                    let path = path.display();
                    told.fail(&Refusal::new(format_args!(
                        "{path} cannot be written any more: {error}; the cards go on without"
                    )));
                };
                let started = capture.write_to(file, failed);
                started.map_err(super::cannot("start a thread"))?;
                Ok(Neighbour::Capture(kept))
            }
        }
    }
}

impl Neighbour {
    /// Whether it was there all the time.
    pub(super) fn stayed(&self) -> bool {
        match self {
            Self::Peer(peer) => peer.is_there(),
            Self::Uplink(_, kept) | Self::Capture(kept) => kept.is_so(),
        }
    }

    /// The interface by which it is reached, if it is by one.
    pub(super) fn interface(&self) -> Option<&str> {
        match self {
            Self::Uplink(name, _) => Some(name),
            Self::Peer(_) | Self::Capture(_) => None,
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
    let mut capture = None;
    if let Some(path) = &args.pcap {
        let file = File::create(path).map_err(Refusal::io("write", path))?;
        let own: &Arc<Capture> = capture.insert(Capture::new(args.snap));
        planned.push(Planned::Capture(own.clone(), file, path.clone()));
    }
    let port = |name: &str| -> Arc<dyn Port> {
        match &capture {
            Some(capture) => Arc::new(capture.port(name, switch.port())),
            None => switch.port(),
        }
    };
    if let Some(name) = &args.tap {
        let uplink = Uplink::open(name, args.tap_queues, switch.clone())?;
        planned.push(Planned::Uplink(uplink));
    }
    if args.has_peer()
        && let Some(mac) = macs.pop()
    {
        planned.push(Planned::Peer {
            port: port("peer"),
            options: options(mac, 1),
            addresses: args.peer.clone(),
        });
    }
    let card = |(number, mac): (usize, _)| -> Box<dyn Model> {
        let port = port(&format!("card {number}"));
        let card = net::Net::new(port, options(mac, args.queues));
        Box::new(card.with_queue_size(QUEUE_SIZE))
    };
    Ok((macs.into_iter().enumerate().map(card).collect(), planned))
}
