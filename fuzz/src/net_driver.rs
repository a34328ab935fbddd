//! The driver of a network card whose device lies: in its configuration, in what stands before packets,
//! in lengths, in answers to commands. The rings are honest. Packets are no longer than their buffers, the
//! driver takes a bounded time, and all memory comes back when the device was reset.

use std::sync::{Arc, Mutex};

use ringway_device::{Device, Notifier, Offer, Worker};
use ringway_driver::Error;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::mmio::{self, Mmio};
use ringway_driver::net::{
    Card, ChecksumAt, Command, Congestion, Cut, Fallback, HASHES, Kind, Net, Offload, Pieces,
    RECEIVE_OFFLOADS, Receiver, Steering, USUAL, Wait, Which,
};
use ringway_driver::platform::Trust;
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_ring::device::{Batch, Violation};
use ringway_spec::net::{Config, F as NetF, HashTypes, Statistics};
use ringway_spec::{DeviceId, F, Features};
use zerocopy::IntoBytes;

use crate::input::Input;

const RAM_BYTES: usize = 8 * 1024 * 1024;
/// Most pairs of queues that the device has.
const PAIRS: u16 = 2;
const QUEUE_SIZE: u16 = 16;
/// Most steps of the machine between two of the driver.
const STEPS_MAX: usize = 64;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let bits = input.u16();
    let liar = Liar::new(bits, &mut input);
    let mut offer = Offer::NOTHING;
    for (bit, feature) in [
        (1, F::RING_PACKED),
        (2, F::IN_ORDER),
        (4, F::EVENT_IDX),
        (8, F::INDIRECT_DESC),
    ] {
        if bits & bit != 0 {
            offer = offer.with(feature);
        }
    }
    let trust = match bits & 16 {
        0 => Trust::Trusted,
        _ => Trust::Pool,
    };
    let options = Options {
        offer,
        ..Options::default()
    };
    let machine = Machine::builder()
        .ram(RAM_BYTES)
        .trust(trust)
        .run(Run::Inline { seed: bits.into() })
        .mmio("card", Box::new(liar.clone()), options)
        .build()
        .expect("it is small");
    let platform = machine.platform();
    let before = platform.ram_used();
    // A device whose configuration cannot be is refused, and that is all.
    let _ = drive(&machine, &liar, &mut input);
    assert_eq!(platform.ram_used(), before, "memory that did not come back");
}

fn drive(machine: &Machine, liar: &Liar, input: &mut Input<'_>) -> Result<(), Error> {
    let platform = machine.platform();
    let mut slots = mmio::scan(platform.clone(), machine.mmio_slots().to_vec());
    let transport: Mmio<Platform> = slots.next().expect("it is there")?;
    let wanted = Wanted {
        optional: USUAL | RECEIVE_OFFLOADS | HASHES,
        ..Wanted::default()
    };
    let mut card = Card::open(Acknowledged::new(transport)?.driver()?, &wanted)?;
    let pairs = card.facts().pairs.min(PAIRS);
    card.use_pairs(pairs)?;
    let facts = *card.facts();
    let mut net: Net<_, DmaBuffer> = card.start()?;
    let mut receivers = Vec::new();
    let mut transmitters = Vec::new();
    for pair in net.take_pairs() {
        receivers.push(pair.receiver);
        transmitters.push(Fallback::new(pair.transmitter, facts));
    }
    let room = facts.header_len + 200;
    while let Some(step) = input.step() {
        let which = usize::from(step >> 7) % receivers.len();
        match step % 8 {
            0 | 1 => liar.say(input),
            2 | 3 => receive(&platform, &mut receivers[which], room),
            4 => {
                let offload = offload(input);
                let len = usize::from(input.u16() % 3000);
                if let Ok(mut buffer) = DmaBuffer::new(&platform, facts.header_len + len) {
                    let _ = buffer.write(facts.header_len, &vec![0x45; len]);
                    let supply = |len| DmaBuffer::new(&platform, len).ok();
                    let _ = transmitters[which].send(buffer, &offload, supply);
                }
                let _ = transmitters[which].kick();
            }
            5 => {
                let _ = transmitters[which].reclaim(drop);
            }
            6 => {
                let _ = net.command(&command(input));
            }
            _ => {
                let _ = net.poll();
                let _ = net.link();
            }
        }
        for _ in 0..STEPS_MAX {
            if platform
                .step()
                .is_none_or(|step| step == ringway_machine::Step::Idle)
            {
                break;
            }
        }
    }
    let (reset, _) = net.reset();
    reset.map(drop)
}

