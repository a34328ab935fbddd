//! A function that its owner stops, takes apart and puts together.

mod hostile;
mod legacy;
mod sriov;

use core::task::Poll;

use ringway_spec::admin::{PART_OPTIONAL, PartHeader, PartQueue, PartType};
use ringway_spec::pci::msix::TableEntry;
use spin::Mutex;
use zerocopy::IntoBytes;

use super::*;
use crate::admin::{Inadmissible, Member, Mode, Part};
use crate::parts::Interface;
use crate::testing::{Log, Steps, Wires};

pub(super) const DONE: Poll<Result<(), Inadmissible>> = Poll::Ready(Ok(()));

/// Bytes of parts, one after the other.
pub(super) fn bytes(parts: &[Part]) -> Vec<u8> {
    let pieces = parts
        .iter()
        .flat_map(|part| [part.header.as_bytes(), &part.value]);
    pieces.flatten().copied().collect()
}

fn types(parts: &[Part]) -> Vec<u16> {
    parts
        .iter()
        .map(|part| part.header.part_type.to_u16())
        .collect()
}

impl Function {
    pub(super) fn all_parts(&self) -> Vec<Part> {
        match self.parts() {
            Poll::Ready(parts) => parts,
            Poll::Pending => panic!("it is not being reset"),
        }
    }

    pub(super) fn give(&self, parts: &[Part]) -> Result<(), Inadmissible> {
        match self.set_parts(&bytes(parts)) {
            Poll::Ready(given) => given,
            Poll::Pending => panic!("it is not being reset"),
        }
    }

    pub(super) fn stop_now(&self, steps: &Steps) {
        let mut turns = 0;
        while self.set_mode(Mode::Stopped) != DONE {
            assert!(turns < 8, "it never stops");
            for index in steps.started() {
                steps.run(index);
            }
            turns += 1;
        }
    }
}

/// A function, its runner and what it remembers, at the memory of another one.
pub(super) fn beside(bench: &Bench, offer: Offer) -> (Function, Arc<Steps>, Arc<Log>) {
    let (function, steps, log, _wires) = wired(bench, offer);
    (function, steps, log)
}

/// The same, and what went over its wires.
fn wired(bench: &Bench, offer: Offer) -> (Function, Arc<Steps>, Arc<Log>, Arc<Wires>) {
    let (mut device, log) = Plain::new(Features::bit(70));
    device.saves = true;
    let steps = Arc::new(Steps::default());
    let parts = Parts {
        device: alloc::boxed::Box::new(device),
        offer,
        administration: Default::default(),
        interface: Interface::Modern,
        memory: bench.ram.memory(),
        runner: steps.clone(),
    };
    let wires = Arc::new(Wires::default());
    let function = Function::new(parts, 3, wires.clone(), wires.clone()).unwrap();
    place(&function);
    (function, steps, log, wires)
}

fn place(function: &Function) {
    function.set(config::BAR0, BASE0 as u32);
    function.set(config::BAR0 + 8, BASE2 as u32);
    let command = Command::MEMORY | Command::BUS_MASTER;
    function.set(config::COMMAND, command.bits().into());
}

