//! Packets to a network card whose other end returns them.

pub(crate) mod args;
mod frame;
mod ledger;
mod report;
mod stream;

use std::io::{self, Write};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway_driver::Error;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Command, Facts, Net};
use ringway_spec::net::{F as Of, Mac};
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{CardOptions, Transport};

use self::args::{Packets, Sizes};
use self::frame::Frames;
use self::ledger::{Counts, Ledger};
use self::report::{Report, Row};
use self::stream::{Run, Stream, lock};
use super::args::Drive;
use super::device;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

/// The address of a card that has none, and one that nobody has.
const OURS: Mac = [0x02, b'r', b'w', 0xff, 0, 1];
const NOBODYS: Mac = [0x02, b'r', b'w', 0xff, 0, 2];

/// How many buffers a receiver replaces at once: it may lack as many, but for one.
const AT_ONCE: usize = 16;

/// Most time for a command.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of an Ethernet header, and of what may stand before a packet.
const ETHERNET: usize = 14;
const BEFORE_MAX: usize = 20;

type Nic = Net<Transport, DmaBuffer>;

pub(super) fn packets(args: &Drive, packets: &Packets) -> Result<bool> {
    let progress = Progress::new();
    let card = CardOptions {
        mac: packets.mac.map(|address| address.0),
        mtu: packets.mtu,
        pairs: packets.pairs,
    };
    let (_platform, transport) =
        device::connect_card(args, memory(args, packets), card, &progress)?;
    let card = open(transport, packets)?;
    let facts = *card.facts();
    check(packets, &facts)?;
    let mut net = card.start().map_err(does_not_come_up)?;
    let mut streams = streams(&mut net, &facts, packets)?;
    let mut depths = Vec::new();
    for sizes in &packets.bytes {
        depths.push(depth(&mut streams, &facts, packets, sizes)?);
    }
    let mut rows = Vec::new();
    let mut why = None;
    for (number, (sizes, depth)) in packets.bytes.iter().zip(depths).enumerate() {
        progress.begin(format!("packets of {sizes} bytes"));
        let run = Run::new(
            frames(packets, &facts, number, sizes),
            ledgers(packets),
            (packets.burst, depth),
            packets.checksum,
            args.poll,
            packets.patience(),
        );
        let (row, failed) = exchange(&mut streams, &run, sizes);
        rows.push(row);
        // What the device says of itself says more.
        why = net.device().check().err().or(failed);
        if why.is_some() {
            break;
        }
    }
    progress.end();
    let report = Report {
        pairs: packets.pairs,
        polls: args.poll,
        features: names(facts.features),
        rows,
    };
    // Whoever closed standard output does not want to read it.
    let _ = if packets.json {
        writeln!(io::stdout(), "{}", report.json())
    } else {
        write!(anstream::stdout(), "{report}")
    };
    Ok(match why {
        Some(why) => super::failed(why),
        None => match report.bad() {
            Some(bad) => super::failed(bad),
            None => true,
        },
    })
}

/// Brings the card up, as far as its features.
fn open(transport: Transport, packets: &Packets) -> Result<Card<Transport>> {
    let (taken, left) = packets.rings()?;
    let (needed, liked) = match packets.checksum {
        true => (Of::CSUM, Of::GUEST_CSUM),
        false => (Features::NONE, Features::NONE),
    };
    let wanted = Wanted {
        required: taken | needed,
        optional: (F::EVENT_IDX | liked) - left,
        without: left | packets.without(),
        ..Wanted::default()
    };
    let device = Acknowledged::new(transport).and_then(Acknowledged::driver);
    let card = device.and_then(|device| Card::open(device, &wanted));
    let mut card = card.map_err(does_not_come_up)?;
    card.use_pairs(packets.pairs).map_err(|_| {
        let most = card.facts().pairs;
        Refusal::new(format_args!(
            "the back-end has {most} pairs of queues: use --pairs {most}, or fewer"
        ))
    })?;
    Ok(card)
}

fn does_not_come_up(error: Error) -> Refusal {
    let names = match error {
        Error::FeaturesMissing(missing) => format!(" ({})", names(missing).join(", ")),
        _ => String::new(),
    };
    Refusal::new(format_args!("the card does not come up: {error}{names}"))
}

/// Finds packets that the card does not carry.
fn check(packets: &Packets, facts: &Facts) -> Result<()> {
    let longest = packets.longest();
    match facts.mtu.map(usize::from) {
        Some(mtu) if longest > ETHERNET + mtu => Err(Refusal::new(format_args!(
            "packets of {longest} bytes are too long for a card whose MTU is {mtu}: use --bytes {} or less",
            ETHERNET + mtu
        ))),
        _ => Ok(()),
    }
}