/// Takes packets, each of which is in its buffers.
fn receive(platform: &Platform, receiver: &mut Receiver<Platform, DmaBuffer>, room: usize) {
    let supply = || DmaBuffer::new(platform, room).ok();
    let mut back = Vec::new();
    let received = receiver.receive(
        usize::from(QUEUE_SIZE),
        |packet| {
            let pieces = packet.pieces().map(|(buffer, range)| {
                assert!(range.end <= buffer.len(), "more than its buffer has");
                range.len()
            });
            assert_eq!(pieces.sum::<usize>(), packet.len());
            let mut copy = vec![0; packet.len()];
            assert_eq!(packet.copy_to(&mut copy).len(), packet.len());
            if let Some(ChecksumAt { start, offset }) = match packet.received.checksum {
                ringway_driver::net::Checksum::Partial(at) => Some(at),
                _ => None,
            } {
                assert!(usize::from(start) + usize::from(offset) + 2 <= packet.len());
            }
            if let Some(cut) = packet.received.cut {
                assert!(cut.size != 0);
            }
            back.extend(packet.into_buffers());
        },
        supply,
    );
    assert!(back.len() <= usize::from(QUEUE_SIZE));
    assert!(
        !matches!(received, Err(Error::Device(_))),
        "the rings are honest"
    );
}

fn offload(input: &mut Input<'_>) -> Offload {
    let bits = input.u8();
    let checksum = (bits & 1 != 0).then(|| ChecksumAt {
        start: input.u16() % 256,
        offset: input.u16() % 256,
    });
    let cut = (bits & 2 != 0).then(|| Cut {
        into: match bits >> 2 & 3 {
            0 => Pieces::Tcp4(Congestion::Silent),
            1 => Pieces::Tcp6(Congestion::Notified),
            2 => Pieces::Udp,
            _ => Pieces::Fragments,
        },
        size: input.u16(),
        header_len: input.u16(),
    });
    Offload { checksum, cut }
}

