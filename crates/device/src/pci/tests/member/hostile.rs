//! Owners who give what nobody has taken.

use super::*;

/// What is left of a list of parts that was cut off, at any byte.
#[test]
fn a_list_of_parts_that_ends_within_one_is_refused() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let parts = function.all_parts();
    let whole = bytes(&parts);
    let mut ends = vec![0];
    for part in &parts {
        ends.push(ends[ends.len() - 1] + size_of::<PartHeader>() + part.value.len());
    }

    for len in 0..whole.len() {
        let given = function.set_parts(&whole[..len]);

        let end = ends.iter().rfind(|end| **end <= len).unwrap();
        // A few bytes of 0 are what a command is filled up with.
        let within = whole[*end..len].iter().any(|byte| *byte != 0);
        let expected = if within {
            Poll::Ready(Err(Inadmissible::Short))
        } else {
            DONE
        };
        assert_eq!(given, expected, "{len} bytes");
    }
    let filled_up = [&whole[..], &[0; 15]].concat();
    assert_eq!(function.set_parts(&filled_up), DONE);
    let too_much = [&whole[..], &[0, 0, 1]].concat();
    assert_eq!(
        function.set_parts(&too_much),
        Poll::Ready(Err(Inadmissible::Short))
    );
}

#[test]
fn a_length_that_lies_is_refused() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let parts = function.all_parts();

    for at in 0..parts.len() {
        for lie in [1, 0x10, 0xffff, u32::MAX] {
            let mut wrong = parts.clone();
            let header = &mut wrong[at].header;
            header.length = header.length.get().wrapping_add(lie).into();

            assert!(function.give(&wrong).is_err());
            assert_eq!(function.all_parts(), parts);
        }
    }
}

/// Devices' defect 10: saved state is believed.
///
/// Whatever is given, and whether it is taken: a device either goes on with a driver whom it can
/// answer, or it stays stopped; and a reset makes it new.
#[test]
fn streams_of_bytes_for_parts_never_end_the_program_and_leave_no_device_half_set() {
    for seed in 0..64 {
        let mut random = Random::new(seed);
        let (mut bench, _) = function(0);
        let offer = Offer::default().with(F::RING_PACKED | F::SUSPEND);
        let (function, steps, _log) = beside(&bench, offer);
        function.stop_now(&steps);
        let fresh = function.all_parts();
        assert_eq!(function.set_mode(Mode::Running), DONE);
        let mut ring = function.start(&mut bench, 0, 1);
        function.stop_now(&steps);
        let honest = function.all_parts();

        for _ in 0..32 {
            let mut stream = bytes(&honest);
            for _ in 0..random.below(6) {
                let at = random.below(stream.len() as u64) as usize;
                match random.below(4) {
                    0 => stream[at] = random.byte(),
                    1 => stream[at] ^= 1 << random.below(8),
                    2 => drop(stream.drain(at..)),
                    _ => stream.insert(at, random.byte()),
                }
                if stream.is_empty() {
                    break;
                }
            }
            let before = function.all_parts();
            let given = function.set_parts(&stream);
            let after = function.all_parts();
            if given != DONE {
                assert_eq!(after, before, "seed {seed}");
            }
            let went_on = function.set_mode(Mode::Running);
            let served = steps.started();
            if went_on == DONE {
                assert!(served.iter().all(|index| *index < 2));
                for index in served {
                    steps.run(index);
                }
                function.stop_now(&steps);
            } else {
                assert_eq!(served, [], "seed {seed}");
                assert_eq!(function.set_mode(Mode::Stopped), DONE);
            }
        }

        assert_eq!(function.give(&honest), Ok(()), "seed {seed}");
        assert_eq!(function.set_mode(Mode::Running), DONE);
        steps.run(0);
        ring.queue
            .submit(&[], &[bench.ram.holding(&[0; 4])], ())
            .unwrap();
        function.set_common(common::DEVICE_STATUS, 1, 0);
        function.stop_now(&steps);
        let mut reset = function.all_parts();
        // It says how often configuration changed, over resets.
        let generation = |parts: &mut Vec<Part>| parts[6].value[0] = 0;
        let mut fresh = fresh;
        generation(&mut reset);
        generation(&mut fresh);
        assert_eq!(reset[..13], fresh[..13], "seed {seed}");
    }
}
