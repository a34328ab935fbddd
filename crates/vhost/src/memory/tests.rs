use super::*;

use std::fs::File;
use std::process::Command;
use std::thread;

use rustix::pipe::pipe;

const PAGE: u64 = 4096;

fn region(guest_address: u64, size: u64, file_offset: u64) -> Region {
    Region {
        guest_address,
        size,
        user_address: USER + guest_address,
        file_offset,
    }
}

/// Where the front-end has the driver's address 0.
const USER: u64 = 0x7f00_0000_0000;

/// A file that can become smaller.
fn file(len: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    file
}

fn fd(file: &File) -> OwnedFd {
    file.try_clone().unwrap().into()
}

fn byte(map: &Map, address: u64) -> Option<u8> {
    map.shared(address, 1)?.view().read_value(0).ok()
}

#[test]
fn what_one_end_writes_the_other_reads_at_the_drivers_address() {
    let (memfd, ours) = create("ram", 0x4000).unwrap();
    let mut table = Table::new();

    let regions = [
        region(0x10_0000, 0x2000, 0),
        region(0x20_0000, 0x2000, 0x2000),
    ];
    let regions = regions.map(|region| (region, memfd.try_clone().unwrap()));
    table.set(regions.into()).unwrap();
    ours.view().write(0x3fff, &[7]).unwrap();

    let map = table.map();
    assert_eq!(byte(&map, 0x20_1fff), Some(7));
    assert_eq!(byte(&map, 0x20_2000), None);
    assert_eq!(table.guest_address(USER + 0x20_1fff, 1), Some(0x20_1fff));
    assert_eq!(table.guest_address(USER + 0x20_1fff, 2), None);
    assert_eq!(table.guest_address(USER + 0x20_2000, 0), None);
    assert_eq!(table.guest_address(u64::MAX, u64::MAX), None);
    assert_eq!(
        table.user_memory(USER + 0x10_0000, 0x2000).unwrap().len(),
        0x2000
    );
    assert!(table.user_memory(USER + 0x10_0001, 0x2000).is_none());
}

#[test]
fn a_region_may_begin_within_a_page_of_its_file() {
    let file = file(2 * PAGE);
    let mut table = Table::new();

    let begins = region(0x1230, 0x100, PAGE + 0x230);
    table.add(begins, fd(&file)).unwrap();
    let whole = map(&fd(&file), 0, 2 * PAGE).unwrap();
    whole.view().write(PAGE as usize + 0x230, b"begin").unwrap();

    let found = table.map().shared(0x1230, 5).unwrap();
    let mut bytes = [0; 5];
    found.view().read(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"begin");
}

/// Devices' defect 4: address plus length that overflows.
#[test]
fn a_region_that_cannot_be_is_refused_and_the_others_stay() {
    let file = file(4 * PAGE);
    let mut table = Table::new();
    table.add(region(0x1_0000, PAGE, 0), fd(&file)).unwrap();
    let passing = |change: fn(&mut Region)| {
        let mut region = region(0x2_0000, PAGE, 0);
        change(&mut region);
        (region, MemoryError::PassesTheEnd(region))
    };

    let misaligned = MemoryError::Misaligned {
        guest_address: 0x2_0008,
        file_offset: 0,
    };
    let too_small = |needed| MemoryError::FileTooSmall {
        has: 4 * PAGE,
        needed,
    };
    for (wrong, why) in [
        (region(0x2_0000, 0, 0), MemoryError::Empty(0x2_0000)),
        (region(0x2_0008, PAGE, 0), misaligned),
        (region(0x1_0ff0, PAGE, 0), MemoryError::Overlap(0x1_0ff0)),
        (region(0x0_f010, PAGE, 0), MemoryError::Overlap(0x1_0000)),
        (region(0x2_0000, PAGE, 4 * PAGE), too_small(5 * PAGE)),
        (region(0x2_0000, 4 * PAGE + 1, 0), too_small(4 * PAGE + 1)),
        passing(|region| region.guest_address = u64::MAX - 0xffe),
        passing(|region| region.user_address = u64::MAX - 0xffe),
        passing(|region| region.file_offset = u64::MAX - 0xffe),
        passing(|region| region.size = u64::MAX),
    ] {
        let all = vec![(wrong, fd(&file)), (region(0x1_0000, PAGE, 0), fd(&file))];
        assert_eq!(table.add(wrong, fd(&file)), Err(why));
        assert_eq!(table.set(all), Err(why));
    }

    assert_eq!(table.len(), 1);
    assert!(byte(&table.map(), 0x1_0000).is_some());
}

#[test]
fn what_is_no_file_of_memory_is_refused() {
    let (reader, _writer) = pipe().unwrap();
    let read_only = tempfile::NamedTempFile::new().unwrap();
    read_only.as_file().set_len(PAGE).unwrap();
    let read_only = File::open(read_only.path()).unwrap();

    let piped = map(&reader, 0, PAGE);
    let read_only = map(&fd(&read_only), 0, PAGE);
    let empty = map(&fd(&file(PAGE)), 0, 0);

    assert_eq!(piped.unwrap_err(), MemoryError::NotAFile);
    for refused in [read_only, empty] {
        assert!(matches!(refused, Err(MemoryError::System { .. })));
    }
}

