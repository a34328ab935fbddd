use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use ringway_spec::admin::{GroupType as G, Opcode as O, Opcodes, Qualifier, Status};
use ringway_spec::{F, Features};
use zerocopy::FromBytes;

use super::super::testing::{Asked, Played, command};
use super::super::{Failure, Group};
use super::*;
use crate::task::Ran;
use crate::testing::{Loop, Random, UNTOUCHED};

const FORMATS: [Features; 3] = [Features::NONE, F::RING_PACKED, F::IN_ORDER];

/// An administration queue of an owner of two others, whose driver uses some commands.
fn queue(features: Features) -> (Loop, Arc<Played>) {
    let used = Opcodes::of(&[O::DEV_PARTS_GET, O::DEV_MODE_SET]).union(Opcodes::LISTS);
    let group = Played::new(G::SR_IOV, used, 1..=2);
    let owner = Arc::new(Owner::new(&[group.clone() as Arc<dyn Group>]));
    let list = command(G::SR_IOV, O::LIST_USE, 0, used.to_words().as_bytes());
    assert!(owner.execute(&list, 0).is_ready());
    let worker = Box::new(Commands::new(owner));
    (Loop::served(worker, QUEUE_SIZE, features), group)
}

fn get(member: u64) -> Vec<u8> {
    command(G::SR_IOV, O::DEV_PARTS_GET, member, &[5; 16])
}

fn header(bytes: &[u8]) -> StatusHeader {
    StatusHeader::read_from_prefix(bytes).unwrap().0
}

#[test]
fn a_command_is_answered_however_it_is_laid_out() {
    for format in FORMATS {
        let (mut queue, group) = queue(format);
        *group.answer.lock() = Ok(vec![7; 16]);
        let command = get(2);

        let answer = queue
            .request(
                &[&command[..3], &command[3..25], &command[25..]],
                &[5, 1, 18],
            )
            .unwrap();

        assert_eq!(answer.written, 24);
        assert_eq!(header(&answer.bytes), StatusHeader::default());
        assert_eq!(answer.bytes[8..], [7; 16]);
        assert_eq!(
            *group.asked.lock(),
            [Asked {
                opcode: O::DEV_PARTS_GET,
                member: 2,
                data: vec![5; 16],
                room: 16
            }]
        );
    }
}

/// Clauses: dev:basic/administration-virtqueues:2,
/// dev:basic/administration-virtqueues:5
#[test]
fn a_result_is_filled_up_to_a_multiple_of_eight_bytes() {
    for (len, written) in [(0, 8), (1, 16), (8, 16), (9, 24), (15, 24)] {
        let (mut queue, group) = queue(Features::NONE);
        *group.answer.lock() = Ok(vec![7; len]);

        let answer = queue.request(&[&get(1)], &[64]).unwrap();

        assert_eq!(answer.written, written);
        let (filled, rest) = answer.bytes.split_at(written as usize);
        assert_eq!(filled[8..8 + len], vec![7; len]);
        assert!(filled[8 + len..].iter().all(|&byte| byte == 0));
        assert!(rest.iter().all(|&byte| byte == UNTOUCHED));
    }
}

/// Clauses: dev:basic/administration-virtqueues:1,
/// dev:basic/administration-virtqueues:4
#[test]
fn what_a_driver_has_no_room_for_is_cut_off() {
    for room in [8, 9, 16, 24] {
        let (mut queue, group) = queue(Features::NONE);
        *group.answer.lock() = Ok(vec![7; 32]);

        let answer = queue.request(&[&get(1)], &[room]).unwrap();

        assert_eq!(answer.written as usize, room);
        assert_eq!(header(&answer.bytes).status, Status::OK);
        assert_eq!(answer.bytes[8..], vec![7; room - 8]);
    }
}

