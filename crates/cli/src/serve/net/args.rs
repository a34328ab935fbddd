//! What can be typed after `ringway serve net`.

use std::path::PathBuf;

use clap::Args;
use ringway_device::net::{FEATURES, PAIRS_MAX};
use ringway_host::net::{SNAP_MAX, TAP_QUEUES_MAX};
use ringway_spec::net::{MTU_MIN, Mac, PAIRS_MIN};
use ringway_spec::{DeviceId, Features};
use smoltcp::config::IFACE_MAX_ADDR_COUNT;
use smoltcp::wire::IpCidr;

use crate::refusal::{Refusal, Result};
use crate::serve::args::{Way, exit_codes};
use crate::serve::meeting::Meeting;
use crate::serve::net::peer;

/// After the help of `ringway serve net`.
pub(crate) const NET_EXAMPLES: &str = concat!(
    "\
Examples:
  ringway serve net --vhost-user a.sock --vhost-user b.sock
                                        two cards on one switch: two machines that reach each other
  ringway serve net --vhost-user a.sock --mac 52:54:00:00:00:01 --mtu 9000
                                        a card with this address, for packets of up to 9000 bytes
  ringway serve net --vhost-user a.sock --queues 4
                                        a pair of queues for each of four processors
  ringway serve net --vhost-user a.sock --without host_tso4,host_tso6,host_uso
                                        the driver is to cut its packets itself
  ringway serve net --vhost-user a.sock --tap ringway0
                                        the host's network. There, as root:
                                          ip addr add 192.0.2.1/24 dev ringway0
                                          ip link set ringway0 up
  ringway serve net --vhost-user a.sock --vhost-user b.sock --pcap cards.pcapng
                                        what the two say to each other, for Wireshark or tcpdump
  ringway serve net --vhost-user a.sock --peer 192.0.2.1/24
                                        somebody to talk with. In the machine, with 192.0.2.2:
                                          ping 192.0.2.1
                                          nc 192.0.2.1 9 <file      its SHA-256 and length
                                          echo 1000000 | nc 192.0.2.1 19    so many bytes, and theirs
  ringway serve net --vhost-user a.sock --vhost-user b.sock --sandbox --json
                                        confined, and what happens to each card, for programs

A virtual machine with such a card; its memory is to be shared:
  qemu-system-x86_64 -M q35,memory-backend=mem \\
    -object memory-backend-memfd,id=mem,size=1G,share=on \\
    -chardev socket,id=card,path=a.sock \\
    -netdev vhost-user,id=net,chardev=card,queues=1 \\
    -device virtio-net-pci,netdev=net,mac=52:54:00:00:00:01

QEMU tells its driver address and MTU itself: of its own `mac=` and `host_mtu=`. For several queues give
`queues=` and `mq=on`, for packed rings `packed=on`.

",
    exit_codes!()
);

/// Where addresses begin that nobody chose: a block that is nobody's.
const MAC: Mac = [0x02, b'r', b'w', 0, 0, 0];

/// Most addresses of a peer: smoltcp has room for as many.
const PEER_ADDRESSES_MAX: usize = IFACE_MAX_ADDR_COUNT;

