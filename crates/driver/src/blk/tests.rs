use super::*;
use crate::bringup::Acknowledged;
use crate::bus::attach;
use crate::error::RequestError;
use crate::platform::Trust;
use crate::scripted::Scripted;
use ringway_ring::device;
use ringway_spec::F as RING;
use ringway_spec::blk::{Config, RequestHeader, RequestType};
use ringway_spec::le::{U16, U32, U64};
use std::vec;
use std::vec::Vec;
use zerocopy::IntoBytes;

type Drive = Blk<Scripted, Vec<u8>>;

/// A disk of 64 sectors, of blocks of 1024 bytes.
fn device(offered: Features) -> Scripted {
    let config = Config {
        capacity: U64::new(64),
        blk_size: U32::new(1024),
        ..Config::default()
    };
    let device = Scripted::new(
        Trust::Revoked,
        DeviceId::BLOCK,
        offered | F::BLK_SIZE,
        config.as_bytes().to_vec(),
    );
    device.script().queue_size_max = 64;
    device
}

/// What a request asks: its header, and how many bytes follow it each way.
fn asked(
    device: &Scripted,
    queue: &mut device::Queue,
    answer: impl FnOnce(&mut device::Writable<'_>) -> u32,
) -> (RequestHeader, u64, u32) {
    let map = device.platform.device_map();
    let mut batch = queue.batch(&map);
    let chain = batch.next_chain().unwrap().unwrap();
    let mut readable = batch.readable(&chain);
    let header = readable.read_value().unwrap();
    let written = answer(&mut batch.writable(&chain));
    let seen = (header, readable.remaining(), chain.writable_bytes());
    batch.complete(chain, written);
    seen
}

/// Answers a request whole: `data` bytes of 7, and the status.
fn answered(data: usize, status: u8) -> impl FnOnce(&mut device::Writable<'_>) -> u32 {
    move |writable| {
        writable.write(&vec![7; data]).unwrap();
        writable.write(&[status]).unwrap();
        data as u32 + 1
    }
}

/// Clauses: drv:blk/op:4
#[test]
fn a_read_a_write_a_flush_and_an_id_are_asked_as_the_specification_has_them() {
    let device = device(F::FLUSH | RING::INDIRECT_DESC);
    let mut disk: Drive = attach(device.clone()).unwrap();
    let mut queue = device.queue(0);
    let read = disk.read(6, vec![0; 2048]).unwrap();
    disk.write(62, vec![1; 1024]).unwrap();
    disk.flush().unwrap();
    disk.id(vec![0; 20]).unwrap();
    disk.kick().unwrap();

    let asked: Vec<_> = [2048, 0, 0, 20]
        .map(|data| asked(&device, &mut queue, answered(data, 0)))
        .into();

    let header = |what, sector| RequestHeader {
        sector: U64::new(sector),
        ..RequestHeader::new(what)
    };
    let expected = [
        (header(RequestType::IN, 6), 0, 2049),
        (header(RequestType::OUT, 62), 1024, 1),
        (header(RequestType::FLUSH, 0), 0, 1),
        (header(RequestType::GET_ID, 0), 0, 21),
    ];
    assert_eq!(asked, expected);
    let done = disk.poll().unwrap().unwrap();
    assert_eq!(
        (done.token, done.result, done.buffer),
        (read, Ok(()), Some(vec![7; 2048]))
    );
    for _ in 0..3 {
        assert_eq!(disk.poll().unwrap().unwrap().result, Ok(()));
    }
    assert!(disk.poll().unwrap().is_none());
}

#[test]
fn a_read_that_is_cancelled_is_not_heard_of_and_the_next_one_is() {
    let device = device(Features::NONE);
    let mut disk: Drive = attach(device.clone()).unwrap();
    let mut queue = device.queue(0);
    let cancelled = disk.read(6, vec![0; 2048]).unwrap();
    let wanted = disk.read(8, vec![0; 1024]).unwrap();
    disk.kick().unwrap();

    disk.cancel(cancelled).unwrap();
    for len in [2048, 1024] {
        asked(&device, &mut queue, answered(len, 0));
    }
    let done = disk.poll().unwrap().unwrap();

    assert_eq!((done.token, done.result), (wanted, Ok(())));
    assert!(disk.poll().unwrap().is_none());
    assert_eq!(disk.cancel(wanted), Err(crate::Error::NotInFlight));
}

/// Clauses: drv:blk/op:2, drv:blk/op:6
#[test]
fn requests_that_are_not_whole_blocks_of_the_disk_are_refused_with_their_buffer() {
    let mut disk: Drive = attach(device(Features::NONE)).unwrap();
    let unit = 1024;
    let mut refused = |sector, len: usize| {
        let rejected = disk.read(sector, vec![0; len]).unwrap_err();
        assert_eq!(rejected.data.buffer().map(|buffer| buffer.len()), Some(len));
        rejected.why
    };

    assert_eq!(refused(0, 0), RequestError::Empty.into());
    assert_eq!(
        refused(0, 512),
        RequestError::NotWholeBlocks { len: 512, unit }.into()
    );
    assert_eq!(
        refused(1, 1024),
        RequestError::NotWholeBlocks { len: 1024, unit }.into()
    );
    let past = |sector, sectors| {
        Error::Request(RequestError::PastEnd {
            sector,
            sectors,
            capacity: 64,
        })
    };
    assert_eq!(refused(64, 1024), past(64, 2));
    assert_eq!(refused(62, 2048), past(62, 4));
    assert_eq!(refused(u64::MAX - 1, 1024), past(u64::MAX - 1, 2));
}

#[test]
fn a_read_only_disk_is_not_written_and_a_disk_without_a_cache_not_flushed() {
    let mut disk: Drive = attach(device(F::RO)).unwrap();

    let written = disk.write(0, vec![0; 1024]).unwrap_err();
    let flushed = disk.flush().unwrap_err();

    assert!(disk.disk().read_only);
    assert_eq!(written.why, RequestError::ReadOnly.into());
    assert_eq!(flushed.why, RequestError::Unsupported.into());
}

/// Drivers' defect 5: a status that the device never wrote is no success, and neither is a success
/// with too few bytes.
#[test]
fn only_a_written_status_and_a_whole_length_are_success() {
    let device = device(Features::NONE);
    let mut disk: Drive = attach(device.clone()).unwrap();
    let mut queue = device.queue(0);
    let mut result = |written: u32, status: Option<u8>| {
        disk.read(0, vec![0; 1024]).unwrap();
        disk.kick().unwrap();
        asked(&device, &mut queue, |writable| {
            writable.write(&[7; 1024]).unwrap();
            if let Some(status) = status {
                writable.write(&[status]).unwrap();
            }
            written
        });
        disk.poll().unwrap().unwrap().result
    };

    assert_eq!(result(1025, Some(0)), Ok(()));
    assert_eq!(result(1025, None), Err(Failure::Status(255)));
    let short = Violation::TooShort {
        written: 1023,
        needed: 1024,
    };
    assert_eq!(result(1023, Some(0)), Err(Failure::Device(short)));
    assert_eq!(result(1025, Some(1)), Err(Failure::Io));
    assert_eq!(result(1025, Some(2)), Err(Failure::Unsupported));
    assert_eq!(result(1025, Some(77)), Err(Failure::Status(77)));
}

/// Clauses: drv:packed/scatter-gather-support:1
#[test]
fn a_device_says_how_many_pieces_of_which_size_it_takes() {
    let device = device(F::SIZE_MAX | F::SEG_MAX);
    let config = Config {
        capacity: U64::new(64),
        blk_size: U32::new(512),
        size_max: U32::new(1000),
        seg_max: U32::new(2),
        ..Config::default()
    };
    device.script().config = config.as_bytes().to_vec();
    let mut disk: Drive = attach(device.clone()).unwrap();

    let two_pieces = disk.read(0, vec![0; 1536]);
    let three_pieces = disk.read(0, vec![0; 2048 + 512]).unwrap_err();
    disk.kick().unwrap();

    assert!(two_pieces.is_ok());
    assert!(matches!(
        three_pieces.why,
        Error::Platform(crate::error::PlatformError::TooManySegments)
    ));
    let map = device.platform.device_map();
    let mut queue = device.queue(0);
    let chain = queue.batch(&map).next_chain().unwrap().unwrap();
    assert_eq!(chain.writable_bytes(), 1537);
}

#[test]
fn a_block_size_that_cannot_be_is_the_devices_fault() {
    for size in [0, 511, 1000, 256] {
        let device = device(Features::NONE);
        let config = Config {
            capacity: U64::new(64),
            blk_size: U32::new(size),
            ..Config::default()
        };
        device.script().config = config.as_bytes().to_vec();

        let opened = attach::<Drive, _>(device).err();

        assert!(
            matches!(opened, Some(Error::Device(Violation::BadConfig(_)))),
            "{size}"
        );
    }
}

/// As many as there are descriptors, with indirect tables; fewer without.
#[test]
fn any_number_of_requests_is_in_flight_up_to_the_ring() {
    for (features, expected) in [(RING::INDIRECT_DESC, 64), (Features::NONE, 21)] {
        let mut disk: Drive = attach(device(features)).unwrap();

        let taken = (0..100)
            .take_while(|_| disk.read(0, vec![0; 1024]).is_ok())
            .count();

        assert_eq!(taken, expected);
        assert_eq!(
            disk.read(0, vec![0; 1024]).unwrap_err().why,
            Error::QueueFull
        );
    }
}

/// Clauses: drv:blk/op:8
#[test]
fn a_name_is_asked_for_with_twenty_bytes_and_no_others() {
    let mut disk: Drive = attach(device(Features::NONE)).unwrap();

    for len in [0, 19, 21, 512] {
        let rejected = disk.id(vec![0; len]).unwrap_err();

        let not_a_name = RequestError::NotWholeBlocks { len, unit: 20 };
        assert_eq!(rejected.why, not_a_name.into());
    }
    assert!(disk.id(vec![0; 20]).is_ok());
}

/// Opens a disk that says it has `said` request queues, with as many as `wanted` of them.
fn opened(device: &Scripted, said: u16, wanted: u16) -> Result<Drive> {
    let config = Config {
        capacity: U64::new(64),
        blk_size: U32::new(1024),
        num_queues: U16::new(said),
        ..Config::default()
    };
    device.script().config = config.as_bytes().to_vec();
    let probed = Acknowledged::new(device.clone()).and_then(Acknowledged::driver)?;
    let wanted = NonZeroU16::new(wanted).unwrap();
    Blk::open_with(probed, &Wanted::default(), wanted, |_| {
        QueueOptions::default()
    })
}

/// Of three queues that there are.
#[test]
fn a_disk_has_as_many_queues_as_are_wanted_and_no_more_than_it_says() {
    let count = |said, wanted| {
        let device = device(F::MQ);
        let disk = opened(&device, said, wanted).map(|mut disk| 1 + disk.others().len());
        let script = device.script();
        disk.map(|count| (count, script.accepted.contains(F::MQ)))
    };

    assert_eq!(count(3, 1), Ok((1, false)));
    assert_eq!(count(3, 2), Ok((2, true)));
    assert_eq!(count(2, 3), Ok((2, true)));
    assert_eq!(count(1, u16::MAX), Ok((1, true)));
}

#[test]
fn a_number_of_queues_that_cannot_be_is_the_devices_fault() {
    let none = opened(&device(F::MQ), 0, 2).err();
    let more_than_there_are = opened(&device(F::MQ), u16::MAX, 4).err();

    let said = Violation::BadConfig("num_queues is 0");
    assert_eq!(none, Some(said.into()));
    let said = Violation::BadConfig("num_queues is more than there are");
    assert_eq!(more_than_there_are, Some(said.into()));
}

#[test]
fn a_device_that_says_nothing_of_queues_has_one() {
    let device = device(Features::NONE);
    let probed = Acknowledged::new(device.clone()).unwrap().driver().unwrap();

    let mut disk: Drive = Blk::open_with(probed, &Wanted::default(), NonZeroU16::MAX, |_| {
        QueueOptions::default()
    })
    .unwrap();

    assert!(disk.others().is_empty());
}

/// Drivers' defect 16: each is a handle of its own: a request is answered where it was asked, on whatever thread.
#[test]
fn requests_are_completed_on_the_queue_that_they_were_made_on() {
    let device = device(F::MQ);
    let mut disk = opened(&device, 3, 3).unwrap();
    let mut others = disk.take_others();
    let mut queues = [0, 1, 2].map(|index| device.queue(index));

    disk.read(0, vec![0; 1024]).unwrap();
    disk.kick().unwrap();
    asked(&device, &mut queues[0], answered(1024, 0));
    std::thread::scope(|scope| {
        for (queue, requests) in queues[1..].iter_mut().zip(&mut others) {
            let device = &device;
            scope.spawn(move || {
                let index = u64::from(requests.index());
                let token = requests.read(2 * index, vec![0; 1024]).unwrap();
                requests.kick().unwrap();
                let (header, ..) = asked(device, queue, answered(1024, 0));
                let done = requests.poll().unwrap().unwrap();
                assert_eq!(header.sector.get(), 2 * index);
                assert_eq!((done.token, done.result), (token, Ok(())));
            });
        }
    });

    assert_eq!(disk.poll().unwrap().unwrap().buffer, Some(vec![7; 1024]));
    assert!(
        others
            .iter_mut()
            .all(|queue| queue.poll().unwrap().is_none())
    );
    drop(disk);
    assert_eq!(others[0].poll().err(), Some(Error::Gone));
}

/// Those that were taken out are to be told.
#[test]
fn a_disk_that_grows_grows_for_all_its_queues() {
    let device = device(F::MQ);
    let mut disk = opened(&device, 3, 3).unwrap();
    let grown = Config {
        capacity: U64::new(128),
        blk_size: U32::new(1024),
        ..Config::default()
    };
    device.script().config = grown.as_bytes().to_vec();
    assert!(disk.others()[0].read(64, vec![0; 1024]).is_err());

    let seen = *disk.look_again().unwrap();

    assert_eq!(seen.sectors, 128);
    assert!(disk.read(64, vec![0; 1024]).is_ok());
    assert!(disk.others()[0].read(64, vec![0; 1024]).is_ok());
    let mut taken = disk.take_others();
    taken[0].set_disk(Disk {
        sectors: 130,
        ..seen
    });
    assert!(taken[0].read(128, vec![0; 1024]).is_ok());
    assert!(taken[1].read(128, vec![0; 1024]).is_err());
}