fn command(input: &mut Input<'_>) -> Command<'static> {
    let (which, index) = (input.u8(), u16::from(input.u8()));
    let wait = Wait {
        packets: input.u32(),
        micros: 5,
    };
    match which % 11 {
        0 => Command::Receive(Kind::Any, index & 1 != 0),
        1 => Command::Filter {
            unicast: &[[2; 6]],
            multicast: &[],
        },
        2 => Command::Mac([2; 6]),
        3 => Command::Vlan(index, true),
        4 => Command::Announced,
        5 => Command::Pairs(index),
        6 => Command::Steer(Steering {
            types: HashTypes::TCPV4,
            key: &[1; 40],
            table: &[0, 0],
            unclassified: 0,
            transmit: 1,
        }),
        7 => Command::Coalesce(Which::Queue(index), wait),
        8 => Command::Coalesced(index),
        9 => Command::Statistics,
        _ => Command::Counters(
            index,
            Statistics::from_bits_retain(u64::from(which) << (index & 16)),
        ),
    }
}

/// What a card says next in each buffer, and how many bytes it says these are.
type Lines = Arc<Mutex<Vec<(Vec<u8>, u32)>>>;

/// A card that says what bytes say.
#[derive(Clone)]
struct Liar {
    features: Features,
    config: [u8; size_of::<Config>()],
    lines: Lines,
    notifier: Arc<Mutex<Option<Notifier>>>,
    sizes: [u16; 2 * PAIRS as usize + 1],
}

struct Says(Lines);

impl Liar {
    fn new(bits: u16, input: &mut Input<'_>) -> Self {
        let good = Config {
            mac: [2, 0, 0, 0, 0, 1],
            max_virtqueue_pairs: PAIRS.into(),
            mtu: 1500.into(),
            rss_max_key_size: 40,
            rss_max_indirection_table_length: 128.into(),
            supported_hash_types: 0x1ff.into(),
            ..Config::default()
        };
        let mut config = [0; size_of::<Config>()];
        config.copy_from_slice(good.as_bytes());
        if bits & 32 != 0 {
            for _ in 0..3 {
                let at = usize::from(input.u8()) % config.len();
                config[at] = input.u8();
            }
        }
        let all = USUAL | RECEIVE_OFFLOADS | HASHES;
        let mut features = all;
        for (bit, feature) in [
            (64, NetF::MRG_RXBUF),
            (128, NetF::HASH_REPORT | NetF::RSS),
            (256, NetF::CSUM),
            (512, NetF::GUEST_CSUM),
            (1024, NetF::HOST_TSO4 | NetF::HOST_TSO6),
        ] {
            if bits & bit != 0 {
                features = features.difference(feature);
            }
        }
        // What depends on what is not offered, is not.
        while let Some((feature, _)) = features.missing_dependency(DeviceId::NETWORK) {
            features = features.difference(feature);
        }
        Self {
            features,
            config,
            lines: Arc::default(),
            notifier: Arc::default(),
            sizes: [QUEUE_SIZE; 2 * PAIRS as usize + 1],
        }
    }

    /// Has it say something in the next buffer.
    fn say(&self, input: &mut Input<'_>) {
        let (len, kind) = (usize::from(input.u8()), input.u8());
        let mut bytes: Vec<u8> = match kind & 1 {
            // What stands before a packet, with small numbers.
            0 => {
                let mut header = [0; 20];
                header[..2].copy_from_slice(&input.take::<2>());
                for at in [2, 4, 6, 8] {
                    header[at] = input.u8();
                    header[at + 1] = kind >> 4 & 1;
                }
                header[10] = input.u8() % 5;
                header[12..18].copy_from_slice(&input.take::<6>());
                header.to_vec()
            }
            // An answer.
            _ => (0..len.min(64)).map(|_| input.u8()).collect(),
        };
        if kind & 4 != 0 && !bytes.is_empty() {
            bytes[0] = 0;
        }
        bytes.resize(bytes.len().max(len), 0x45);
        let written = match kind & 2 {
            0 => bytes.len() as u32,
            _ => input.u16().into(),
        };
        self.lines
            .lock()
            .expect("nobody panics")
            .push((bytes, written));
        let notifier = self.notifier.lock().expect("nobody panics").clone();
        if let Some(notifier) = notifier {
            (0..self.sizes.len() as u16).for_each(|index| notifier.due(index));
        }
    }
}

impl Device for Liar {
    fn id(&self) -> DeviceId {
        DeviceId::NETWORK
    }

    fn presented(&mut self, notifier: Notifier) {
        *self.notifier.lock().expect("nobody panics") = Some(notifier);
    }

    fn features(&self) -> Features {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn config_bytes(&self) -> usize {
        self.config.len()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let bytes = self.config.iter().skip(offset);
        into.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }

    fn worker(&mut self, _index: u16, _features: Features) -> Box<dyn Worker> {
        Box::new(Says(Arc::clone(&self.lines)))
    }

    fn reset(&mut self) {}
}

impl Worker for Says {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        let mut lines = self.0.lock().expect("nobody panics");
        while !lines.is_empty() {
            let Some(chain) = batch.next_chain()? else {
                break;
            };
            let (bytes, written) = lines.remove(0);
            let mut to = batch.writable(&chain);
            let len = bytes.len().min(to.remaining() as usize);
            to.write(&bytes[..len]).expect("there is room");
            batch.complete(chain, written);
        }
        Ok(())
    }
}