/// Network cards.
#[derive(Args, Debug)]
pub(crate) struct Net {
    /// The Unix socket at which the front-ends of a card connect. It is made, and removed in the end. One
    /// that is left over is replaced. Given again, it is for another card, on the same switch
    #[arg(
        long,
        value_name = "SOCKET",
        required_unless_present = "fd",
        conflicts_with = "fd"
    )]
    vhost_user: Vec<PathBuf>,

    /// The front-ends listen at the sockets: connect, as soon as they do, and again when they are gone
    #[arg(long, conflicts_with = "fd")]
    connect: bool,

    /// A socket that is open already, by its number: it listens, or is connected to a front-end. Given
    /// again, it is for another card
    #[arg(long, value_name = "NUMBER")]
    fd: Vec<i32>,

    /// The address of the first card. The others count on from it
    #[arg(long, value_name = "ADDRESS", value_parser = mac, default_value_t = Address(MAC))]
    mac: Address,

    /// Longest packet after its Ethernet header, in bytes, as drivers are told [default: they are told
    /// none, and Ethernet's is 1500]
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = clap::value_parser!(u16).range(i64::from(MTU_MIN)..)
    )]
    pub(super) mtu: Option<u16>,

    /// How many pairs of queues a card has at most: a driver with several processors may use as many
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(i64::from(PAIRS_MIN)..=i64::from(PAIRS_MAX))
    )]
    pub(super) queues: u16,

    /// Features that cards do not offer, by name, separated by commas
    #[arg(
        long,
        value_name = "FEATURES",
        value_delimiter = ',',
        value_parser = feature,
        long_help = format!(
            "Features that cards do not offer, by name, separated by commas\n\nThe names are {}. What \
             needs one that is left out is left out, too.",
            names()
        )
    )]
    without: Vec<Features>,

    /// A TAP interface of Linux that the switch is joined to: by it the cards reach the host, and what the
    /// host bridges or routes it to. Made if it is not there and this user may; with `%d` in its name it
    /// gets a number
    ///
    /// Addresses, and whether it is up, are the host's to set. One that is made for this user beforehand
    /// needs no privileges here: `ip tuntap add NAME mode tap user USER`, with `multi_queue` for several
    /// queues.
    #[arg(long, value_name = "NAME")]
    pub(super) tap: Option<String>,

    /// How many queues the interface has, each with a thread that reads
    #[arg(
        long,
        value_name = "NUMBER",
        requires = "tap",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(TAP_QUEUES_MAX))
    )]
    pub(super) tap_queues: u16,

    /// Write what goes through the cards to this file (pcapng). It is made anew
    ///
    /// Packets are as they go by: of checksums and cutting that are left to somebody else, nothing is done
    /// in them. Cards do not wait for the file: packets that it has no room for are missed, and counted at
    /// its end.
    #[arg(long, value_name = "FILE")]
    pub(super) pcap: Option<PathBuf>,

    /// Most bytes of a packet that are written there
    #[arg(long, value_name = "BYTES", requires = "pcap", default_value_t = SNAP_MAX)]
    pub(super) snap: u32,

    /// A peer on the same switch, at this address: our own driver, on a machine in this process
    ///
    /// It answers ARP, neighbour discovery and pings, and serves three ports of TCP. 7 returns what comes.
    /// 9 takes what comes and, at its end, tells its SHA-256 and length in a line. 19 reads a line with a
    /// number, sends as many bytes, and then a line with their SHA-256. A second address is for the same
    /// peer: one may be of IPv4 and the other of IPv6.
    #[arg(long, value_name = "ADDRESS/BITS", value_parser = peer::address)]
    pub(super) peer: Vec<IpCidr>,

    #[command(flatten)]
    pub(crate) way: Way,
}

impl Net {
    /// One for each card.
    pub(crate) fn meetings(&self) -> Vec<Meeting<'_>> {
        Meeting::all(&self.vhost_user, self.connect, &self.fd)
    }

    /// Finds what cannot be of several cards.
    pub(crate) fn check(&self, meetings: &[Meeting<'_>]) -> Result<()> {
        let twice = meetings.iter().enumerate().find(|&(at, meeting)| {
            let before = meetings.iter().take(at);
            before.into_iter().any(|other| other == meeting)
        });
        if let Some((_, meeting)) = twice {
            return Err(Refusal::new(match meeting {
                Meeting::Listen(path) | Meeting::Connect(path) => format!(
                    "{} is given twice: each card needs a socket of its own",
                    path.display()
                ),
                Meeting::Given(number) => {
                    format!("--fd {number} is given twice: each card needs a socket of its own")
                }
            }));
        }
        if self.peer.len() > PEER_ADDRESSES_MAX {
            return Err(Refusal::new(
                "--peer has one address or two: a peer answers for no more",
            ));
        }
        self.macs().map(drop)
    }

    /// Whether there is a peer.
    pub(super) fn has_peer(&self) -> bool {
        !self.peer.is_empty()
    }

    /// The address of each card: the last one is the peer's, if there is one.
    pub(super) fn macs(&self) -> Result<Vec<Mac>> {
        let Address(first) = self.mac;
        let cards = self.vhost_user.len() + self.fd.len() + usize::from(self.has_peer());
        (0..cards as u64)
            .map(|number| nth(first, number))
            .collect::<Option<_>>()
            .ok_or_else(|| {
                Refusal::new(format_args!(
                    "--mac {} leaves no addresses for {cards} cards: begin with a lower one",
                    self.mac
                ))
            })
    }

    /// What cards do not offer.
    pub(super) fn without(&self) -> Features {
        let without = self.without.iter().copied();
        without.fold(Features::NONE, Features::union)
    }
}

