//! Two machines, joined by a switch, move bytes over TCP.
#![cfg(test)]

mod adverse;
mod host;

use core::time::Duration;

use host::{Host, Through, Way, byte};
use ringway_driver::net::RECEIVE_OFFLOADS;
use ringway_host::net::Switch;
use ringway_machine::{History, Run};
use ringway_spec::{F, Features};
use smoltcp::socket::tcp::Socket;
use smoltcp::wire::IpAddress;

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

const PORT: u16 = 4000;

/// How often two machines that run step by step are looked at before what they wait for is time.
const QUIET: u32 = 200;

/// Two machines that are joined by a switch.
fn joined(way: Way) -> [Host; 2] {
    let switch = Switch::new();
    [1, 2].map(|number| Host::new(way, number, switch.port()))
}

/// Sends `len` bytes from one machine to another, and compares each, within `limit`. Returns what happened on them, if they run step by step.
fn transfer(
    [mut from, mut to]: [Host; 2],
    way: Way,
    len: usize,
    limit: Duration,
) -> [Option<History>; 2] {
    to.socket().listen(PORT).unwrap();
    let remote = (IpAddress::v4(192, 0, 2, 2), PORT);
    let Host {
        interface,
        sockets,
        socket,
        ..
    } = &mut from;
    let connecting = sockets.get_mut::<Socket<'_>>(*socket);
    connecting
        .connect(interface.context(), remote, 5000)
        .unwrap();
    let (mut sent, mut received, mut quiet) = (0, 0, 0);
    let deadline = from.now() + limit.into();

    while received < len {
        let before = (sent, received);
        from.poll();
        let socket = from.socket();
        if socket.can_send() && sent < len {
            let put = socket.send(|room| {
                let now = room.len().min(len - sent);
                for (at, to) in (sent..).zip(&mut room[..now]) {
                    *to = byte(at);
                }
                (now, now)
            });
            sent += put.unwrap();
        }
        to.poll();
        let socket = to.socket();
        if socket.can_recv() {
            let got = socket.recv(|bytes| {
                for (at, from) in (received..).zip(&*bytes) {
                    assert_eq!(*from, byte(at), "{way:?}, byte {at}");
                }
                (bytes.len(), bytes.len())
            });
            received += got.unwrap();
        }
        quiet = match before == (sent, received) {
            true => quiet + 1,
            false => 0,
        };
        if quiet > QUIET && way.run != Run::Threaded {
            let idle = [from.idle(), to.idle()].into_iter().flatten().min();
            let idle = idle.unwrap_or_default();
            from.leap(idle);
            to.leap(idle);
        }
        let now = from.now();
        assert!(
            now < deadline,
            "{way:?}: {received} of {len} bytes came, {sent} were taken"
        );
        std::thread::yield_now();
    }

    assert_eq!([from.drops(), to.drops()], [[0; 2]; 2], "{way:?}");
    [from, to].map(|host| host.machine.history())
}

#[test]
fn bytes_arrive_over_every_transport_and_ring() {
    let rings = [Features::NONE, F::RING_PACKED | F::EVENT_IDX];
    for through in [Through::Pci, Through::Mmio] {
        for ring in rings {
            let way = Way {
                through,
                ring,
                mtu: 1500,
                pairs: 1,
                without: Features::NONE,
                optional: RECEIVE_OFFLOADS,
                run: Run::Threaded,
            };
            transfer(joined(way), way, 1 << 18, LIMIT);
        }
    }
}

#[test]
fn bytes_arrive_with_large_packets_and_without_offloads() {
    let offloads = RECEIVE_OFFLOADS | ringway_spec::net::F::CSUM;
    for mtu in [1500, 9000] {
        for (without, optional) in [
            (offloads, Features::NONE),
            (Features::NONE, Features::NONE),
            (Features::NONE, RECEIVE_OFFLOADS),
        ] {
            let way = Way {
                through: Through::Pci,
                ring: F::EVENT_IDX,
                mtu,
                pairs: 1,
                without,
                optional,
                run: Run::Threaded,
            };
            transfer(joined(way), way, 1 << 18, LIMIT);
        }
    }
}

#[test]
fn bytes_arrive_by_whichever_of_several_pairs_of_queues_their_flow_is_sent() {
    for pairs in [2, 4] {
        let way = Way {
            through: Through::Pci,
            ring: F::EVENT_IDX,
            mtu: 1500,
            pairs,
            without: Features::NONE,
            optional: RECEIVE_OFFLOADS,
            run: Run::Threaded,
        };
        transfer(joined(way), way, 1 << 18, LIMIT);
    }
}