/// §2.12.1.4.4
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:2,
/// dev:basic/device-groups/admin-cmds/device-parts:3
#[test]
fn parts_are_told_in_the_order_of_the_table_as_often_as_they_are_asked_for() {
    let (mut bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.start(&mut bench, 1, 2);
    function.set_common(common::CONFIG_MSIX_VECTOR, 2, 1);

    let running = types(&function.all_parts());
    function.stop_now(&steps);
    let [first, second] = [(); 2].map(|()| function.all_parts());

    let registers = [0x102; 6];
    let common = [
        &[0x100, 0x101][..],
        &registers,
        &[0x103, 0x104, 0x104, 0x105, 0x105],
    ]
    .concat();
    assert_eq!(running, common);
    assert_eq!(types(&first), [&common[..], &[0x5ff]].concat());
    assert_eq!(first, second);
    assert!(bytes(&first).len() <= function.parts_bytes_max() as usize);
    let selectors: Vec<u8> = first.iter().map(|part| part.header.selector[0]).collect();
    let of_registers = [0, 8, 16, 18, 21, 22];
    assert_eq!(selectors[2..8], of_registers);
    assert_eq!(selectors[9..13], [0, 1, 0, 1]);
    let optional = first
        .iter()
        .filter(|part| part.header.flags == PART_OPTIONAL);
    assert_eq!(optional.count(), 1);
    let values: Vec<&[u8]> = first.iter().map(|part| &part.value[..]).collect();
    assert_eq!(values[1], F::VERSION_1.0.to_le_bytes());
    assert_eq!((values[4], values[8]), (&[1, 0][..], &[0xf][..]));
    assert_eq!(values[10][..6], [16, 0, 2, 0, 1, 0]);
    assert_eq!(values[12][..2], [1, 0]);
}

/// The whole of it, but for the memory between: a driver does not notice.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:5
#[test]
fn a_device_goes_on_in_another_function_with_what_was_made_available_meanwhile() {
    for format in [Features::NONE, F::RING_PACKED, F::IN_ORDER] {
        let offer = Offer::default().with(format);
        let (mut bench, _) = function(0);
        let (source, steps, log) = beside(&bench, offer);
        let mut ring = source.start_with(&mut bench, 0, 1, format);
        source.set_common(common::CONFIG_MSIX_VECTOR, 2, 2);
        log.config.lock()[3] = 9;
        let room = bench.ram.holding(&[0; 4]);
        let exchange = |ring: &mut Ring, steps: &Steps| {
            ring.queue.submit(&[], &[room], ()).unwrap();
            ring.queue.kick_needed();
            steps.run(0);
            ring.queue.poll().unwrap().is_some()
        };
        // Beyond the end of the ring.
        for _ in 0..11 {
            assert!(exchange(&mut ring, &steps));
        }

        source.stop_now(&steps);
        ring.queue.submit(&[], &[room], ()).unwrap();
        ring.queue.kick_needed();
        let parts = source.all_parts();
        let (target, others, other_log) = beside(&bench, offer);
        target.stop_now(&others);
        // Once as another device, once as this one, once as it is.
        let twice = [(); 2].map(|()| target.give(&parts));
        let taken = target.all_parts();
        assert_eq!(target.set_mode(Mode::Running), DONE);
        others.run(0);

        assert_eq!(twice, [Ok(()); 2]);
        assert_eq!(taken, parts, "{format:?}");
        assert_eq!(others.started(), [0]);
        assert!(ring.queue.poll().unwrap().is_some());
        assert!((0..20).all(|_| exchange(&mut ring, &others)));
        assert_eq!(other_log.config.lock()[3], 9);
        let agreed = *other_log.negotiated.lock().last().unwrap();
        assert_eq!(agreed, F::VERSION_1 | format);
        assert_eq!(target.common(common::DEVICE_STATUS, 1), 0xf);
        assert_eq!(target.common(common::CONFIG_MSIX_VECTOR, 2), 2);
    }
}

/// In which order a driver does it is for it to say, as long as what must be before is.
#[test]
fn parts_are_given_in_as_many_commands_as_an_owner_likes() {
    let (mut bench, _) = function(0);
    let (source, steps, _log) = beside(&bench, Offer::default());
    let mut ring = source.start(&mut bench, 0, 1);
    source.stop_now(&steps);
    let parts = source.all_parts();
    let (target, others, _log) = beside(&bench, Offer::default());
    target.stop_now(&others);

    let given: Vec<_> = parts
        .iter()
        .map(|part| target.give(core::slice::from_ref(part)))
        .collect();
    assert_eq!(target.set_mode(Mode::Running), DONE);
    let room = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[room], ()).unwrap();
    ring.queue.kick_needed();
    others.run(0);

    assert!(given.iter().all(Result::is_ok));
    assert!(ring.queue.poll().unwrap().is_some());
}

