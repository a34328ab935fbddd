//! The back-end of others under our front-end: that of rust-vmm's `vhost-user-backend`, on which
//! devices of several projects are built. Its rings are split ones alone, and it keeps nothing of what
//! is in flight.

use std::time::Duration;

use ringway_driver::transport::Transport as _;
use ringway_spec::{F, Features};
use ringway_vhost::frontend::{Error, Notify, Options, Reconnect, Transport};
use ringway_vhost::protocol::ProtocolFeatures;

use crate::served::{
    Disk, Folder, LIMIT, SECTORS, bring_up, buffer, options, platform, read, sector, write,
};
use crate::their_disk::{Bytes, Theirs};

#[test]
fn what_both_can_do_is_agreed_on() {
    let (folder, platform) = (Folder::new(), platform());
    let _theirs = Theirs::new(&folder.socket(), &Bytes::new(SECTORS));

    let mut transport = Transport::connect(&platform, folder.socket(), options()).unwrap();

    let agreed = ProtocolFeatures::MQ
        | ProtocolFeatures::REPLY_ACK
        | ProtocolFeatures::CONFIG
        | ProtocolFeatures::BACKEND_REQ
        | ProtocolFeatures::MEM_SLOTS
        | ProtocolFeatures::RESET_DEVICE;
    assert_eq!(transport.protocol(), agreed);
    assert_eq!(transport.queues(), 1);
    let offered = F::VERSION_1 | F::EVENT_IDX | F::INDIRECT_DESC;
    assert_eq!(transport.offered(), offered);
    assert_eq!(
        transport.device_features().unwrap(),
        offered | F::RING_RESET
    );
}

#[test]
fn a_disk_of_theirs_is_written_and_read_whole() {
    for calls in [Notify::Signal, Notify::Poll] {
        let (folder, platform) = (Folder::new(), platform());
        let bytes = Bytes::new(SECTORS);
        let _theirs = Theirs::new(&folder.socket(), &bytes);
        let options = Options { calls, ..options() };
        let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
        let mut disk = bring_up(transport, F::EVENT_IDX).unwrap();

        for number in 0..SECTORS as u64 {
            write(&mut disk, &platform, number, &sector(number, 0x77));
        }

        assert_eq!(disk.disk().sectors, SECTORS as u64);
        for number in 0..SECTORS as u64 {
            assert_eq!(bytes.sector(number), sector(number, 0x77));
            assert_eq!(read(&mut disk, &platform, number), sector(number, 0x77));
        }
    }
}

/// More than goes into the ring at once, several times around it.
#[test]
fn many_requests_are_in_flight_at_once() {
    let (folder, platform) = (Folder::new(), platform());
    let bytes = Bytes::new(SECTORS);
    let _theirs = Theirs::new(&folder.socket(), &bytes);
    let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();

    for round in 0..20 {
        let mut due = 0;
        for number in 0..SECTORS as u64 {
            while disk
                .write(number, buffer(&platform, &sector(number, round)))
                .is_err()
            {
                assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
                due -= 1;
            }
            due += 1;
        }
        for _ in 0..due {
            assert_eq!(disk.wait(LIMIT).unwrap().result, Ok(()));
        }

        for number in 0..SECTORS as u64 {
            assert_eq!(bytes.sector(number), sector(number, round));
        }
    }
}

#[test]
fn a_device_of_theirs_is_reset_and_driven_again_over_the_same_connection() {
    let (folder, platform) = (Folder::new(), platform());
    let _theirs = Theirs::new(&folder.socket(), &Bytes::new(SECTORS));
    let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    write(&mut disk, &platform, 3, &sector(3, 1));

    let (transport, queue) = disk.reset();
    drop(queue);
    let used = platform.memory_used();
    let mut disk = bring_up(transport.unwrap(), F::EVENT_IDX).unwrap();

    assert_eq!(read(&mut disk, &platform, 3), sector(3, 1));
    drop(disk);
    assert_eq!((used, platform.memory_used()), (0, 0));
    assert_eq!(platform.leak().queues, 0);
}

#[test]
fn a_queue_of_theirs_is_reset_alone_and_begins_again_at_another_size() {
    let (folder, platform) = (Folder::new(), platform());
    let _theirs = Theirs::new(&folder.socket(), &Bytes::new(SECTORS));
    let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
    let mut disk = bring_up(transport, Features::NONE).unwrap();
    write(&mut disk, &platform, 5, &sector(5, 9));

    disk.resize(4, |_| {}).unwrap();

    assert_eq!(disk.queue_size(), 4);
    assert_eq!(read(&mut disk, &platform, 5), sector(5, 9));
}

/// They complete in order, so that the used index alone says where to go on.
#[test]
fn what_one_of_theirs_leaves_undone_the_next_one_does_once() {
    let (folder, platform) = (Folder::new(), platform());
    let bytes = Bytes::new(SECTORS);
    let mut theirs = Theirs::new(&folder.socket(), &bytes);
    let options = Options {
        reconnect: Reconnect {
            longest_delay: Duration::from_millis(20),
            ..Reconnect::default()
        },
        ..options()
    };
    let transport = Transport::connect(&platform, folder.socket(), options).unwrap();
    let mut disk: Disk = bring_up(transport, F::EVENT_IDX).unwrap();

    for round in 0..10_u8 {
        bytes.serve(usize::from(round % 4));
        for number in 0..5 {
            let written = buffer(&platform, &sector(number, round));
            disk.write(number, written).unwrap();
        }
        disk.kick().unwrap();
        drop(theirs);
        bytes.serve(usize::MAX);
        theirs = Theirs::new(&folder.socket(), &bytes);

        let done = [(); 5].map(|()| disk.wait(LIMIT).unwrap());

        let mut ids = done.map(|done| {
            assert_eq!(done.result, Ok(()));
            done.token.id()
        });
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
        assert_eq!(disk.in_flight(), 0);
        for number in 0..5 {
            assert_eq!(bytes.sector(number), sector(number, round));
        }
    }
    drop((disk, theirs));
    assert_eq!(platform.memory_used(), 0);
}

#[test]
fn what_theirs_cannot_do_is_named() {
    let (folder, platform) = (Folder::new(), platform());
    let _theirs = Theirs::new(&folder.socket(), &Bytes::new(SECTORS));
    let options = Options {
        kicks: Notify::Message,
        ..options()
    };

    let refused = Transport::connect(&platform, folder.socket(), options).err();

    let missing = ProtocolFeatures::INBAND_NOTIFICATIONS;
    assert_eq!(refused, Some(Error::Missing(missing)));
}
