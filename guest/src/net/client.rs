//! What a client asks of a network: an address, an answer, a document.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::time::Duration;

use ringway_check::exercise::Numbers;
use sha2::{Digest, Sha256};
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{dhcpv4, icmp, tcp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Ipv4Address, Ipv4Cidr};

use super::station::{Finding, Look, PATIENCE, Station, USUAL_MTU, words};
use crate::http::Answer;

/// What the network has lent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    pub(super) address: Ipv4Cidr,
    pub(super) router: Ipv4Address,
}

/// What came of a document.
pub(super) struct Document {
    pub(super) bytes: u64,
    /// In hexadecimal.
    pub(super) sha256: String,
}

/// Bytes that wait at our end of a connection, at most.
const ROOM: usize = 64 * 1024;
/// Bytes of what is asked.
const ASKED: usize = 1024;
/// Our end of connections.
const PORT: u16 = 49152;
/// Who pings.
const IDENT: u16 = 0x5257;
/// Bytes before what an echo has of its own: headers of IP and ICMP.
const BEFORE_ECHO: usize = 28;

/// Asks for an address, and gives it to the stack.
pub(super) fn lease(station: &mut Station) -> Finding<Lease> {
    let asks = station.sockets.add(dhcpv4::Socket::new());
    let lent = station.until(PATIENCE, |station| {
        let socket = station.sockets.get_mut::<dhcpv4::Socket<'_>>(asks);
        Ok(match socket.poll() {
            Some(dhcpv4::Event::Configured(lent)) => Look::Done((lent.address, lent.router)),
            _ => Look::Nothing,
        })
    });
    station.sockets.remove(asks);
    let (address, router) = lent?;
    let router = router.ok_or("the network has no way out")?;
    station.settle(address, Some(router));
    Ok(Lease { address, router })
}

/// Has echoes of many sizes come back from `at`, the longest as long as packets are, of which the router
/// takes none that are longer than usual.
pub(super) fn pings(station: &mut Station, at: Ipv4Address) -> Finding {
    let mtu = station.net.facts().mtu.unwrap_or(USUAL_MTU).min(USUAL_MTU);
    let mtu = usize::from(mtu);
    for len in [0, 1, 56, 1000, mtu - BEFORE_ECHO] {
        ping(station, at, len, PATIENCE).map_err(|why| format!("of {len} bytes: {why}"))?;
    }
    Ok(())
}

/// Has an echo of `len` bytes come back from `at` within `limit`.
pub(super) fn ping(station: &mut Station, at: Ipv4Address, len: usize, limit: Duration) -> Finding {
    let mut sent = vec![0; len];
    Numbers::new(len as u64).fill(&mut sent);
    let room = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY], vec![0; ROOM]);
    let socket = station.sockets.add(icmp::Socket::new(room(), room()));
    let ponged = pong(station, socket, at, &sent, limit);
    station.sockets.remove(socket);
    ponged
}

fn pong(
    station: &mut Station,
    socket: SocketHandle,
    at: Ipv4Address,
    sent: &[u8],
    limit: Duration,
) -> Finding {
    let sums = ChecksumCapabilities::default();
    let echo = Icmpv4Repr::EchoRequest {
        ident: IDENT,
        seq_no: sent.len() as u16,
        data: sent,
    };
    let asking = station.sockets.get_mut::<icmp::Socket<'_>>(socket);
    asking.bind(icmp::Endpoint::Ident(IDENT)).map_err(words)?;
    let bytes = asking.send(echo.buffer_len(), at.into()).map_err(words)?;
    echo.emit(&mut Icmpv4Packet::new_unchecked(bytes), &sums);
    station.until(limit, |station| {
        let socket = station.sockets.get_mut::<icmp::Socket<'_>>(socket);
        if !socket.can_recv() {
            return Ok(Look::Nothing);
        }
        let (bytes, from) = socket.recv().map_err(words)?;
        let packet = Icmpv4Packet::new_checked(bytes).map_err(words)?;
        match Icmpv4Repr::parse(&packet, &sums).map_err(words)? {
            Icmpv4Repr::EchoReply { seq_no, data, .. }
                if from == at.into() && usize::from(seq_no) == sent.len() =>
            {
                let same = data == sent;
                same.then_some(Look::Done(()))
                    .ok_or_else(|| "it comes back as another".into())
            }
            other => Err(format!("{from} answers {other:?}")),
        }
    })
}

/// Fetches a document of `bytes` that follow from `seed`.
pub(super) fn fetch(
    station: &mut Station,
    from: Ipv4Address,
    port: u16,
    seed: u64,
    bytes: u64,
) -> Finding<Document> {
    let socket = tcp::Socket::new(
        tcp::SocketBuffer::new(vec![0; ROOM]),
        tcp::SocketBuffer::new(vec![0; ASKED]),
    );
    let socket = station.sockets.add(socket);
    let fetched = fetch_by(station, socket, (from, port), seed, bytes);
    station.sockets.remove(socket);
    fetched
}

fn fetch_by(
    station: &mut Station,
    socket: SocketHandle,
    from: (Ipv4Address, u16),
    seed: u64,
    bytes: u64,
) -> Finding<Document> {
    let (host, port) = from;
    let asked =
        format!("GET /{seed}/{bytes} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    let context = station.interface.context();
    let connecting = station.sockets.get_mut::<tcp::Socket<'_>>(socket);
    connecting.connect(context, from, PORT).map_err(words)?;
    let (mut answer, mut hash) = (Answer::default(), Sha256::new());
    let mut left = asked.as_bytes();
    station.until(PATIENCE, |station| {
        let socket = station.sockets.get_mut::<tcp::Socket<'_>>(socket);
        if !left.is_empty() && socket.can_send() {
            let put = socket.send_slice(left).map_err(words)?;
            left = left.get(put..).unwrap_or_default();
            return Ok(Look::Some);
        }
        if socket.can_recv() {
            let taken = socket.recv(|bytes| {
                let taken = answer.take(bytes, &mut |body| hash.update(body));
                (bytes.len(), taken)
            });
            taken.map_err(words)??;
            return Ok(Look::Some);
        }
        let ended = !socket.may_recv() && left.is_empty();
        match (answer.is_whole(), ended) {
            (true, true) => Ok(Look::Done(())),
            (false, true) => Err(format!("the document ends after {} bytes", answer.come())),
            _ if !socket.is_open() => Err("nobody listens".into()),
            _ => Ok(Look::Nothing),
        }
    })?;
    let socket = station.sockets.get_mut::<tcp::Socket<'_>>(socket);
    socket.close();
    station.turn()?;
    Ok(Document {
        bytes: answer.come(),
        sha256: format!("{:x}", hash.finalize()),
    })
}
