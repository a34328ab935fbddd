//! A connection, and the bytes that go over it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};

use crate::exercise::bench::Finding;
use crate::exercise::random::Numbers;

/// Bytes that are under way, at most.
const SENT: usize = 128 * 1024;

/// Bytes that there is room for where they come. As what has come is taken after each look, the window
/// never closes: one of smoltcp that does, closes by some bytes too many, which are then sent again after
/// a second. (What it says of it is rounded down, and so what it takes.)
const ROOM: usize = 2 * SENT;

/// Bytes that are compared at a time.
const STEP: usize = 4096;

/// A connection, as one end sees it.
pub(super) struct Flow {
    pub(super) socket: SocketHandle,
    /// What is sent, and how many bytes of it are still to be.
    outgoing: Stream,
    left: u64,
    /// What is to come, and how many bytes of it are.
    incoming: Stream,
    missing: u64,
    /// How many have come.
    pub(super) received: u64,
}

impl Flow {
    /// A connection whose bytes, one way and the other, follow from two seeds. Nothing is to be sent yet.
    pub(super) fn new(sockets: &mut SocketSet<'static>, outgoing: u64, incoming: u64) -> Self {
        let room = |bytes| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(room(ROOM), room(SENT));
        // The last bytes are not to wait for an answer to those before.
        socket.set_nagle_enabled(false);
        Self {
            socket: sockets.add(socket),
            outgoing: Stream::new(outgoing),
            left: 0,
            incoming: Stream::new(incoming),
            missing: 0,
            received: 0,
        }
    }

    /// So many bytes are to be sent, and to come.
    pub(super) fn begin(&mut self, bytes: u64) {
        self.left += bytes;
        self.missing += bytes;
    }

    pub(super) fn is_done(&self) -> bool {
        self.missing == 0
    }

    /// Sends what there is room for, and takes what has come. Says whether there was any.
    pub(super) fn serve(&mut self, sockets: &mut SocketSet<'static>) -> Finding<bool> {
        let socket: &mut Socket<'_> = sockets.get_mut(self.socket);
        let mut any = false;
        while self.left != 0 && socket.can_send() {
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            let put = socket.send(|room| {
                let now = room.len().min(left);
                let room = room.get_mut(..now).unwrap_or_default();
                self.outgoing.fill(room);
                (now, now)
            });
            let put = put.map_err(|error| error.to_string())?;
            self.left -= put as u64;
            any |= put != 0;
        }
        while socket.can_recv() {
            let got = socket.recv(|bytes| {
                let found = self.incoming.agrees(bytes);
                (bytes.len(), found.map(|()| bytes.len()))
            });
            let got = got.map_err(|error| error.to_string())?;
            let got = got.map_err(|at| {
                let at = self.received + at as u64;
                format!("byte {at} of a connection is another than was sent")
            })? as u64;
            let rest = self.missing.checked_sub(got);
            self.missing = rest.ok_or("more bytes came than were sent")?;
            self.received += got;
            any = true;
        }
        Ok(any)
    }
}

/// Bytes that follow from a seed, one after the other.
struct Stream {
    numbers: Numbers,
    /// What of the last number was not used yet: the last bytes of it.
    rest: [u8; size_of::<u64>()],
    unused: usize,
    expected: Box<[u8; STEP]>,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers::new(seed),
            rest: [0; _],
            unused: 0,
            expected: Box::new([0; STEP]),
        }
    }

    /// Fills `into` with the next bytes.
    fn fill(&mut self, into: &mut [u8]) {
        let now = self.unused.min(into.len());
        let (head, rest) = into.split_at_mut(now);
        self.begun(head);
        let (words, tail) = rest.as_chunks_mut();
        for word in words {
            *word = self.numbers.draw().to_le_bytes();
        }
        if !tail.is_empty() {
            self.rest = self.numbers.draw().to_le_bytes();
            self.unused = self.rest.len();
            self.begun(tail);
        }
    }

    /// Fills `into` with what is left of the number that was begun, of which that is no more.
    fn begun(&mut self, into: &mut [u8]) {
        let begin = self.rest.len() - self.unused;
        let from = self.rest.get(begin..).unwrap_or_default();
        for (to, from) in into.iter_mut().zip(from) {
            *to = *from;
        }
        self.unused -= into.len();
    }

    /// Whether `bytes` are the next ones. Otherwise says which is the first that is not.
    fn agrees(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut expected = core::mem::replace(&mut self.expected, Box::new([0; STEP]));
        let mut found = Ok(());
        for (step, at) in bytes.chunks(STEP).zip((0..).step_by(STEP)) {
            let expected = expected.get_mut(..step.len()).unwrap_or_default();
            self.fill(expected);
            if expected != step {
                let same = expected.iter().zip(step).take_while(|(a, b)| a == b);
                found = Err(at + same.count());
                break;
            }
        }
        self.expected = expected;
        found
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Lengths that are no multiples of a word.
    const LENGTHS: [usize; 8] = [1, 2, 7, 8, 9, 4096, 4097, 20_001];

    #[test]
    fn a_stream_is_the_same_however_it_is_taken() {
        let total = LENGTHS.iter().sum();
        let mut whole = vec![0; total];
        Stream::new(5).fill(&mut whole);
        let mut parts = Stream::new(5);

        let pieces: Vec<u8> = LENGTHS
            .into_iter()
            .flat_map(|len| {
                let mut piece = vec![0; len];
                parts.fill(&mut piece);
                piece
            })
            .collect();

        assert_eq!(pieces, whole);
        let mut numbers = vec![0; total];
        Numbers::new(5).fill(&mut numbers);
        assert_eq!(whole, numbers);
    }

    #[test]
    fn one_byte_that_is_another_is_found_wherever_it_is() {
        let mut bytes = vec![0; 10_000];
        Stream::new(6).fill(&mut bytes);

        for at in [0, 7, 8, 4095, 4096, 9_999] {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;

            assert_eq!(Stream::new(6).agrees(&wrong), Err(at));
            assert_eq!(Stream::new(7).agrees(&bytes), Err(0));
        }
        let mut right = Stream::new(6);
        assert_eq!(
            bytes.chunks(77).try_for_each(|part| right.agrees(part)),
            Ok(())
        );
    }
}
