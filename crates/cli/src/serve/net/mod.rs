//! `ringway serve net`: cards on one switch.

pub(crate) mod args;

use ringway_device::Device as Model;
use ringway_device::net::{self, Options};
use ringway_host::net::Switch;

use crate::refusal::Result;
use args::Net;

/// The cards, in the order of their sockets.
pub(super) fn cards(args: &Net) -> Result<Vec<Box<dyn Model>>> {
    let switch = Switch::new();
    let card = |mac| -> Box<dyn Model> {
        let options = Options {
            mac,
            mtu: args.mtu,
            pairs: args.queues,
            without: args.without(),
        };
        Box::new(net::Net::new(switch.port(), options))
    };
    Ok(args.macs()?.into_iter().map(card).collect())
}