#[test]
fn there_are_slots_for_so_many_regions_and_no_more() {
    let file = file(PAGE);
    let mut table = Table::new();
    for slot in 0..SLOTS_MAX as u64 {
        table.add(region(slot * PAGE, PAGE, 0), fd(&file)).unwrap();
    }

    let refused = table.add(region(1 << 40, PAGE, 0), fd(&file));

    assert_eq!(refused, Err(MemoryError::TooManyRegions(SLOTS_MAX + 1)));
}

#[test]
fn a_region_is_removed_by_its_addresses_and_its_size() {
    let file = file(4 * PAGE);
    let mut table = Table::new();
    let there = region(0x1_0000, PAGE, 0);
    table.add(there, fd(&file)).unwrap();
    let map = table.map();

    for wrong in [
        Region { size: 1, ..there },
        Region {
            user_address: 1,
            ..there
        },
        Region {
            guest_address: 1,
            ..there
        },
    ] {
        assert_eq!(table.remove(&wrong), Err(MemoryError::NoSuchRegion(wrong)));
    }
    table
        .remove(&Region {
            file_offset: 9,
            ..there
        })
        .unwrap();

    assert!(table.is_empty() && byte(&table.map(), 0x1_0000).is_none());
    assert_eq!(
        byte(&map, 0x1_0000),
        Some(0),
        "what was given out stays mapped"
    );
}

#[test]
fn a_region_that_shrinks_under_us_is_a_loss_and_not_a_signal() {
    let file = file(8 * PAGE);
    let (mut table, mut other) = (Table::new(), Table::new());
    table.add(region(0, 4 * PAGE, PAGE), fd(&file)).unwrap();
    other.add(region(0, PAGE, 0), fd(&file)).unwrap();
    let (map, losses) = (table.map(), table.losses());
    map.shared(0, 1).unwrap().view().fill(1);
    map.shared(3 * PAGE, 1).unwrap().view().fill(4);
    assert!(!losses.any());

    file.set_len(2 * PAGE).unwrap();

    assert!(!losses.any(), "nobody looked");
    let on_threads = [0, 1].map(|_| {
        thread::spawn({
            let map = map.clone();
            move || byte(&map, 3 * PAGE)
        })
    });
    for read in on_threads {
        assert_eq!(read.join().unwrap(), Some(0));
    }
    assert_eq!(byte(&map, 0), Some(1), "what is there is read as it is");
    map.shared(3 * PAGE, 1).unwrap().view().fill(5);
    assert_eq!(byte(&map, 3 * PAGE), Some(5), "zeroes can be written to");
    assert!(losses.any() && !other.losses().any());
    assert_eq!(byte(&other.map(), 0), Some(0));
}

#[test]
fn a_file_that_we_made_cannot_become_smaller() {
    let (memfd, memory) = create("ram", 3 * PAGE as usize).unwrap();

    let shrunk = ftruncate(&memfd, PAGE);

    assert_eq!(shrunk, Err(Errno::PERM));
    assert_eq!(memory.len(), 3 * PAGE as usize);
    assert!(create("none", 0).is_err() && create("all", usize::MAX).is_err());
}

#[test]
fn memory_of_huge_pages_is_as_large_as_was_asked_for_whether_there_are_any_or_not() {
    let (memfd, ours) = create_huge("huge", 3 * PAGE as usize).unwrap();

    let theirs = map(&memfd, PAGE, PAGE).unwrap();
    ours.view().write(PAGE as usize, b"huge").unwrap();

    let mut bytes = [0; 4];
    theirs.view().read(0, &mut bytes).unwrap();
    assert_eq!((&bytes, ours.len()), (b"huge", 3 * PAGE as usize));
}

/// Run by the next test, in a program of its own.
#[test]
#[ignore = "ends the program that runs it"]
fn raises_the_signal_after_the_handler_is_there() {
    let file = file(PAGE);
    let _mapped = map(&fd(&file), 0, PAGE).unwrap();

    // Whoever handled it before may want to see it twice.
    for _ in 0..100 {
        let us = rustix::process::getpid();
        rustix::process::kill_process(us, rustix::process::Signal::BUS).unwrap();
        thread::yield_now();
    }
}

#[test]
fn a_signal_that_is_not_about_our_memory_ends_the_program_as_ever() {
    use std::os::unix::process::ExitStatusExt;

    let mut program = Command::new(std::env::current_exe().unwrap());
    let name = "raises_the_signal_after_the_handler_is_there";
    let ended = program.args(["--ignored", name]).output().unwrap();

    assert_eq!(ended.status.signal(), Some(libc::SIGBUS));
}
