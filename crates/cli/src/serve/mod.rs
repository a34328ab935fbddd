//! `ringway serve`: a device for whoever comes with a driver.

pub(crate) mod args;
mod sandbox;
mod stop;
mod voice;

use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use ringway_device::blk::{self, Disk, Null};
use ringway_device::entropy::Entropy;
use ringway_device::{Device as Model, Offer};
use ringway_host::{Access, Cache, Image, Locking, Options, OsEntropy};
use ringway_spec::blk::SECTOR_SIZE;
use ringway_vhost::backend::{DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{self, EventLoop};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::refusal::{Refusal, Result};
use crate::sys;
use args::{Blk, Device, Serve, Way};
use stop::Stop;
use voice::{Form, Voice};

/// Does what `ringway serve` does. Says whether it stopped because it was told to.
pub(crate) fn serve(args: &Serve) -> Result<bool> {
    let way = args.device.way();
    // Before anything else has its number.
    let given = way.fd.map(given_socket).transpose()?;
    let model = model(&args.device)?;
    let offer = Offer::NOTHING.with(way.offer()?);
    let stop = Stop::on_signals().map_err(cannot("wait for signals"))?;
    let form = if way.json { Form::Json } else { Form::Lines };
    let voice = Arc::new(Voice::new(args.device.id(), form));
    // What says so is a file, too.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if way.sandbox {
        sandbox::close_files(folder(way).as_deref())?;
    }

    let queues = model.queue_sizes().len();
    let threads = way.threads.map_or(processors, usize::from).min(queues);
    let loops = loops(threads)?;
    let handles = loops.iter().map(EventLoop::handle).collect();
    let carrier = DeviceCarrier::new(model, offer, handles, voice.clone());
    let carrier =
        carrier.map_err(|fault| Refusal::new(format_args!("cannot serve it: {fault}")))?;
    let meeting = Meeting::new(way);
    let server = Server::new(meeting.place(given), carrier);
    let mut server = server.map_err(|error| meeting.refusal(&error))?;
    if way.sandbox {
        sandbox::close_calls()?;
    }

    voice.ready(meeting, queues);
    let served = server.serve(stop.as_fd());
    // In this order: what is served is stopped before those who serve it.
    drop(server);
    drop(loops);
    match &served {
        Ok(()) => voice.stopped(),
        Err(error) => meeting.refusal(error).tell(),
    }
    Ok(served.is_ok())
}

/// Where front-ends are met.
#[derive(Clone, Copy, Debug)]
enum Meeting<'a> {
    Listen(&'a Path),
    Connect(&'a Path),
    Given,
}

impl<'a> Meeting<'a> {
    fn new(way: &'a Way) -> Self {
        match &way.vhost_user {
            Some(path) if way.connect => Self::Connect(path),
            Some(path) => Self::Listen(path),
            None => Self::Given,
        }
    }

    fn place(self, given: Option<OwnedFd>) -> Place {
        match (self, given) {
            (_, Some(socket)) => Place::Descriptor(socket),
            (Self::Connect(path), None) => Place::Connect(path.to_path_buf()),
            (Self::Listen(path), None) => Place::Listen(path.to_path_buf()),
            (Self::Given, None) => Place::Listen(PathBuf::new()),
        }
    }

    /// Why no front-end can be met there.
    fn refusal(self, error: &io::Error) -> Refusal {
        let (doing, path) = match self {
            Self::Listen(path) => ("listen at", path),
            Self::Connect(path) => ("connect to", path),
            Self::Given => {
                return Refusal::new(format_args!("cannot use the socket of --fd: {error}"));
            }
        };
        let is_socket = || {
            let found = path.symlink_metadata();
            found.is_ok_and(|found| found.file_type().is_socket())
        };
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if is_socket() => {
                "somebody listens there: stop them, or choose another path".to_owned()
            }
            io::ErrorKind::AddrInUse => {
                "there is such a file, and it is no socket: choose another path".to_owned()
            }
            io::ErrorKind::NotFound => "its folder does not exist: make it".to_owned(),
            _ => error.to_string(),
        };
        Refusal::new(format_args!("cannot {doing} {}: {hint}", path.display()))
    }
}

/// The device.
fn model(device: &Device) -> Result<Box<dyn Model>> {
    Ok(match device {
        Device::Blk(args) => Box::new(blk::Blk::new(disk(args)?, args.queues)),
        Device::Entropy(_) => Box::new(Entropy::new(OsEntropy)),
    })
}

fn disk(args: &Blk) -> Result<Arc<dyn Disk>> {
    let access = if args.read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let options = Options {
        cache: if args.direct {
            Cache::Direct
        } else {
            Cache::System
        },
        locking: if args.no_lock {
            Locking::None
        } else {
            Locking::Taken
        },
        ..Options::new(access)
    };
    Ok(match (&args.image, args.null) {
        (Some(path), _) => Arc::new(Image::open_with(path, options)?),
        (None, size) => {
            let bytes = size.map_or(0, NonZeroU64::get);
            Arc::new(Null::new(bytes / SECTOR_SIZE as u64))
        }
    })
}

/// Those who serve the queues.
fn loops(threads: usize) -> Result<Vec<EventLoop>> {
    (0..threads)
        .map(|number| EventLoop::spawn(&format!("rings {number}"), event_loop::Options::default()))
        .collect::<io::Result<_>>()
        .map_err(cannot("start a thread"))
}

/// The socket of this number, which somebody else opened.
fn given_socket(number: i32) -> Result<OwnedFd> {
    let not_open = |error: io::Error| {
        Refusal::new(format_args!(
            "descriptor {number} of --fd cannot be used: {error}; whoever starts ringway is to \
             leave a socket open there"
        ))
    };
    let socket = sys::inherited(number).map_err(not_open)?;
    let is_right = socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && socket_type(&socket) == Ok(SocketType::STREAM);
    if is_right {
        Ok(socket)
    } else {
        Err(Refusal::new(format_args!(
            "descriptor {number} of --fd is no Unix stream socket, which vhost-user needs"
        )))
    }
}

/// The folder in which a socket is made and removed.
fn folder(way: &Way) -> Option<PathBuf> {
    let Meeting::Listen(path) = Meeting::new(way) else {
        return None;
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    Some(parent.unwrap_or(Path::new(".")).to_path_buf())
}

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal::new(format_args!("cannot {what}: {error}"))
}
