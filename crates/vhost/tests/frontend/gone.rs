//! Back-ends that go away.

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ringway_device::blk::RamDisk;
use ringway_driver::error::TransportError;
use ringway_driver::{Error, blk};
use ringway_spec::{F, Features};
use ringway_vhost::frontend::{Event, Notify, Observer, Options, Reconnect, Transport};

use crate::fake;
use crate::served::{
    Folder, LIMIT, SECTORS, Served, bring_up, buffer, options, platform, read, sector, write,
};

/// What happened.
type Events = Arc<Mutex<Vec<Event>>>;

fn observer() -> (Option<Observer>, Events) {
    let events = Events::default();
    let heard = events.clone();
    let observer = move |event| heard.lock().unwrap().push(event);
    (Some(Arc::new(observer)), events)
}

/// A front-end that has been served by a back-end that serves nothing, which is gone, and whose
/// place another one takes.
fn replaced(folder: &Folder, options: Options, requests: u64) {
    let path = folder.socket();
    let platform = platform();
    let listener = UnixListener::bind(&path).unwrap();
    let first = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let ends = stream.try_clone().unwrap();
        (fake::serve(stream, None), ends)
    });
    let transport = Transport::connect(&platform, &path, options).unwrap();
    let (serving, ends) = first.join().unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    for number in 0..requests {
        let bytes = sector(number, 0x33);
        disk.write(number, buffer(&platform, &bytes)).unwrap();
    }
    disk.kick().unwrap();

    ends.shutdown(std::net::Shutdown::Both).unwrap();
    serving.join().unwrap();
    std::fs::remove_file(&path).unwrap();
    let ram = Arc::new(RamDisk::new(SECTORS));
    let second = Served::disk(&path, &ram);

    let mut completed = Vec::new();
    for _ in 0..requests {
        let done: blk::Done<_> = disk.wait(LIMIT).unwrap();
        assert_eq!(done.result, Ok(()));
        completed.push(done.token);
    }
    completed.sort_by_key(|token| token.id());
    completed.dedup();
    assert_eq!(completed.len() as u64, requests, "each once");
    assert_eq!(disk.in_flight(), 0);
    for number in 0..requests {
        assert_eq!(read(&mut disk, &platform, number), sector(number, 0x33));
    }
    drop((disk, second));
    assert_eq!(platform.memory_used(), 0);
}

#[test]
fn requests_in_flight_are_completed_by_the_next_back_end_once_each() {
    for calls in [Notify::Signal, Notify::Poll] {
        let folder = Folder::new();
        let (observer, events) = observer();
        let options = Options {
            calls,
            observer,
            ..options()
        };

        replaced(&folder, options, 5);

        let events = events.lock().unwrap();
        assert!(matches!(events.first(), Some(Event::Lost(_))), "{events:?}");
        let resumed = |event: &&Event| matches!(event, Event::Resumed { .. });
        assert_eq!(events.iter().filter(resumed).count(), 1, "{events:?}");
    }
}

#[test]
fn a_back_end_is_replaced_again_and_again_and_a_driver_sees_nothing_of_it() {
    let (folder, platform) = (Folder::new(), platform());
    let ram = Arc::new(RamDisk::new(SECTORS));
    let mut served = Some(Served::disk(&folder.socket(), &ram));
    let options = Options {
        reconnect: Reconnect {
            longest_delay: Duration::from_millis(20),
            ..Reconnect::default()
        },
        ..options()
    };
    let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();

    for round in 0..20_u8 {
        for number in 0..8 {
            let bytes = sector(number, round);
            disk.write(number, buffer(&platform, &bytes)).unwrap();
        }
        disk.kick().unwrap();
        drop(served.take());
        served = Some(Served::disk(&folder.socket(), &ram));
        for _ in 0..8 {
            assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
        }
        for number in 0..8 {
            assert_eq!(read(&mut disk, &platform, number), sector(number, round));
        }
    }
}

#[test]
fn a_back_end_that_stays_away_for_longer_than_is_allowed_is_given_up() {
    let (folder, platform) = (Folder::new(), platform());
    let served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
    let (observer, events) = observer();
    let options = Options {
        reconnect: Reconnect {
            within: Some(Duration::from_millis(50)),
            ..Reconnect::default()
        },
        observer,
        ..options()
    };
    let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    drop(served);

    disk.read(0, buffer(&platform, &[0; 512])).unwrap();
    let waited = disk.wait(LIMIT).err();

    assert_eq!(waited, Some(Error::Transport(TransportError::Absent)));
    let events = events.lock().unwrap();
    assert!(
        matches!(events.last(), Some(Event::GaveUp(_))),
        "{events:?}"
    );
    // It closed the connection, so it has let go.
    drop(disk);
    assert_eq!(platform.leak().queues, 0);
    assert_eq!(platform.memory_used(), 0);
}

#[test]
fn a_packed_ring_that_nobody_took_notes_of_is_not_gone_on_with() {
    let (folder, platform) = (Folder::new(), platform());
    let ram = Arc::new(RamDisk::new(SECTORS));
    let served = Served::disk(&folder.socket(), &ram);
    let options = Options {
        protocol: ringway_vhost::frontend::PROTOCOL_WANTED
            - ringway_vhost::protocol::ProtocolFeatures::INFLIGHT_SHMFD,
        ..options()
    };
    let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
    let mut disk = bring_up(transport, F::RING_PACKED).unwrap();
    write(&mut disk, &platform, 0, &sector(0, 0));
    drop(served);
    let _second = Served::disk(&folder.socket(), &ram);

    disk.read(0, buffer(&platform, &[0; 512])).unwrap();
    let waited = disk.wait(LIMIT).err();

    assert!(matches!(waited, Some(Error::Transport(_))), "{waited:?}");
}

#[test]
fn a_connection_that_was_given_is_not_made_again() {
    let platform = platform();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ends = theirs.try_clone().unwrap();
    let serving = fake::serve(theirs, None);
    let mut once = Some(ours);
    let connect = move || {
        once.take()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let options = Options {
        reconnect: Reconnect::NEVER,
        ..options()
    };
    let transport = Transport::connect_by(&platform, connect, options).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    disk.read(0, buffer(&platform, &[0; 512])).unwrap();
    disk.kick().unwrap();

    ends.shutdown(std::net::Shutdown::Both).unwrap();
    let waited = disk.wait(LIMIT).err();

    assert_eq!(waited, Some(Error::Transport(TransportError::Absent)));
    serving.join().unwrap();
}
