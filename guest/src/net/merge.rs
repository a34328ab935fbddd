//! Packets that come in several buffers: the stack's own are long enough for any, so an echo is asked
//! for by hand, with buffers that are short.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_check::exercise::Numbers;
use ringway_driver::dma::{Bytes, DmaBuffer};
use ringway_driver::net::{Offload, Pair};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
};

use super::client::Lease;
use super::station::{Card, Finding, PATIENCE, words};
use crate::platform::Machine;
use crate::time;

/// Bytes of a buffer.
const SHORT: usize = 128;
/// Bytes of the echo.
const LEN: usize = 1300;
/// Packets that are looked at before it is said that the right one does not come.
const OTHERS_MAX: usize = 64;

/// A card whose buffers are short.
struct Raw<'m> {
    machine: &'m Machine,
    pair: Pair<Machine, DmaBuffer>,
    header_len: usize,
    mac: EthernetAddress,
    lease: Lease,
}

/// Has an echo come back from the router of `lease`, in as many buffers as it takes. The card was just
/// brought up, with `MRG_RXBUF`.
pub(super) fn exercise(machine: &Machine, card: &mut Card, lease: Lease) -> Finding {
    let facts = *card.facts();
    let mut raw = Raw {
        machine,
        pair: card.take_pairs().pop().ok_or("it has no pair of queues")?,
        header_len: facts.header_len,
        mac: EthernetAddress(facts.mac.ok_or("it has no address")?),
        lease,
    };
    let router = raw.find()?;
    let mut echo = vec![0; LEN];
    Numbers::new(LEN as u64).fill(&mut echo);
    raw.echo(router, &echo)
}

impl Raw<'_> {
    /// Asks for the router's address of hardware.
    fn find(&mut self) -> Finding<EthernetAddress> {
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.mac,
            source_protocol_addr: self.lease.address.address(),
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: self.lease.router,
        };
        let to = (EthernetAddress::BROADCAST, EthernetProtocol::Arp);
        self.send(to, arp.buffer_len(), |bytes| {
            arp.emit(&mut ArpPacket::new_unchecked(bytes));
        })?;
        self.receive(|bytes, _| {
            let frame = EthernetFrame::new_checked(bytes).ok()?;
            let packet = ArpPacket::new_checked(frame.payload()).ok()?;
            match ArpRepr::parse(&packet).ok()? {
                ArpRepr::EthernetIpv4 {
                    operation: ArpOperation::Reply,
                    source_hardware_addr,
                    ..
                } => Some(Ok(source_hardware_addr)),
                _ => None,
            }
        })
    }

    /// Has an echo come back.
    fn echo(&mut self, router: EthernetAddress, data: &[u8]) -> Finding {
        let sums = ChecksumCapabilities::default();
        let icmp = Icmpv4Repr::EchoRequest {
            ident: 1,
            seq_no: 1,
            data,
        };
        let ip = Ipv4Repr {
            src_addr: self.lease.address.address(),
            dst_addr: self.lease.router,
            next_header: IpProtocol::Icmp,
            payload_len: icmp.buffer_len(),
            hop_limit: 64,
        };
        let len = ip.buffer_len() + icmp.buffer_len();
        self.send((router, EthernetProtocol::Ipv4), len, |bytes| {
            let mut packet = Ipv4Packet::new_unchecked(bytes);
            ip.emit(&mut packet, &sums);
            icmp.emit(
                &mut Icmpv4Packet::new_unchecked(packet.payload_mut()),
                &sums,
            );
        })?;
        let whole = self.header_len + EthernetFrame::<&[u8]>::header_len() + len;
        self.receive(|bytes, buffers| {
            let frame = EthernetFrame::new_checked(bytes).ok()?;
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            let packet = Icmpv4Packet::new_checked(packet.payload()).ok()?;
            let Icmpv4Repr::EchoReply { data: came, .. } =
                Icmpv4Repr::parse(&packet, &sums).ok()?
            else {
                return None;
            };
            Some(match (came == data, buffers == whole.div_ceil(SHORT)) {
                (false, _) => Err("it comes back as another".into()),
                (_, false) => Err(format!("{whole} bytes come in {buffers} buffers")),
                _ => Ok(()),
            })
        })
    }

    fn send(
        &mut self,
        (to, ethertype): (EthernetAddress, EthernetProtocol),
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Finding {
        let ethernet = EthernetRepr {
            src_addr: self.mac,
            dst_addr: to,
            ethertype,
        };
        let mut bytes = vec![0; ethernet.buffer_len() + len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        ethernet.emit(&mut frame);
        fill(frame.payload_mut());
        let all = self.header_len + bytes.len();
        let mut buffer = DmaBuffer::new(self.machine, all).map_err(words)?;
        buffer.write_at(self.header_len, &bytes).map_err(words)?;
        let transmitter = &mut self.pair.transmitter;
        transmitter
            .send(buffer, &Offload::default())
            .map_err(words)?;
        transmitter.kick().map_err(words)?;
        Ok(())
    }

    /// Waits for a packet of which `take` makes something: it is given the packet, and how many buffers
    /// that came in.
    fn receive<T>(&mut self, take: impl Fn(&[u8], usize) -> Option<Finding<T>>) -> Finding<T> {
        let end = Duration::from_nanos(time::now()).saturating_add(PATIENCE);
        let mut looked = 0;
        while looked < OTHERS_MAX && Duration::from_nanos(time::now()) < end {
            let receiver = &mut self.pair.receiver;
            let seen = receiver.signal().count();
            let mut packets = Vec::new();
            let supply = || DmaBuffer::new(self.machine, SHORT).ok();
            receiver.fill(supply).map_err(words)?;
            let each = |packet| packets.push(packet);
            receiver.receive(OTHERS_MAX, each, supply).map_err(words)?;
            for packet in packets {
                looked += 1;
                let mut bytes = vec![0; packet.len()];
                let len = packet.copy_to(&mut bytes).len();
                let buffers = packet.into_buffers().count();
                if let Some(taken) = take(bytes.get(..len).unwrap_or_default(), buffers) {
                    return taken;
                }
            }
            if !receiver.arm() && receiver.queue().interrupts() {
                let signal = receiver.signal();
                time::wait(time::TICK, || signal.count() != seen);
            }
        }
        Err("the answer does not come".into())
    }
}
