//! Devices that do as they are told.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use ringway_device::blk::RamDisk;
use ringway_driver::bringup::Acknowledged;
use ringway_driver::bus::Driver;
use ringway_driver::entropy::Rng;
use ringway_driver::transport::Transport as _;
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{Error, Notify, Options, Transport};

use crate::served::{
    Folder, LIMIT, SECTORS, Served, bring_up, entropy, options, platform, read, sector, write,
};

const RINGS: [Features; 3] = [
    Features::NONE,
    F::RING_PACKED,
    Features(F::RING_PACKED.0 | F::IN_ORDER.0),
];

#[test]
fn a_disk_is_written_and_read_whole_over_every_ring_and_in_every_way_of_notifying() {
    for ring in RINGS {
        for (kicks, calls) in [
            (Notify::Signal, Notify::Signal),
            (Notify::Signal, Notify::Poll),
            (Notify::Message, Notify::Message),
        ] {
            let (folder, platform) = (Folder::new(), platform());
            let ram = Arc::new(RamDisk::new(SECTORS));
            let _served = Served::disk(&folder.socket(), &ram);
            let options = Options {
                kicks,
                calls,
                ..options()
            };
            let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
            let mut disk = bring_up(transport, ring).unwrap();

            for number in 0..SECTORS as u64 {
                write(&mut disk, &platform, number, &sector(number, 0x55));
            }

            assert_eq!(disk.disk().sectors, SECTORS as u64);
            // Who waits is not interrupted if what it waits for is there when it looks.
            let interrupted = disk.counts().interrupts != 0;
            assert!(!interrupted || calls != Notify::Poll, "by {calls:?}");
            for number in 0..SECTORS as u64 {
                assert_eq!(read(&mut disk, &platform, number), sector(number, 0x55));
            }
        }
    }
}

#[test]
fn a_device_is_reset_and_driven_again_over_the_same_connection() {
    let (folder, platform) = (Folder::new(), platform());
    let _served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
    let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    write(&mut disk, &platform, 3, &sector(3, 1));

    let (transport, queue) = disk.reset();
    drop(queue);
    let used = platform.memory_used();
    let mut disk = bring_up(transport.unwrap(), F::RING_PACKED).unwrap();

    assert_eq!(read(&mut disk, &platform, 3), sector(3, 1));
    drop(disk);
    assert_eq!((used, platform.memory_used()), (0, 0));
    assert_eq!(platform.leak().queues, 0);
}

#[test]
fn a_queue_is_reset_alone_and_begins_again_at_another_size() {
    for ring in RINGS {
        let (folder, platform) = (Folder::new(), platform());
        let _served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
        let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
        let mut disk = bring_up(transport, ring).unwrap();
        write(&mut disk, &platform, 5, &sector(5, 9));

        disk.resize(4, |_| {}).unwrap();

        assert_eq!(disk.queue_size(), 4);
        assert_eq!(read(&mut disk, &platform, 5), sector(5, 9));
    }
}

#[test]
fn a_change_of_the_configuration_is_heard_while_a_queue_is_waited_for() {
    let (folder, platform) = (Folder::new(), platform());
    let served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
    let mut transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
    let before = transport.config_generation().unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    let seen = disk.device().config_changed().count();

    served.notifier.config_changed();
    // Each returns after a while at the latest.
    while disk.device().config_changed().count() == seen {
        read(&mut disk, &platform, 0);
    }

    let mut transport = disk.reset().0.unwrap();
    assert_ne!(transport.config_generation().unwrap(), before);
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park_timeout(LIMIT);
    }
}

#[test]
fn futures_are_woken_by_a_dispatcher() {
    let (folder, platform) = (Folder::new(), platform());
    let _served = entropy(&folder.socket());
    let options = Options::new(DeviceId::ENTROPY);
    let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    let _dispatcher = platform.dispatch().unwrap();
    let mut source = Rng::<_, Box<[u8]>>::probe(device).unwrap();

    source.request(vec![0; 32].into_boxed_slice()).unwrap();
    let filled = block_on(source.next()).unwrap();

    assert_eq!(filled.random, 32);
    assert_eq!(&filled.buffer[..], [7; 32]);
}

#[test]
fn queues_are_waited_for_on_threads_of_their_own() {
    let platform = platform();
    let folders = [Folder::new(), Folder::new(), Folder::new()];
    let disks = folders.map(|folder| {
        let served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
        let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
        (bring_up(transport, Features::NONE).unwrap(), served, folder)
    });

    let threads = disks.map(|(mut disk, served, folder)| {
        let platform = platform.clone();
        thread::spawn(move || {
            for round in 0..200 {
                let number = round % SECTORS as u64;
                write(&mut disk, &platform, number, &sector(number, round as u8));
            }
            drop((disk, served, folder));
        })
    });

    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(platform.memory_used(), 0);
}

#[test]
fn where_nobody_listens_there_is_no_device() {
    let (folder, platform) = (Folder::new(), platform());

    let refused = Transport::connect(&platform, folder.socket(), options()).err();

    assert!(
        matches!(refused, Some(Error::Unreachable(_))),
        "{refused:?}"
    );
}
