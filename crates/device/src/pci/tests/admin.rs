//! Administration queues: where a driver finds them, and what it must have agreed to.

use super::*;
use crate::admin::{self, Administration, Command as Asked, Failure, Group};
use crate::task::Ran;
use core::task::Poll;
use ringway_spec::admin::{CommandHeader, GroupType, Opcode, Opcodes};
use zerocopy::IntoBytes;

/// A group of the owner alone, of which nothing can be asked.
struct Silent;

impl Group for Silent {
    fn group_type(&self) -> GroupType {
        GroupType::SELF
    }

    fn commands(&self) -> Opcodes {
        Opcodes::NONE
    }

    fn has_member(&self, member: u64) -> bool {
        member == 0
    }

    fn execute(&self, _command: &Asked<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        Poll::Ready(Err(Failure::InvalidCommand))
    }
}

/// The index of the first administration queue of such a function.
const FIRST: u16 = Plain::QUEUE_SIZES.len() as u16;

pub(super) fn owning(queues: u16, interface: Interface) -> (Bench, Function) {
    let (bench, mut parts) = Bench::new(Features::NONE, Offer::default());
    parts.administration = Administration::new(queues).with(Arc::new(Silent));
    parts.interface = interface;
    let function = present(&bench, parts, 4).unwrap();
    let bases = function
        .bars()
        .iter()
        .map(|bar| bar.index)
        .zip([BASE0, BASE2]);
    for (index, base) in bases.collect::<Vec<_>>() {
        function.set(config::BAR0 + 4 * usize::from(index), base as u32);
    }
    let command = Command::MEMORY | Command::BUS_MASTER;
    function.set(config::COMMAND, u32::from(command.bits()));
    (bench, function)
}

impl Function {
    fn offered(&self, word: u32) -> Features {
        self.set_common(common::DEVICE_FEATURE_SELECT, 4, word);
        Features::NONE.with_word(word, self.common(common::DEVICE_FEATURE, 4))
    }

    fn size_of_queue(&self, index: u16) -> u32 {
        self.set_common(common::QUEUE_SELECT, 2, index.into());
        self.common(common::QUEUE_SIZE, 2)
    }

    fn place(&self) -> (u32, u32, u32) {
        (
            self.common(common::NUM_QUEUES, 2),
            self.common(common::ADMIN_QUEUE_INDEX, 2),
            self.common(common::ADMIN_QUEUE_NUM, 2),
        )
    }
}

#[test]
fn administration_is_offered_with_a_group_and_a_queue_and_not_otherwise() {
    for (queues, offered) in [(0, false), (1, true), (3, true)] {
        let (_bench, function) = owning(queues, Interface::Modern);

        assert_eq!(function.offered(1).contains(F::ADMIN_VQ), offered);
    }
    let (_bench, mut parts) = Bench::new(Features::NONE, Offer::default());
    parts.administration = Administration::new(2);
    assert_eq!(parts.queues(), (FIRST, 0));
}

/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:16
#[test]
fn administration_queues_lie_behind_the_others_once_they_are_agreed_on() {
    let (mut bench, function) = owning(2, Interface::Modern);
    let (others, first) = (u32::from(FIRST), FIRST);

    let before = (function.place(), function.size_of_queue(first));
    function.start_with(&mut bench, first, 1, F::ADMIN_VQ);

    assert_eq!(before, ((others, 0, 0), 0));
    assert_eq!(function.place(), (others, others, 2));
    let sizes = [first, first + 1, first + 2].map(|index| function.size_of_queue(index));
    assert_eq!(
        sizes,
        [admin::QUEUE_SIZE.into(), admin::QUEUE_SIZE.into(), 0]
    );
    let vectors = function.common(common::QUEUE_MSIX_VECTOR, 2);
    assert_eq!(vectors, u32::from(NO_VECTOR));
}

#[test]
fn a_driver_that_did_not_agree_to_administration_finds_no_queue_for_it() {
    let (mut bench, function) = owning(2, Interface::Modern);

    function.start(&mut bench, 0, 1);
    let found = [FIRST, FIRST + 1].map(|index| function.size_of_queue(index));
    function.set_common(common::QUEUE_ENABLE, 2, 1);

    assert_eq!(found, [0; 2]);
    assert_eq!(function.place(), (FIRST.into(), 0, 0));
    assert_eq!(bench.steps.started(), [0]);
}

#[test]
fn a_device_with_very_many_queues_has_as_many_for_administration_as_have_an_index() {
    let (_bench, mut parts) = Bench::new(Features::NONE, Offer::default());
    parts.administration = Administration::new(u16::MAX).with(Arc::new(Silent));

    let (own, more) = parts.queues();

    assert_eq!((own, more), (FIRST, u16::MAX - FIRST));
}

#[test]
fn a_function_for_drivers_from_before_version_1_has_no_administration() {
    let (_bench, mut parts) = Bench::new(Features::NONE, Offer::default());
    parts.administration = Administration::new(1).with(Arc::new(Silent));
    parts.interface = Interface::Legacy;

    assert_eq!(parts.queues(), (FIRST, 0));
}

#[test]
fn a_command_goes_over_its_queue_and_a_reset_takes_back_what_was_said() {
    for format in [Features::NONE, F::RING_PACKED] {
        let (bench, mut parts) = Bench::new(Features::NONE, Offer::default().with(format));
        let mut bench = bench;
        parts.administration = Administration::new(1).with(Arc::new(Silent));
        let function = present(&bench, parts, 4).unwrap();
        let command = Command::MEMORY | Command::BUS_MASTER;
        function.set(config::COMMAND, u32::from(command.bits()));
        let mut answers = Vec::new();

        for _ in 0..2 {
            let features = F::ADMIN_VQ | format;
            let mut ring = function.start_with(&mut bench, FIRST, 1, features);
            for opcode in [Opcode::LIST_QUERY, Opcode::LIST_USE, Opcode::LIST_QUERY] {
                let header = CommandHeader::new(opcode, GroupType::SELF, 0);
                // LIST_USE of nothing: from then on, nothing is answered.
                let readable = bench.ram.holding(&[header.as_bytes(), &[0; 8]].concat());
                let writable = bench.ram.holding(&[0xaa; 16]);
                ring.queue.submit(&[readable], &[writable], ()).unwrap();
                ring.queue.kick_needed();
                function.kick(FIRST);
                assert_eq!(bench.steps.run(FIRST), Some(Ran::Idle));
                let done = ring.queue.poll().unwrap().unwrap();
                let bytes = bench.ram.bytes(writable);
                answers.push((done.written, bytes[0], bytes[2]));
            }
            function.set_common(common::DEVICE_STATUS, 1, 0);
            bench.ram.forget();
        }

        let once = [(16, 0, 0), (8, 0, 0), (8, 22, 2)];
        assert_eq!(answers, [once, once].concat());
    }
}

/// §4.2: a window has no register that would say where the queues are.
#[test]
fn a_window_offers_no_administration() {
    let (bench, mut parts) = Bench::new(Features::NONE, Offer::default());
    parts.administration = Administration::new(1).with(Arc::new(Silent));
    let window = crate::mmio::Window::new(parts, bench.wires.clone());
    let mut word = [0; 4];

    window.write(0x14, &1_u32.to_le_bytes());
    window.read(0x10, &mut word);

    let offered = Features::NONE.with_word(1, u32::from_le_bytes(word));
    assert!(offered.contains(F::VERSION_1) && !offered.contains(F::ADMIN_VQ));
}
