//! Another machine at the other end of the line: both send over one connection, both ways at once, and
//! each says the hash of what it sent, and of what came.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use ringway_check::exercise::Numbers;
use sha2::{Digest, Sha256};
use smoltcp::socket::tcp;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use super::station::{Finding, Look, PATIENCE, Station, words};

/// Bytes that wait at either end, at most.
const ROOM: usize = 256 * 1024;
/// Where one listens.
const PORT: u16 = 4000;
/// From where the other connects.
const FROM: u16 = 49152;
/// Bytes that are made at a time: whole numbers.
const STEP: usize = 4096;

/// Which end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// That which listens.
    Listens,
    /// That which connects.
    Connects,
}

/// What went over the connection.
pub(super) struct Exchange {
    /// Bytes that came.
    pub(super) bytes: u64,
    /// Of what was sent, in hexadecimal.
    pub(super) sent: String,
    /// Of what came.
    pub(super) came: String,
}

impl End {
    fn address(self) -> Ipv4Address {
        match self {
            Self::Listens => Ipv4Address::new(192, 0, 2, 1),
            Self::Connects => Ipv4Address::new(192, 0, 2, 2),
        }
    }
}

/// Sends `bytes` bytes that follow from `seed`, and takes what comes until the other end has no more.
pub(super) fn exchange(
    station: &mut Station,
    end: End,
    seed: u64,
    bytes: u64,
) -> Finding<Exchange> {
    station.settle(Ipv4Cidr::new(end.address(), 24), None);
    let room = || tcp::SocketBuffer::new(vec![0; ROOM]);
    let mut socket = tcp::Socket::new(room(), room());
    // Nobody is here any more to give the last answer later.
    socket.set_ack_delay(None);
    match end {
        End::Listens => socket.listen(PORT).map_err(words)?,
        End::Connects => {
            let at = (End::Listens.address(), PORT);
            let context = station.interface.context();
            socket.connect(context, at, FROM).map_err(words)?;
        }
    }
    let socket = station.sockets.add(socket);
    let mut numbers = Numbers::new(seed);
    let (mut sent, mut came) = (Sha256::new(), Sha256::new());
    let (mut left, mut count) = (bytes, 0);
    // What was made, and not taken by the connection yet.
    let (mut made, mut begin, mut end) = ([0; STEP], 0, 0);
    station.until(PATIENCE, |station| {
        let socket = station.sockets.get_mut::<tcp::Socket<'_>>(socket);
        let mut any = false;
        while socket.can_send() && (begin < end || left != 0) {
            if begin == end {
                numbers.fill(&mut made);
                (begin, end) = (0, STEP.min(usize::try_from(left).unwrap_or(STEP)));
                left -= end as u64;
                sent.update(made.get(..end).unwrap_or_default());
            }
            let put = made.get(begin..end).unwrap_or_default();
            begin += socket.send_slice(put).map_err(words)?;
            any = true;
        }
        if left == 0 && begin == end && socket.may_send() {
            socket.close();
            any = true;
        }
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                came.update(&*bytes);
                (bytes.len(), bytes.len() as u64)
            });
            count += taken.map_err(words)?;
            any = true;
        }
        // Its last bytes, and its end, have come, and ours are known to have.
        let over = matches!(socket.state(), tcp::State::TimeWait | tcp::State::Closed);
        match (any, over && count == bytes) {
            (_, true) => Ok(Look::Done(())),
            (_, false) if over => Err(format!("{count} of {bytes} bytes come")),
            (true, false) => Ok(Look::Some),
            (false, false) => Ok(Look::Nothing),
        }
    })?;
    // The answer to the other's end is still to go.
    station.send_all()?;
    Ok(Exchange {
        bytes: count,
        sent: format!("{:x}", sent.finalize()),
        came: format!("{:x}", came.finalize()),
    })
}