/// An address, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) Mac);

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The address of card `number`, if the first one has `first`: that of one station.
fn nth(first: Mac, number: u64) -> Option<Mac> {
    let [a, b, c, d, e, f] = first;
    let address = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).checked_add(number)?;
    let [0, 0, mac @ ..] = address.to_be_bytes() else {
        return None;
    };
    (mac[0] & 1 == 0).then_some(mac)
}

pub(crate) fn mac(text: &str) -> std::result::Result<Address, String> {
    let wrong = || "write an address as 52:54:00:00:00:01".to_owned();
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        let is_hex = |part: &&str| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit());
        let part = parts.next().filter(is_hex);
        *byte = u8::from_str_radix(part.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    match bytes[0] & 1 {
        0 => Ok(Address(bytes)),
        _ => Err("that is an address of several stations: its first byte is to be even".to_owned()),
    }
}

pub(crate) fn feature(name: &str) -> std::result::Result<Features, String> {
    let mut all = FEATURES.bits().map(Features::bit);
    let found = all.find(|&bit| name_of(bit) == name);
    found.ok_or_else(|| format!("cards have no such feature: choose from {}", names()))
}

/// The names of all that cards can.
fn names() -> String {
    let all = FEATURES.bits().map(Features::bit);
    all.map(name_of).collect::<Vec<_>>().join(", ")
}

fn name_of(bit: Features) -> String {
    let names = bit.names(DeviceId::NETWORK);
    names
        .map(|name| name.to_string().to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use ringway_spec::net::F;

    use super::*;

    #[test]
    fn addresses_count_on_from_the_first_as_long_as_they_are_of_one_station() {
        let first = [2, 0, 0, 0, 0, 0xff];

        assert_eq!(nth(first, 0), Some(first));
        assert_eq!(nth(first, 1), Some([2, 0, 0, 0, 1, 0]));
        assert_eq!(nth([2, 0xff, 0xff, 0xff, 0xff, 0xff], 1), None);
        assert_eq!(nth([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff], 1), None);
        assert_eq!(nth([0xff; 6], 1), None);
    }

    #[test]
    fn an_address_is_read_as_it_is_written() {
        assert_eq!(
            mac("52:54:00:Ab:0c:01"),
            Ok(Address([0x52, 0x54, 0, 0xab, 0x0c, 1]))
        );
        assert_eq!(Address(MAC).to_string(), "02:72:77:00:00:00");
        for text in [
            "",
            "52",
            "52:54:00:00:00",
            "52:54:00:00:00:01:02",
            "5:4:0:0:0:1",
            "52-54",
        ] {
            assert!(
                mac(text).unwrap_err().contains("write an address"),
                "{text}"
            );
        }
        for text in ["+5:54:00:00:00:01", "5g:54:00:00:00:01", "é:54:00:00:00:01"] {
            assert!(mac(text).is_err(), "{text}");
        }
        assert!(
            mac("01:00:00:00:00:00")
                .unwrap_err()
                .contains("several stations")
        );
    }

    #[test]
    fn a_feature_has_its_name_and_one_that_there_is_not_is_told_all() {
        assert_eq!(feature("guest_tso4"), Ok(F::GUEST_TSO4));
        for name in ["", "tso4", "CSUM", "standby", "event_idx"] {
            let why = feature(name).unwrap_err();
            assert!(
                why.contains("csum, guest_csum") && why.contains("rss"),
                "{why}"
            );
        }
    }
}
