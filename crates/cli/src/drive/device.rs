//! Reaching a device, and bringing it up.

use std::sync::Arc;
use std::time::Duration;

use ringway_device::net::PAIRS_MAX;
use ringway_driver::Error;
use ringway_driver::blk::{Blk, Done};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_spec::F;
use ringway_vhost::frontend::{
    CardOptions, Event, HugePages, MemoryOptions, Notify, Options, Platform, Reconnect, Transport,
};

use super::args::Drive;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

/// A disk behind a socket, whose buffers are in memory that its back-end has: nothing is copied on
/// the way.
pub(super) type Disk = Blk<Transport, DmaBuffer>;

/// How long to wait at once. A back-end may take any time: whoever waits for too long ends this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Memory for rings and requests, unless more is in flight.
const MEMORY: usize = 16 << 20;

/// Connects to the device.
pub(super) fn connect(
    args: &Drive,
    in_flight: usize,
    progress: &Progress,
) -> Result<(Platform, Transport)> {
    // As many pairs of a card as there can be.
    let card = CardOptions {
        pairs: PAIRS_MAX,
        ..CardOptions::default()
    };
    connect_card(args, in_flight, card, progress)
}

/// Connects to the device, whose half on this side is to be this `card`, if it is one.
pub(super) fn connect_card(
    args: &Drive,
    in_flight: usize,
    card: CardOptions,
    progress: &Progress,
) -> Result<(Platform, Transport)> {
    let platform = Platform::new(&MemoryOptions {
        bytes: MEMORY.saturating_add(in_flight),
        pages: HugePages::IfAvailable,
        ..MemoryOptions::default()
    })
    .map_err(Refusal::new)?;
    let told = progress.clone();
    let usual = Options::new(args.device());
    let options = Options {
        card: usual.card.map(|_| card),
        queue_size: args.queue_size,
        calls: if args.poll {
            Notify::Poll
        } else {
            Notify::Signal
        },
        reconnect: Reconnect {
            within: args.patience(),
            ..Reconnect::default()
        },
        observer: Some(Arc::new(move |event| tell(&told, event))),
        ..usual
    };
    let transport = Transport::connect(&platform, &args.socket, options).map_err(|error| {
        let socket = args.socket.display();
        Refusal::new(format_args!("{socket}: {error}"))
    })?;
    Ok((platform, transport))
}

/// Brings up the disk.
pub(super) fn disk(transport: Transport) -> Result<Disk> {
    let device = Acknowledged::new(transport).and_then(Acknowledged::driver);
    let wanted = Wanted {
        // Every request is told of with a flag or an index; which, is the back-end's choice.
        optional: F::EVENT_IDX,
        ..Wanted::default()
    };
    let disk = device.and_then(|device| Blk::open(device, &wanted, &QueueOptions::default()));
    disk.map_err(|error| Refusal::new(format_args!("the disk does not come up: {error}")))
}

/// Waits for one completed request, for however long it takes.
pub(super) fn wait(disk: &mut Disk) -> Result<Done<DmaBuffer>, Error> {
    loop {
        match disk.wait(LOOK_AGAIN) {
            Err(Error::TimedOut) => {}
            waited => return waited,
        }
    }
}

fn tell(progress: &Progress, event: Event) {
    let line = match event {
        Event::Lost(why) => format!("{why}; waiting for another one"),
        Event::Resumed { after, .. } => format!("another one goes on, after {after:.1?}"),
        Event::GaveUp(why) => format!("{why}; giving up"),
        _ => return,
    };
    progress.pause(|| anstream::eprintln!("{line}"));
}
