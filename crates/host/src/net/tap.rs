//! A TAP interface of Linux: the card is a neighbour of the host.

use core::sync::atomic::{AtomicU32, Ordering};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use libc::{c_int, c_uint};
use ringway_device::net::{Inlet, Packet, Port};
use ringway_spec::le::U16;
use ringway_spec::net::{GsoType, Header, HeaderFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, writev};
use zerocopy::IntoBytes;

use super::work;
use crate::error::{Error, Result};
use crate::sys;
use counts::Counters;
use reader::Reader;

mod counts;
mod reader;

pub use counts::Counts;

/// Most queues of one interface: the kernel's own limit.
pub const QUEUES_MAX: u16 = 256;

/// Where interfaces are made, and found.
const DEVICE: &str = "/dev/net/tun";

/// Longest name of an interface, in bytes.
const NAME_MAX: usize = 15;

/// What is asked of the kernel to leave to us, the most first: kernels before 6.2 do not know of
/// datagrams in one, and refuse all.
const OFFLOADS: [c_uint; 4] = {
    let segments = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    let datagrams = segments | libc::TUN_F_USO4 | libc::TUN_F_USO6;
    [datagrams, segments, libc::TUN_F_CSUM, 0]
};

/// How an interface is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// How many queues, 1 to [`QUEUES_MAX`], each with a thread that reads. More than one takes an
    /// interface that was made for several (`ip tuntap add … multi_queue`), or is not there yet.
    pub queues: u16,
    /// Who does what packets leave to do.
    pub work: Work,
}

/// Who does what is left to do with packets: checksums, and cutting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// The kernel, or whoever gets the packet from it, as far as they can; and what the kernel leaves,
    /// the card does, as far as its driver does not.
    #[default]
    Kernel,
    /// This process, before the kernel sees a packet. The kernel leaves nothing. For comparison.
    Here,
}

impl Default for TapOptions {
    fn default() -> Self {
        Self {
            queues: 1,
            work: Work::Kernel,
        }
    }
}

/// A TAP interface, as a port. What is sent comes in by the interface on the host; what the host sends
/// by the interface is delivered to the card, from when it is connected, by a thread for each queue.
///
/// The interface has the host's end of the cable: its addresses, whether it is up, and which bridge it
/// is on are set there (`ip link set NAME up`). While it is down, what is sent is dropped. An interface
/// that is not there is made, if this process may, and goes with it.
///
/// What the kernel hands over is judged as a driver's is. What it is asked to leave undone does not
/// depend on the card's driver: an [`Inlet`] gives each driver what it takes.
pub struct Tap {
    name: String,
    link: Arc<Link>,
    readers: Mutex<Vec<JoinHandle<()>>>,
}

/// What senders and readers share.
struct Link {
    queues: Vec<OwnedFd>,
    before: Before,
    /// Readable once readers are to end.
    end: OwnedFd,
    counters: Counters,
    /// For fragments of IPv6 that are cut here.
    identification: AtomicU32,
    failed: Mutex<Option<Failed>>,
}

/// Is told why packets can be received no more.
type Failed = Box<dyn FnOnce(io::Error) + Send>;

/// What stands before each packet, on its way to the kernel and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A header, which may leave datagrams to be cut, or not.
    Header {
        datagrams: bool,
    },
}

