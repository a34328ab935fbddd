use super::*;

const WANTED: Inflight = Inflight {
    size: 0,
    file_offset: 0,
    queues: 3,
    queue_size: 128,
};

#[test]
fn memory_for_what_is_in_flight_has_room_for_all_queues_in_their_format() {
    for (features, bytes) in [
        (Some(F::VERSION_1), 3 * (16 * 129_u64).next_multiple_of(64)),
        (
            Some(F::RING_PACKED),
            3 * (32 * 129_u64).next_multiple_of(64),
        ),
        (None, 3 * (32 * 129_u64).next_multiple_of(64)),
    ] {
        let mut records = Records::default();
        let (made, file) = make_inflight(WANTED, 4, 256, features).unwrap();

        records.set_inflight(made, &file, features).unwrap();

        assert_eq!(made.size, bytes);
        assert_eq!(records.inflight.unwrap().memory.len() as u64, bytes);
    }
}

#[test]
fn memory_too_small_for_what_is_in_flight_or_for_queues_that_are_not_there_is_refused() {
    let mut records = Records::default();
    let (made, file) = make_inflight(WANTED, 4, 256, None).unwrap();

    let small = Inflight {
        size: made.size - 1,
        ..made
    };
    let beyond = Inflight {
        queues: 5,
        ..WANTED
    };
    let none = Inflight {
        queues: 0,
        ..WANTED
    };
    let large = Inflight {
        queue_size: 257,
        ..WANTED
    };

    assert_eq!(
        records.set_inflight(small, &file, None),
        Err(refused(small))
    );
    for wanted in [beyond, none, large] {
        let made = make_inflight(wanted, 4, 256, None);
        assert_eq!(made.err(), Some(refused(wanted)));
    }
    assert!(records.inflight.is_none());
}

#[test]
fn a_log_that_does_not_cover_the_memory_is_refused() {
    let mut records = Records::default();
    let (file, _) = memory::create("log", 8192).unwrap();
    let (ram, _) = memory::create("ram", 0x10000).unwrap();
    let mut table = Table::new();
    let region = crate::protocol::Region {
        guest_address: 4096 * PAGES_PER_BYTE,
        size: 0x10000,
        user_address: 0,
        file_offset: 0,
    };
    let area = |size| LogArea {
        size,
        file_offset: 0,
    };

    let without_memory = records.set_log(area(4096), &file, &table);
    table.set(vec![(region, ram)]).unwrap();
    let too_small = records.set_log(area(4097), &file, &table);
    let enough = records.set_log(area(4098), &file, &table);

    let refused = Refusal::Log {
        bytes: 4097,
        needed: 4098,
    };
    assert_eq!(
        [without_memory, too_small, enough],
        [Ok(()), Err(refused), Ok(())]
    );
}
