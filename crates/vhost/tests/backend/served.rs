//! A device that is served on a thread of its own, and what is heard of it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Offer, Worker};
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::backend::{
    ConfigNotifier, DeviceCarrier, Event, Observer, Place, Reason, Server,
};
use ringway_vhost::event_loop::{EventLoop, Options};
use ringway_vhost::eventfd::EventFd;

/// Longer than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A device that is served.
pub(crate) struct Served {
    pub(crate) path: PathBuf,
    pub(crate) events: Arc<Events>,
    pub(crate) notifier: ConfigNotifier,
    stop: EventFd,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    // After the thread, which stops rings on it.
    _loops: Vec<EventLoop>,
    _folder: tempfile::TempDir,
}

impl Served {
    /// `device`, with all that vhost-user can offer, at a path of its own.
    pub(crate) fn new(device: impl Device + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vhost.sock");
        Self::at(device, Place::Listen(path.clone()), path, folder)
    }

    /// `device`, which is given up soon if it does not complete what it keeps.
    pub(crate) fn impatiently(device: impl Device + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vhost.sock");
        let options = Options {
            stop_max: Duration::from_millis(20),
            ..Options::default()
        };
        Self::by(options, device, Place::Listen(path.clone()), path, folder)
    }

    pub(crate) fn at(
        device: impl Device + 'static,
        place: Place,
        path: PathBuf,
        folder: tempfile::TempDir,
    ) -> Self {
        Self::by(Options::default(), device, place, path, folder)
    }

    fn by(
        options: Options,
        device: impl Device + 'static,
        place: Place,
        path: PathBuf,
        folder: tempfile::TempDir,
    ) -> Self {
        let events = Arc::new(Events::default());
        let spawn = |name| EventLoop::spawn(name, options).unwrap();
        let loops: Vec<_> = ["even", "odd"].map(spawn).into();
        let handles = loops.iter().map(EventLoop::handle).collect();
        let offer = Offer::default().with(F::RING_PACKED | F::IN_ORDER | F::ACCESS_PLATFORM);
        let carrier = DeviceCarrier::new(Box::new(device), offer, handles, events.clone()).unwrap();
        let notifier = carrier.notifier();
        let mut server = Server::new(place, carrier).unwrap();
        let stop = EventFd::new().unwrap();
        let stopped = stop.try_clone().unwrap();
        let thread = thread::spawn(move || server.serve(stopped.as_fd()));
        Self {
            path,
            events,
            notifier,
            stop,
            thread: Some(thread),
            _loops: loops,
            _folder: folder,
        }
    }

    pub(crate) fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    /// Has the server stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.stop.signal();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What happened.
#[derive(Default)]
pub(crate) struct Events {
    happened: Mutex<Vec<Event>>,
    more: Condvar,
}

impl Observer for Events {
    fn event(&self, event: Event) {
        self.happened.lock().unwrap().push(event);
        self.more.notify_all();
    }
}

impl Events {
    /// Waits for an event that `is` it, takes it and all before it, and returns it.
    pub(crate) fn wait(&self, is: impl Fn(&Event) -> bool) -> Event {
        let happened = self.happened.lock().unwrap();
        let none = |happened: &mut Vec<Event>| !happened.iter().any(&is);
        let waited = self.more.wait_timeout_while(happened, LIMIT, none).unwrap();
        let (mut happened, _) = waited;
        let at = happened.iter().position(&is);
        let Some(at) = at else {
            // The server has more to say: not with the lock held.
            let these = std::mem::take(&mut *happened);
            drop(happened);
            panic!("not among {these:?}");
        };
        happened.drain(..=at).next_back().unwrap()
    }

    /// Whether an event happened that `is` it, since the last one that was waited for.
    pub(crate) fn has(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.happened.lock().unwrap().iter().any(is)
    }

    /// Waits until a front-end is gone, and tells why it is.
    pub(crate) fn disconnected(&self) -> Reason {
        match self.wait(|event| matches!(event, Event::Disconnected { .. })) {
            Event::Disconnected { reason, .. } => reason,
            _ => unreachable!("it waited for that"),
        }
    }
}

/// Gives sevens.
pub(crate) struct Sevens;

impl Source for Sevens {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(7);
        Ok(())
    }
}

/// An entropy device that is served.
pub(crate) fn entropy() -> Served {
    Served::new(sevens())
}

/// An entropy device, as if it had a configuration, whose changes are heard in turn with all else.
pub(crate) fn sevens() -> impl Device {
    Configured(Entropy::new(Sevens))
}

struct Configured<D>(D);

impl<D: Device> Device for Configured<D> {
    fn id(&self) -> DeviceId {
        self.0.id()
    }

    fn features(&self) -> Features {
        self.0.features()
    }

    fn queue_sizes(&self) -> &[u16] {
        self.0.queue_sizes()
    }

    fn config_bytes(&self) -> usize {
        1
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker> {
        self.0.worker(index, features)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}