/// §2.12.1.4.4.1
#[test]
fn a_device_that_works_is_given_no_parts() {
    let (mut bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.start(&mut bench, 0, 1);
    let parts = function.all_parts();

    let running = function.give(&parts);
    function.stop_now(&steps);
    assert_eq!(function.set_mode(Mode::Running), DONE);
    let again = function.give(&parts);

    assert_eq!([running, again], [Err(Inadmissible::Running); 2]);
    assert_eq!(steps.started(), [0]);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:6
#[test]
fn a_part_of_another_length_is_refused_and_the_others_with_it() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let parts = function.all_parts();

    for at in 0..parts.len() - 1 {
        for len in [0, 1, 2, 3, 5, 7, 9, 15, 24, 31, 33] {
            let mut wrong = parts.clone();
            let part = &mut wrong[at];
            if len == part.value.len() {
                continue;
            }
            part.value = vec![0; len];
            part.header.length = (len as u32).into();
            // Were it not for the other, this one would be taken.
            if at > 1 {
                wrong[1].value[4] ^= 1;
            }
            let part_type = parts[at].header.part_type;

            let given = function.give(&wrong);

            let length = Inadmissible::Length(part_type, len as u32);
            assert_eq!(given, Err(length));
            assert_eq!(function.all_parts(), parts);
        }
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:7
#[test]
fn features_that_are_offered_are_compared_and_never_set() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let parts = function.all_parts();
    let mut fewer = parts.clone();
    fewer[0].value[0] ^= 0xff;

    let given = [&fewer, &parts].map(|parts| function.give(parts));

    assert_eq!(given, [Err(Inadmissible::Features), Ok(())]);
    assert_eq!(function.all_parts(), parts);
}

#[test]
fn parts_that_are_out_of_order_twice_or_without_those_before_are_refused() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let parts = function.all_parts();
    let order = |part: &Part| Err(Inadmissible::Order(part.header.part_type));

    for at in 2..parts.len() {
        let alone = function.give(&parts[at..=at]);
        assert_eq!(alone, order(&parts[at]));
    }
    for at in 0..parts.len() {
        let twice = [&parts[..=at], &parts[at..]].concat();
        assert_eq!(function.give(&twice), order(&parts[at]));
    }
    for at in 0..parts.len() - 1 {
        let mut swapped = parts.clone();
        swapped.swap(at, at + 1);
        let same = parts[at].header.part_type == parts[at + 1].header.part_type;
        assert_eq!(function.give(&swapped).is_ok(), same);
    }
}

#[test]
fn a_part_that_is_not_known_is_passed_over_if_it_may_be() {
    let (bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    function.stop_now(&steps);
    let unknown = |flags| Part {
        header: PartHeader {
            part_type: PartType::from_u16(0x106),
            flags,
            length: 3.into(),
            ..PartHeader::default()
        },
        value: vec![1, 2, 3],
    };
    let parts = function.all_parts();

    let may = [&[unknown(PART_OPTIONAL)][..], &parts].concat();
    let must = [&parts[..], &[unknown(0)]].concat();

    assert_eq!(function.give(&may), Ok(()));
    let refused = Inadmissible::Unknown(PartType::from_u16(0x106));
    assert_eq!(function.give(&must), Err(refused));
}

/// Devices' defect 10: saved state is believed.
#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (mut bench, _) = function(0);
    let (function, steps, log) = beside(&bench, Offer::default());
    let _ring = function.start(&mut bench, 0, 1);
    function.stop_now(&steps);
    let parts = function.all_parts();
    let config = *log.config.lock();
    let with = |at: usize, byte: usize, value: u8| {
        let mut parts = parts.clone();
        parts[at].value[byte] = value;
        parts
    };
    let value = |at: usize| Inadmissible::Value(parts[at].header.part_type);

    for (wrong, why) in [
        // Not offered; and agreed on without VERSION_1.
        (with(1, 0, 1), Inadmissible::Features),
        (with(1, 4, 0), Inadmissible::Features),
        // A vector that there is not; another count of queues.
        (with(4, 0, 3), value(4)),
        (with(5, 0, 3), value(5)),
        // Ready before features are settled; suspended without having agreed; reserved.
        (with(8, 0, 0x10), Inadmissible::Status),
        (with(8, 0, 0x1b), Inadmissible::Status),
        (with(8, 0, 0x20), Inadmissible::Status),
        // Too large, none at all; a vector; neither enabled nor not; reserved.
        (with(9, 0, 9), Inadmissible::Queue(0)),
        (with(9, 0, 0), Inadmissible::Queue(0)),
        (with(9, 2, 9), value(9)),
        (with(9, 4, 2), value(9)),
        (with(9, 6, 1), value(9)),
        // Notified elsewhere.
        (with(11, 0, 5), value(11)),
    ] {
        assert_eq!(function.give(&wrong), Err(why));
        assert_eq!(function.all_parts(), parts);
    }
    assert_eq!(*log.config.lock(), config);
}

/// What is not known before: whether there is a ring.
#[test]
fn a_device_with_parts_that_do_not_fit_together_stays_stopped_until_they_do() {
    let (mut bench, _) = function(0);
    let (source, steps, _log) = beside(&bench, Offer::default());
    let _ring = source.start(&mut bench, 0, 1);
    source.stop_now(&steps);
    let parts = source.all_parts();
    let (target, others, _log) = beside(&bench, Offer::default());
    target.stop_now(&others);
    let with = |change: fn(&mut PartQueue)| {
        let mut parts = parts.clone();
        let mut queue = PartQueue::read_from_bytes(&parts[9].value).unwrap();
        change(&mut queue);
        parts[9].value = queue.as_bytes().to_vec();
        parts
    };

    for (change, why) in [
        (
            with(|queue| queue.queue_desc = 16.into()),
            Inadmissible::Ring(0),
        ),
        (
            with(|queue| queue.queue_device = u64::MAX.into()),
            Inadmissible::Ring(0),
        ),
        (
            with(|queue| queue.queue_size = 7.into()),
            Inadmissible::Queue(0),
        ),
    ] {
        assert_eq!(target.give(&change), Ok(()));
        assert_eq!(target.set_mode(Mode::Running), Poll::Ready(Err(why)));
        assert_eq!(target.give(&parts[..1]), Ok(()), "it is stopped");
        assert_eq!(others.started(), []);
    }
    assert_eq!(target.give(&parts), Ok(()));
    assert_eq!(target.set_mode(Mode::Running), DONE);
    assert_eq!(others.started(), [0]);
}

/// What PCI has of its own does not change.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:8,
/// dev:basic/device-groups/admin-cmds/device-parts:13
#[test]
fn a_message_that_waits_is_sent_when_the_function_goes_on_and_what_pci_has_is_as_ever() {
    let (mut bench, _) = function(0);
    let (function, steps, _log, wires) = wired(&bench, Offer::default());
    let at = function
        .capabilities()
        .iter()
        .find(|found| found.0 == config::CAPABILITY_MSIX)
        .map(|found| found.2)
        .unwrap();
    function.config_write(at as u16 + 2, &msix::CONTROL_ENABLE.to_le_bytes());
    let entry = |control: u32| TableEntry {
        address_low: 0xfee0_0000.into(),
        data: 5.into(),
        vector_control: control.into(),
        ..TableEntry::default()
    };
    let write_entry = |control| {
        for (offset, word) in (16..).step_by(4).zip(entry(control).as_bytes().chunks(4)) {
            function.bar_write(2, offset, word);
        }
    };
    write_entry(1);
    let mut ring = function.start(&mut bench, 0, 1);
    ring.queue.arm();
    let room = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[room], ()).unwrap();
    ring.queue.kick_needed();
    steps.run(0);

    function.stop_now(&steps);
    write_entry(0);
    let silent = wires.messages();
    let mut pending = [0; 4];
    function.bar_read(2, 0x1000, &mut pending);
    let id = function.get(config::VENDOR_ID);
    function.set(config::INTERRUPT_LINE, 0x42);
    let line = function.get(config::INTERRUPT_LINE) & 0xff;
    assert_eq!(function.set_mode(Mode::Running), DONE);

    assert_eq!((silent, pending[0]), (vec![], 2));
    assert_eq!((id, line), (0x107f_1af4, 0x42));
    assert_eq!(wires.messages(), [(0xfee0_0000, 5)]);
}