#[test]
fn a_driver_that_has_hardly_room_for_the_status_is_told_what_fits() {
    for room in 0..8 {
        let (mut queue, group) = queue(Features::NONE);
        *group.answer.lock() = Err(Failure::Busy);
        let room: &[usize] = if room == 0 { &[] } else { &[room] };

        let answer = queue.request(&[&get(1)], room).unwrap();

        let whole = [16, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(answer.bytes, whole[..answer.bytes.len()]);
        assert_eq!(answer.written as usize, answer.bytes.len());
        assert_eq!(group.asked_for().len(), 1);
    }
}

/// Clauses: dev:basic/administration-virtqueues:1
#[test]
fn a_command_that_is_shorter_than_its_header_is_zeroes_from_there_on() {
    let own = Played::new(G::SELF, Opcodes::NONE, 0..=0);
    for len in 0..24 {
        let owner = Arc::new(Owner::new(&[own.clone() as Arc<dyn Group>]));
        let mut queue = Loop::served(Box::new(Commands::new(owner)), 8, Features::NONE);
        let query = command(G::SELF, O::LIST_QUERY, 0, &[]);
        let readable: &[&[u8]] = if len == 0 { &[] } else { &[&query[..len]] };

        let answer = queue.request(readable, &[16]).unwrap();

        assert_eq!(header(&answer.bytes).status, Status::OK);
        assert_eq!(answer.bytes[8..], [3, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// Clauses: dev:basic/administration-virtqueues:2,
/// dev:basic/administration-virtqueues:4
#[test]
fn a_command_that_is_longer_than_anything_is_looked_at_so_far_and_carried_out() {
    let (mut queue, group) = queue(Features::NONE);
    let mut long = get(1);
    long.resize(COMMAND_BYTES_MAX + 4096, 9);

    let answer = queue.request(&[&long], &[2 * RESULT_BYTES_MAX]).unwrap();

    assert_eq!(header(&answer.bytes).status, Status::OK);
    let asked = group.asked.lock();
    assert_eq!(asked[0].data.len(), COMMAND_BYTES_MAX - 24);
    assert_eq!(asked[0].room, RESULT_BYTES_MAX);
}

/// Clauses: dev:basic/administration-virtqueues:7
#[test]
fn commands_are_carried_out_in_their_order_even_if_one_takes_longer() {
    for format in FORMATS {
        let (mut queue, group) = queue(format);
        group.waits.store(2, Ordering::SeqCst);
        let commands: Vec<_> = (0..6).map(|place| get(1 + place % 2)).collect();

        let answers: Vec<_> = commands
            .iter()
            .map(|command| queue.submit(&[command], &[8])[0])
            .collect();
        let first = (queue.run(), queue.is_busy(), group.asked_for().len());
        let second = (queue.run(), queue.is_busy(), group.asked_for().len());
        queue.run();

        assert_eq!((first.1, first.2), (true, 0));
        assert_eq!((second.1, second.2), (true, 0));
        assert!(!queue.is_busy());
        let members: Vec<_> = group.asked_for().iter().map(|asked| asked.1).collect();
        assert_eq!(members, [1, 2, 1, 2, 1, 2]);
        for answer in answers {
            assert_eq!(queue.ram.bytes(answer), [0; 8]);
        }
        assert_eq!(queue.run(), Ran::Idle);
    }
}

/// Clauses: dev:basic/administration-virtqueues:6
#[test]
fn a_failure_is_written_with_its_qualifier() {
    let (mut queue, group) = queue(Features::NONE);
    *group.answer.lock() = Err(Failure::TryAgain);

    let again = queue.request(&[&get(1)], &[16]).unwrap();
    let nobody = queue.request(&[&get(3)], &[16]).unwrap();

    assert_eq!((again.written, nobody.written), (8, 8));
    let told = [&again, &nobody].map(|answer| header(&answer.bytes));
    assert_eq!(
        told.map(|told| told.status),
        [Status::EAGAIN, Status::EINVAL]
    );
    let qualifiers = told.map(|told| told.status_qualifier);
    assert_eq!(qualifiers, [Qualifier::TRYAGAIN, Qualifier::INVALID_MEMBER]);
}

/// A driver that sends nonsense, in pieces of any length: each chain is answered, the first bytes of
/// the answer are a status, and no more is said to be written than there is room for.
#[test]
fn whatever_a_driver_sends_is_answered_within_its_room() {
    for (seed, format) in (0..60).zip(FORMATS.into_iter().cycle()) {
        let (mut queue, group) = queue(format);
        let mut random = Random::new(seed);
        for _ in 0..40 {
            let len = random.below(40) as usize;
            *group.answer.lock() = Ok(vec![7; len]);
            group.waits.store(random.below(3) as u32, Ordering::SeqCst);
            let almost = get(random.below(4));
            let mut bytes: Vec<u8> = almost
                .iter()
                .map(|byte| {
                    if random.below(12) == 0 {
                        random.byte()
                    } else {
                        *byte
                    }
                })
                .collect();
            bytes.truncate(random.below(48) as usize);
            let at = random.below(24).min(bytes.len() as u64) as usize;
            let (head, tail) = bytes.split_at(at);
            let pieces = [head, tail].into_iter().filter(|piece| !piece.is_empty());
            let pieces: Vec<&[u8]> = pieces.collect();
            let room: Vec<usize> = (0..random.below(3))
                .map(|_| 1 + random.below(30) as usize)
                .collect();
            if pieces.is_empty() && room.is_empty() {
                continue;
            }

            let answer = queue.request(&pieces, &room).unwrap();

            let room: usize = room.iter().sum();
            let written = answer.written as usize;
            assert!(
                written <= room && (written >= 8 || written == room),
                "seed {seed}"
            );
            assert!(written.is_multiple_of(8) || written == room, "seed {seed}");
            if written >= 8 {
                let header = header(&answer.bytes);
                let (ok, valid) = (header.status == Status::OK, header.status_qualifier);
                assert_eq!(ok, valid == Qualifier::OK, "seed {seed}");
                assert_eq!(header.reserved2, [0; 4]);
            }
            let untouched = &answer.bytes[written..];
            assert!(
                untouched.iter().all(|&byte| byte == UNTOUCHED),
                "seed {seed}"
            );
            queue.ram.rewind();
        }
    }
}
