//! `ringway serve`: devices for whoever comes with a driver.

pub(crate) mod args;
mod meeting;
pub(crate) mod net;
mod sandbox;
mod stop;
mod voice;

use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread;

use ringway_device::blk::{self, Disk, Null};
use ringway_device::entropy::Entropy;
use ringway_device::{Device as Model, Offer};
use ringway_host::{Access, Cache, Image, Locking, Options, OsEntropy};
use ringway_spec::blk::SECTOR_SIZE;
use ringway_vhost::backend::{DeviceCarrier, Server};
use ringway_vhost::event_loop::{self, EventLoop};

use crate::refusal::{Refusal, Result};
use args::{Blk, Device, Serve};
use meeting::Meeting;
use net::{Neighbour, Planned};
use stop::Stop;
use voice::{Form, Voice};

/// Devices, in the order in which front-ends for them are met.
type Models = Vec<Box<dyn Model>>;

/// Does what `ringway serve` does. Says whether it stopped because it was told to.
pub(crate) fn serve(args: &Serve) -> Result<bool> {
    let way = args.device.way();
    let meetings = args.device.meetings();
    // Before anything else has the numbers of those that are given.
    let places = meetings.iter().map(|meeting| meeting.place());
    let places = places.collect::<Result<Vec<_>>>()?;
    let (models, planned) = models(&args.device)?;
    let offer = Offer::NOTHING.with(way.offer()?);
    let stop = Stop::on_signals().map_err(cannot("wait for signals"))?;
    let form = if way.json { Form::Json } else { Form::Lines };
    let voice = Voice::new(args.device.id(), form);
    // What says so is a file, too.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if way.sandbox {
        sandbox::close_files(meetings.iter().filter_map(|meeting| meeting.folder()))?;
    }

    let neighbours = planned.into_iter().map(Planned::start);
    let neighbours = neighbours.collect::<Result<Vec<_>>>()?;
    for interface in neighbours.iter().filter_map(Neighbour::interface) {
        voice.joined(interface);
    }
    let queues = models.iter().map(|model| model.queue_sizes().len()).sum();
    let threads = way.threads.map_or(processors, usize::from).min(queues);
    let loops = loops(threads)?;
    let mut handles: Vec<_> = loops.iter().map(EventLoop::handle).collect();
    let mut served = Vec::new();
    for ((number, model), (place, meeting)) in
        (0..).zip(models).zip(places.into_iter().zip(meetings))
    {
        let voice = match &args.device {
            Device::Net(_) => voice.of_card(number),
            Device::Blk(_) | Device::Entropy(_) => voice,
        };
        let queues = model.queue_sizes().len();
        let carrier = DeviceCarrier::new(model, offer, handles.clone(), Arc::new(voice));
        let carrier =
            carrier.map_err(|fault| Refusal::new(format_args!("cannot serve it: {fault}")))?;
        let server = Server::new(place, carrier);
        served.push(Served {
            server: server.map_err(|error| meeting.refusal(&error))?,
            meeting,
            queues,
            voice,
        });
        // So that not all first queues are served by the same one.
        handles.rotate_left(1);
    }
    let stopped = serve_all(&mut served, &stop, way.sandbox);
    // In this order: what is served is stopped before those who serve it.
    drop(served);
    drop(loops);
    let stopped = stopped? && neighbours.iter().all(Neighbour::stayed);
    if stopped {
        voice.stopped();
    }
    Ok(stopped)
}

/// A device that is served, and how.
struct Served<'a> {
    server: Server,
    meeting: Meeting<'a>,
    queues: usize,
    voice: Voice,
}

impl Served<'_> {
    /// Serves it until all are to stop. Says whether it stopped because of that; otherwise the others
    /// are to stop, too.
    fn serve(&mut self, stop: &Stop) -> bool {
        self.voice.ready(self.meeting, self.queues);
        let served = self.server.serve(stop.as_fd());
        if let Err(error) = &served {
            self.meeting.refusal(error).tell();
            stop.now();
        }
        served.is_ok()
    }
}

/// Serves all devices, the first on this thread and each other on its own. Says whether they stopped
/// because they were told to.
fn serve_all(all: &mut [Served<'_>], stop: &Stop, confined: bool) -> Result<bool> {
    thread::scope(|scope| {
        let mut all = all.iter_mut();
        let first = all.next();
        let mut others = Vec::new();
        for served in all {
            let (start, started) = mpsc::channel::<()>();
            let serve = move || started.recv().is_err() || served.serve(stop);
            let other = thread::Builder::new().name("front-end".to_owned());
            let other = other.spawn_scoped(scope, serve);
            others.push((start, other.map_err(cannot("start a thread"))?));
        }
        // No front-end is met before all threads are confined.
        if confined {
            sandbox::close_calls()?;
        }
        for (start, _) in &others {
            // It waits for that.
            let _ = start.send(());
        }
        let mut stopped = first.is_none_or(|served| served.serve(stop));
        for (_, other) in others {
            stopped &= other.join().unwrap_or(false);
        }
        Ok(stopped)
    })
}

/// The devices, and who is to be beside them.
fn models(device: &Device) -> Result<(Models, Vec<Planned>)> {
    let alone: Box<dyn Model> = match device {
        Device::Blk(args) => Box::new(blk::Blk::new(disk(args)?, args.queues)),
        Device::Entropy(_) => Box::new(Entropy::new(OsEntropy)),
        Device::Net(args) => return net::cards(args),
    };
    Ok((vec![alone], Vec::new()))
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

fn cannot(what: &'static str) -> impl FnOnce(io::Error) -> Refusal {
    move |error| Refusal::new(format_args!("cannot {what}: {error}"))
}