/// What the source still had to tell is not known: its driver is told once too often.
#[test]
fn a_driver_is_told_when_its_device_goes_on_elsewhere() {
    let (mut bench, _) = function(0);
    let (source, steps, _log) = beside(&bench, Offer::default());
    let _ring = source.start(&mut bench, 0, 1);
    source.stop_now(&steps);
    let (target, others, _log, wires) = wired(&bench, Offer::default());
    target.stop_now(&others);
    assert_eq!(target.give(&source.all_parts()), Ok(()));

    let before = wires.asserted();
    assert_eq!(target.set_mode(Mode::Running), DONE);

    assert!(!before && wires.asserted());
}

/// A queue that another asked to be reset is not served twice.
#[test]
fn a_driver_that_resets_while_parts_are_given_finds_a_device_that_is_new() {
    let (mut bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    let fresh = function.all_parts();
    let _ring = function.start(&mut bench, 0, 1);
    function.stop_now(&steps);
    let parts = function.all_parts();
    let function = Arc::new(function);
    let during = function.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    *steps.on_stop.lock() = Some(Arc::new(move || {
        log.lock().push(during.set_mode(Mode::Running).is_pending());
    }));

    let given = function.give(&parts[..1]);
    *steps.on_stop.lock() = None;
    function.set_common(common::DEVICE_STATUS, 1, 0);
    assert_eq!(function.set_mode(Mode::Running), DONE);

    assert_eq!((given, seen.lock().first()), (Ok(()), Some(&true)));
    assert_eq!(types(&function.all_parts()), types(&fresh)[..fresh.len()]);
    assert_eq!(steps.started(), []);
}
