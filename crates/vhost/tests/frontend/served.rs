//! A disk that is served at a path, by one back-end after another.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_device::blk::{Blk, RamDisk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Offer};
use ringway_driver::bringup::Acknowledged;
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_driver::{blk, bringup::Wanted};
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::backend::{ConfigNotifier, DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{self, EventLoop};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::frontend::{MemoryOptions, Options, Platform, Transport};

/// Longer than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

pub(crate) const SECTORS: usize = 64;

pub(crate) type Disk = blk::Blk<Transport, DmaBuffer>;

/// A back-end. Ends when it is dropped.
pub(crate) struct Served {
    pub(crate) notifier: ConfigNotifier,
    stop: EventFd,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    // After the thread, which stops rings on it.
    _loops: Vec<EventLoop>,
}

impl Served {
    pub(crate) fn new(path: &Path, device: impl Device + 'static) -> Self {
        let serving = EventLoop::spawn("rings", event_loop::Options::default()).unwrap();
        let offer = Offer::default().with(F::RING_PACKED | F::IN_ORDER);
        let loops = vec![serving.handle()];
        let carrier = DeviceCarrier::new(Box::new(device), offer, loops, Arc::new(())).unwrap();
        let notifier = carrier.notifier();
        let mut server = Server::new(Place::Listen(path.into()), carrier).unwrap();
        let stop = EventFd::new().unwrap();
        let stopped = stop.try_clone().unwrap();
        let thread = thread::spawn(move || server.serve(stopped.as_fd()));
        Self {
            notifier,
            stop,
            thread: Some(thread),
            _loops: vec![serving],
        }
    }

    pub(crate) fn disk(path: &Path, disk: &Arc<RamDisk>) -> Self {
        Self::new(path, Blk::new(disk.clone(), 1))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.signal();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

/// Gives sevens.
struct Sevens;

impl Source for Sevens {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(7);
        Ok(())
    }
}

pub(crate) fn entropy(path: &Path) -> Served {
    Served::new(path, Entropy::new(Sevens))
}

/// A directory, and the path of a socket in it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path().join("vhost.sock")
    }
}

pub(crate) fn platform() -> Platform {
    let bytes = 8 << 20;
    Platform::new(&MemoryOptions {
        bytes,
        ..MemoryOptions::default()
    })
    .unwrap()
}

pub(crate) fn options() -> Options {
    Options::new(DeviceId::BLOCK)
}

/// A disk that was brought up with rings of this form.
pub(crate) fn bring_up(transport: Transport, ring: Features) -> ringway_driver::Result<Disk> {
    let forms = F::RING_PACKED | F::IN_ORDER;
    let wanted = Wanted {
        required: ring,
        optional: F::EVENT_IDX,
        without: forms - ring,
        ..Wanted::default()
    };
    let options = QueueOptions {
        size: 16,
        ..QueueOptions::default()
    };
    let device = Acknowledged::new(transport)?.driver()?;
    Disk::open(device, &wanted, &options)
}

/// Bytes that no two sectors share.
pub(crate) fn sector(number: u64, seed: u8) -> Vec<u8> {
    (0..512_u64)
        .map(|at| (number * 31 + at * 7) as u8 ^ seed)
        .collect()
}

pub(crate) fn buffer(platform: &Platform, bytes: &[u8]) -> DmaBuffer {
    let mut buffer = DmaBuffer::new(platform, bytes.len()).unwrap();
    buffer.write(0, bytes).unwrap();
    buffer
}

/// Reads a sector, and waits for it.
pub(crate) fn read(disk: &mut Disk, platform: &Platform, number: u64) -> Vec<u8> {
    let empty = buffer(platform, &[0; 512]);
    disk.read(number, empty).unwrap();
    let done = disk.wait(LIMIT).unwrap();
    assert_eq!(done.result, Ok(()));
    let mut bytes = vec![0; 512];
    done.buffer.unwrap().read(0, &mut bytes).unwrap();
    bytes
}

/// Writes a sector, and waits for it.
pub(crate) fn write(disk: &mut Disk, platform: &Platform, number: u64, bytes: &[u8]) {
    disk.write(number, buffer(platform, bytes)).unwrap();
    assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
}
