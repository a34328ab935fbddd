//! `ringway serve net`: cards on one switch, and who else is there.

pub(super) mod args;
mod tap;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringway_device::Device as Model;
use ringway_device::net::{self, Options, Port};
use ringway_host::net::{Capture, Switch};

use super::Models;
use crate::refusal::{Refusal, Result};
use args::Net;
use tap::Uplink;

/// Who is to be on the switch beside the cards that are served. What files they need, they have.
pub(super) enum Planned {
    /// The host, by an interface.
    Uplink(Uplink),
    /// Whoever reads what goes through the cards.
    Capture(Arc<Capture>, File, PathBuf),
}

/// Who is there, until it is dropped.
pub(super) enum Neighbour {
    /// The host, by the interface of this name.
    Uplink(String, Kept),
    Capture(Kept),
}

/// Whether all went well.
#[derive(Clone, Default)]
pub(super) struct Kept {
    failed: Arc<AtomicBool>,
}

impl Kept {
    /// Tells why not.
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
    /// [`Refusal`](crate::refusal::Refusal): why it cannot.
    pub(super) fn start(self) -> Result<Neighbour> {
        match self {
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
                capture.write_to(file, failed).map_err(|error| {
                    Refusal::new(format_args!("cannot start a thread: {error}"))
                })?;
                Ok(Neighbour::Capture(kept))
            }
        }
    }
}

impl Neighbour {
    /// Whether it was there all the time.
    pub(super) fn stayed(&self) -> bool {
        match self {
            Self::Uplink(_, kept) | Self::Capture(kept) => kept.is_so(),
        }
    }

    /// The interface by which it is reached, if it is by one.
    pub(super) fn interface(&self) -> Option<&str> {
        match self {
            Self::Uplink(name, _) => Some(name),
            Self::Capture(_) => None,
        }
    }
}

/// The cards, in the order of their sockets, and who else they are to reach.
pub(super) fn cards(args: &Net) -> Result<(Models, Vec<Planned>)> {
    let switch = Switch::new();
    let mut planned = Vec::new();
    if let Some(name) = &args.tap {
        let uplink = Uplink::open(name, args.tap_queues, switch.clone())?;
        planned.push(Planned::Uplink(uplink));
    }
    let capture = args.pcap.as_ref().map(|path| {
        let file = File::create(path).map_err(Refusal::io("write", path))?;
        let capture = Capture::new(args.snap);
        planned.push(Planned::Capture(capture.clone(), file, path.clone()));
        Ok::<_, Refusal>(capture)
    });
    let capture = capture.transpose()?;
    let card = |(number, mac): (usize, _)| -> Box<dyn Model> {
        let options = Options {
            mac,
            mtu: args.mtu,
            pairs: args.queues,
            without: args.without(),
        };
        let mut port: Arc<dyn Port> = switch.port();
        if let Some(capture) = &capture {
            port = Arc::new(capture.port(&format!("card {number}"), port));
        }
        Box::new(net::Net::new(port, options))
    };
    Ok((
        args.macs()?.into_iter().enumerate().map(card).collect(),
        planned,
    ))
}
