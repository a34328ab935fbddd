//! Reads what the host sends by an interface.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_device::net::{Inlet, PACKET_BYTES_MAX, Packet};
use ringway_spec::net::Header;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read};
use zerocopy::FromBytes;

use super::{Before, Link};
use crate::net::work;

/// Most packets that are delivered at once.
const BURST: usize = 64;

/// Most bytes that one call reads.
const READ_MAX: usize = size_of::<Header>() + PACKET_BYTES_MAX;

/// Bytes of the shortest packet: an Ethernet header.
const PACKET_BYTES_MIN: usize = 14;

/// Reads one queue, on a thread of its own.
pub(super) struct Reader {
    link: Arc<Link>,
    index: usize,
    card: Inlet,
    /// Where the next packet is read to.
    room: Vec<u8>,
    /// Memory for packets.
    spare: Vec<Packet>,
}

impl Reader {
    pub(super) fn new(link: Arc<Link>, index: usize, card: Inlet) -> Self {
        Self {
            link,
            index,
            card,
            room: vec![0; READ_MAX],
            spare: Vec::with_capacity(BURST),
        }
    }

    /// Delivers packets until the port goes.
    ///
    /// # Errors
    ///
    /// There will not be any more: the interface has been removed.
    pub(super) fn go_on(mut self) -> io::Result<()> {
        let link = Arc::clone(&self.link);
        let Some(queue) = link.queues.get(self.index) else {
            return Ok(());
        };
        let mut burst = Vec::with_capacity(BURST);
        // Once for each burst: a host that never stops sending does not keep anybody here.
        while self.wait(queue)? {
            let end = self.read(queue, &mut burst);
            self.card.deliver(&mut burst);
            self.spare.append(&mut burst);
            self.spare.truncate(BURST);
            end?;
        }
        Ok(())
    }

    /// Waits until there is something to read. Says whether to go on.
    fn wait(&self, queue: &OwnedFd) -> io::Result<bool> {
        loop {
            let mut both = [&self.link.end, queue].map(|what| PollFd::new(what, PollFlags::IN));
            match poll(&mut both, None) {
                Ok(_) => return Ok(both[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads what is there, as far as a burst goes.
    fn read(&mut self, queue: &OwnedFd, burst: &mut Vec<Packet>) -> io::Result<()> {
        // What is malformed counts, too.
        for _ in 0..BURST {
            match read(queue, &mut self.room) {
                Ok(len) => match judge(self.link.before, self.room.get(..len)) {
                    Some((header, bytes)) => {
                        self.link.counters.received(&header);
                        let mut packet = self.spare.pop().unwrap_or_default();
                        packet.header = header;
                        packet.hash = None;
                        packet.bytes.set(bytes);
                        burst.push(packet);
                    }
                    None => self.link.counters.malformed.add(),
                },
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The packet in what was read, and what is left to do with it, if it can be one.
fn judge(before: Before, read: Option<&[u8]>) -> Option<(Header, &[u8])> {
    let (header, bytes) = match before {
        Before::Nothing => (Header::default(), read?),
        Before::Header { .. } => Header::read_from_prefix(read?).ok()?,
    };
    if !(PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&bytes.len()) {
        return None;
    }
    Some((work::judge(&header, bytes).ok()?, bytes))
}