/// The pairs of queues that are to be used, with buffers.
fn streams(net: &mut Nic, facts: &Facts, packets: &Packets) -> Result<Vec<Stream>> {
    if packets.pairs > 1 {
        net.command(&Command::Pairs(packets.pairs))
            .map_err(Refusal::new)?;
        let answered = net.wait(COMMAND_LIMIT).map_err(Refusal::new)?;
        answered.result.map_err(Refusal::new)?;
    }
    let pairs = net.take_pairs().into_iter().enumerate();
    pairs
        .map(|(number, pair)| {
            let (longest, buffer) = (packets.longest(), buffer(packets, facts));
            Stream::new(number, pair, facts, longest, buffer).map_err(Refusal::new)
        })
        .collect()
}

/// The packets of a row.
fn frames(packets: &Packets, facts: &Facts, row: usize, sizes: &Sizes) -> Frames {
    Frames {
        mark: mark(row),
        sizes: sizes.0.clone(),
        from: packets.mac.map(|it| it.0).or(facts.mac).unwrap_or(OURS),
        to: packets.to.map_or(NOBODYS, |address| address.0),
    }
}

/// One for each pair, which share the packets among them.
fn ledgers(packets: &Packets) -> Vec<Ledger> {
    let pairs = u64::from(packets.pairs);
    let share = |pair: u64| packets.count / pairs + u64::from(pair < packets.count % pairs);
    (0..packets.pairs)
        .map(|pair| Ledger::new(pair, share(pair.into())))
        .collect()
}

/// Sends the packets of one row, and says what became of them, and what went wrong.
fn exchange(streams: &mut [Stream], run: &Run, sizes: &Sizes) -> (Row, Option<Error>) {
    let before: Vec<_> = streams.iter_mut().map(notified).collect();
    let start = Instant::now();
    let ended = thread::scope(|scope| {
        let spawn = |stream| {
            scope.spawn(move || {
                let ended = Stream::run(stream, run);
                ended.inspect_err(|_| run.end())
            })
        };
        let threads: Vec<_> = streams.iter_mut().map(spawn).collect();
        let ended = threads.into_iter().map(ScopedJoinHandle::join);
        // One that panicked has told why.
        let ended = ended.map(|it| it.unwrap_or(Err(Error::Gone)));
        ended.collect::<Vec<_>>()
    });
    let time = start.elapsed();
    let (mut kicks, mut interrupts) = (0, 0);
    for (after, before) in streams.iter_mut().map(notified).zip(before) {
        kicks += after.0 - before.0;
        interrupts += u64::from(after.1.wrapping_sub(before.1));
    }
    let counts = run.ledgers.iter().map(|ledger| lock(ledger).counts);
    let row = Row {
        sizes: sizes.clone(),
        counts: counts.collect(),
        time,
        kicks,
        interrupts,
    };
    (row, ended.into_iter().find_map(Result::err))
}

/// How often a pair has told, and was told.
fn notified(stream: &mut Stream) -> (u64, u32) {
    let pair = stream.pair();
    let (sent, received) = (pair.transmitter.counts(), pair.receiver.counts());
    (sent.kicks + received.kicks, received.interrupts)
}

/// How many packets of a pair may be on their way: all have room when they come back.
fn depth(streams: &mut [Stream], facts: &Facts, packets: &Packets, sizes: &Sizes) -> Result<u64> {
    let longest = sizes.0.end();
    let each = (facts.header_len + longest).div_ceil(buffer(packets, facts));
    let room = streams.iter_mut().map(|stream| {
        let pair = stream.pair();
        let depth = usize::from(pair.receiver.depth());
        let room = (depth - AT_ONCE.min(depth / 2)) / each;
        room.min(pair.transmitter.depth().into()) as u64
    });
    let most = room.min().unwrap_or_default();
    if most == 0 {
        return Err(Refusal::new(format_args!(
            "packets of {longest} bytes take more buffers than a queue has: use a larger --buffer"
        )));
    }
    Ok(packets.depth.map_or(most, |depth| most.min(depth.into())))
}

/// Bytes of a buffer to receive into.
fn buffer(packets: &Packets, facts: &Facts) -> usize {
    let wanted = packets.buffer as usize;
    match facts.features.contains(Of::MRG_RXBUF) {
        true => wanted,
        // Each has room for any packet.
        false => wanted
            .max(facts.receive_bytes())
            .max(facts.header_len + packets.longest()),
    }
}

/// Memory for all buffers.
fn memory(args: &Drive, packets: &Packets) -> usize {
    /// More than a page in which a buffer ends.
    const ROUND: usize = 4096;
    let longest = packets.longest() + BEFORE_MAX + ROUND;
    let each = longest + (packets.buffer as usize).max(longest) + ROUND;
    // Twice as many as a queue has: for those that are being looked at.
    each.saturating_mul(2 * usize::from(args.queue_size) * usize::from(packets.pairs))
}

/// What the packets of a row have, and no others.
fn mark(row: usize) -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = now.map_or(0, |now| now.subsec_nanos());
    nanos.wrapping_mul(0x9e37_79b1) ^ std::process::id() ^ row as u32
}

fn names(features: Features) -> Vec<String> {
    let names = features.names(DeviceId::NETWORK);
    names.map(|name| name.to_string()).collect()
}

impl Row {
    /// Of all pairs.
    fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.counts.iter().for_each(|counts| total.add(counts));
        total
    }
}
