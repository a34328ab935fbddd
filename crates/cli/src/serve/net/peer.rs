//! A peer in this process: our driver, on a machine with a card on the same switch, under smoltcp.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_device::net::{self as device, Options};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Command, Kind, Net, RECEIVE_OFFLOADS};
use ringway_driver::pci;
use ringway_driver::platform::Platform as _;
use ringway_machine::{Machine, Platform};
use ringway_smoltcp::Nic;
use ringway_spec::net::F;
use rustix::rand::GetRandomFlags;
use smoltcp::time::Instant;
use smoltcp::wire::IpCidr;

use super::station::Station;
use crate::refusal::{Refusal, Result};

/// Bytes of RAM of its machine: a full receive queue of the longest packets has 16 MiB.
const RAM: usize = 64 << 20;

/// The peer, on a thread of its own. Ends when it is dropped.
pub(crate) struct Peer {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Most time that a command to its card takes.
const COMMAND_MAX: Duration = Duration::from_secs(10);

/// What it has on its machine.
struct Host {
    machine: Machine,
    net: Net<AnyTransport<Platform>, DmaBuffer>,
}

impl Peer {
    /// A peer with these addresses, whose card is made so and connected to `port`. From here on it
    /// answers.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: its driver says why it does not drive its device, or there can be no more threads.
    pub(super) fn start(
        port: Arc<dyn device::Port>,
        options: Options,
        addresses: Vec<IpCidr>,
    ) -> Result<Self> {
        let host = Host::new(port, options)?;
        let end = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&end);
        let run = move || {
            if let Err(error) = host.run(&ended, options.mac, &addresses) {
                Refusal::new(format_args!("the peer answers no more: {error}")).tell();
            }
        };
        let thread = thread::Builder::new().name("peer".to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            Refusal::new(format_args!("cannot start a thread for the peer: {error}"))
        })?;
        Ok(Self {
            end,
            thread: Some(thread),
        })
    }

    /// Whether it still answers.
    pub(super) fn is_there(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said why, if it ended before.
            let _ = thread.join();
        }
    }
}

impl Host {
    fn new(port: Arc<dyn device::Port>, options: Options) -> Result<Self> {
        let card = Box::new(device::Net::new(port, options));
        let machine = Machine::builder().ram(RAM);
        let machine = machine.pci("card", card, Default::default()).build()?;
        let net = open(&machine);
        let net = net.map_err(|error| Refusal::new(format_args!("no peer: {error}")))?;
        Ok(Self { machine, net })
    }

    /// Answers until it is to end.
    fn run(
        self,
        end: &AtomicBool,
        mac: [u8; 6],
        addresses: &[IpCidr],
    ) -> Result<(), ringway_driver::Error> {
        let Self { machine, mut net } = self;
        let platform = machine.platform();
        let facts = *net.facts();
        let memory = platform.clone();
        let make = move |bytes| DmaBuffer::new(&memory, bytes).ok();
        let mut nic = Nic::new(net.take_pairs(), facts, make)?;
        let mut seed = [0; 8];
        // Without, it begins its connections where others can guess.
        let _ = rustix::rand::getrandom(&mut seed, GetRandomFlags::empty());
        let seed = u64::from_ne_bytes(seed);
        let mut station = Station::new(&mut nic, mac, addresses, seed);
        while !end.load(Ordering::Relaxed) {
            let seen = nic.packets().announced();
            // For some hundred thousand years.
            let now = Instant::from_micros(platform.now().as_micros() as i64);
            let more = station.poll(now, &mut nic);
            nic.flush()?;
            if !more && !nic.packets().arm() {
                // Not for long: it has timers, too. It has one pair.
                for receiver in nic.packets().receivers() {
                    platform.wait(receiver.signal(), seen);
                }
            }
        }
        Ok(())
    }
}

/// Opens the first card of a machine.
fn open(
    machine: &Machine,
) -> Result<Net<AnyTransport<Platform>, DmaBuffer>, ringway_driver::Error> {
    let platform = machine.platform();
    let card = pci::devices(&platform).next();
    let transport: AnyTransport<Platform> = match card {
        Some(card) => Box::new(card?),
        None => return Err(ringway_driver::Error::Gone),
    };
    let wanted = Wanted {
        optional: RECEIVE_OFFLOADS,
        ..Wanted::default()
    };
    let mut net: Net<_, _> =
        Card::open(Acknowledged::new(transport)?.driver()?, &wanted)?.start()?;
    if net.facts().features.contains(F::CTRL_RX) {
        // By these, stations of IPv6 ask for each other.
        net.command(&Command::Receive(Kind::AnyMulticast, true))?;
        net.wait(COMMAND_MAX)?;
    }
    Ok(net)
}

/// An address and how many of its bits are those of its network, as it is typed.
pub(super) fn address(text: &str) -> std::result::Result<IpCidr, String> {
    let wrong = || "write an address as 192.0.2.1/24 or 2001:db8::1/64".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    let most = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    if bits > most || address.is_unspecified() || address.is_multicast() {
        return Err(wrong());
    }
    Ok(IpCidr::new(address.into(), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_a_station_with_as_many_bits_as_it_can_have() {
        assert_eq!(address("192.0.2.1/24").unwrap().to_string(), "192.0.2.1/24");
        assert_eq!(
            address("2001:db8::1/64").unwrap().to_string(),
            "2001:db8::1/64"
        );
        for text in [
            "",
            "192.0.2.1",
            "192.0.2.1/33",
            "::1/129",
            "/24",
            "x/24",
            "0.0.0.0/0",
            "224.0.0.1/4",
        ] {
            assert!(
                address(text).unwrap_err().contains("write an address"),
                "{text}"
            );
        }
    }
}