impl Tap {
    /// Opens the interface `name`, or makes it: at most 15 bytes, and with `%d` in it the first number
    /// that is free. `failed` is told, once, if packets can be received no more: the interface has been
    /// removed, or the system has no room for a thread.
    ///
    /// # Errors
    ///
    /// [`Error::InterfaceName`], [`Error::NoTun`] and [`Error::Tap`]
    pub fn open(
        name: &str,
        options: TapOptions,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> Result<Self> {
        if !is_name(name) {
            return Err(Error::InterfaceName(name.to_owned()));
        }
        let count = options.queues.clamp(1, QUEUES_MAX);
        let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
        if count > 1 {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        if options.work == Work::Kernel {
            flags |= libc::IFF_VNET_HDR;
        }
        let (mut name, mut before) = (name.to_owned(), Before::Nothing);
        let mut queues = Vec::new();
        for _ in 0..count {
            let (file, own_name) = attach(&name, flags)?;
            // The next ones are of this, whatever number it was given.
            name = own_name;
            before = agree(&file, options.work).map_err(Error::tap(&name))?;
            queues.push(file.into());
        }
        Self::over(queues, before, name.clone(), failed).map_err(Error::tap(&name))
    }

    /// A port over what packets are read from and written to, each by one call that does not wait.
    fn over(
        queues: Vec<OwnedFd>,
        before: Before,
        name: String,
        failed: impl FnOnce(io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let link = Link {
            queues,
            before,
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            counters: Counters::default(),
            identification: AtomicU32::new(0),
            failed: Mutex::new(Some(Box::new(failed))),
        };
        Ok(Self {
            name,
            link: Arc::new(link),
            readers: Mutex::default(),
        })
    }

    /// What the interface is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What has gone through so far.
    pub fn counts(&self) -> Counts {
        self.link.counters.counts()
    }
}

impl Port for Tap {
    fn connect(&self, card: Inlet) {
        for index in 0..self.link.queues.len() {
            let link = Arc::clone(&self.link);
            let reader = Reader::new(Arc::clone(&link), index, card.clone());
            let thread = thread::Builder::new().name(format!("{} {index}", self.name));
            let started = thread.spawn(move || {
                if let Err(error) = reader.go_on() {
                    link.fail(error);
                }
            });
            match started {
                Ok(reader) => lock(&self.readers).push(reader),
                Err(error) => self.link.fail(error),
            }
        }
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let Some(queue) = self.link.queue() else {
            return;
        };
        for packet in packets {
            self.link.send(queue, packet);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // A counter at 0 has room for it.
        let _ = rustix::io::write(&self.link.end, &1_u64.to_ne_bytes());
        let this = thread::current().id();
        for reader in mem::take(&mut *lock(&self.readers)) {
            // The last handle of a carrier may go while it is told of packets.
            if reader.thread().id() != this {
                let _ = reader.join();
            }
        }
    }
}

impl Link {
    /// Tells it, unless something was told before.
    fn fail(&self, error: io::Error) {
        let failed = lock(&self.failed).take();
        if let Some(failed) = failed {
            failed(error);
        }
    }

    /// The queue that this thread sends by: always the same, so that the order of a flow, which a card
    /// sends from one thread, is kept, and answers come by the same.
    fn queue(&self) -> Option<&OwnedFd> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        thread_local! {
            static OWN: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        let own = OWN.with(|&own| own) as usize;
        self.queues.get(own.checked_rem(self.queues.len())?)
    }

    fn send(&self, queue: &OwnedFd, packet: &mut Packet) {
        let header = packet.header;
        if self.leaves(&header) {
            let header = Header {
                flags: header.flags & HeaderFlags::NEEDS_CSUM.bits(),
                num_buffers: U16::new(0),
                ..header
            };
            return self.write(queue, &header, &packet.bytes);
        }
        // Nobody has two in flight that are 2³² packets apart.
        let identification = self.identification.fetch_add(1, Ordering::Relaxed);
        let done = work::finish(&header, &mut packet.bytes, identification, |piece| {
            self.write(queue, &Header::default(), piece);
        });
        if done.is_err() {
            self.counters.refused.add();
        }
    }

    /// Whether the kernel is given a packet with what is left to do of it.
    fn leaves(&self, header: &Header) -> bool {
        match self.before {
            Before::Nothing => false,
            Before::Header { datagrams } => datagrams || header.gso_type.kind() != GsoType::UDP_L4,
        }
    }

    fn write(&self, queue: &OwnedFd, header: &Header, packet: &[u8]) {
        let before = match self.before {
            Before::Nothing => &[],
            Before::Header { .. } => header.as_bytes(),
        };
        let parts = [IoSlice::new(before), IoSlice::new(packet)];
        match writev(queue, &parts) {
            Ok(_) => self.counters.sent(header),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => self.counters.no_room.add(),
            Err(Errno::IO) => self.counters.down.add(),
            Err(_) => self.counters.refused.add(),
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One more queue of the interface `name`, and what that is called in truth.
fn attach(name: &str, flags: c_int) -> Result<(File, String)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(Path::new(DEVICE))
        .map_err(Error::NoTun)?;
    let name = sys::attach(file.as_fd(), name, flags).map_err(Error::tap(name))?;
    Ok((file, name))
}

/// Tells the kernel what stands before packets, and asks it to leave to do what it can, or nothing.
fn agree(queue: &File, work: Work) -> io::Result<Before> {
    let queue = queue.as_fd();
    if work == Work::Here {
        // Whoever had the interface before may have asked for more.
        sys::set_offloads(queue, 0)?;
        return Ok(Before::Nothing);
    }
    sys::set_header(queue, size_of::<Header>() as c_int)?;
    for offloads in OFFLOADS {
        match sys::set_offloads(queue, offloads) {
            // Who hands datagrams over whole takes them whole.
            Ok(()) => {
                let datagrams = offloads & libc::TUN_F_USO4 != 0;
                return Ok(Before::Header { datagrams });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the kernel takes it as an interface's.
fn is_name(name: &str) -> bool {
    let is_odd = |byte: u8| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace();
    (1..=NAME_MAX).contains(&name.len()) && !name.bytes().any(is_odd) && name != "." && name != ".."
}

#[cfg(test)]
mod tests;
