//! Members that are virtual functions.

use core::sync::atomic::AtomicBool;

use ringway_spec::admin::{CommandHeader, GroupType, Opcode, Opcodes, StatusHeader};
use ringway_spec::pci::af;
use ringway_spec::pci::extended::START;
use ringway_spec::pci::sriov::{self, Control as Registers};

use super::*;
use crate::admin::{Administration, Control, Members};
use crate::pci::{Routing, VirtualFunction};

/// The index of the administration queue of such a function.
const QUEUE: u16 = Plain::QUEUE_SIZES.len() as u16;

/// A physical function whose driver has stopped or started its first virtual one.
struct Owner {
    bench: Bench,
    function: Function,
    ring: Ring,
}

impl Owner {
    fn new() -> Self {
        let (mut bench, mut parts) = Bench::new(Features::NONE, Offer::default());
        let virtuals: Vec<_> = (0..2)
            .map(|_| {
                let (other, parts) = Bench::new(Features::NONE, Offer::default());
                VirtualFunction::new(parts, 3, other.wires.clone()).unwrap()
            })
            .collect();
        let control = Arc::new(Control::default());
        let members = virtuals.iter().map(VirtualFunction::member).collect();
        let members = Members::new(GroupType::SR_IOV, control.clone(), members);
        parts.administration = Administration::new(1)
            .with(control.facilities())
            .with(Arc::new(members));
        let wires = bench.wires.clone();
        let routing = Routing::default();
        let function =
            Function::physical(parts, 3, wires.clone(), wires, virtuals, routing).unwrap();
        function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
        let ring = function.start_with(&mut bench, QUEUE, 1, F::ADMIN_VQ);
        Self {
            bench,
            function,
            ring,
        }
    }

    fn enable(&self, enable: Registers) {
        let set = |register: usize, value: u16| {
            let at = (START + register) as u16;
            self.function.config_write(at, &value.to_le_bytes());
        };
        set(sriov::NUM_VFS, 2);
        set(sriov::CONTROL, enable.bits());
    }

    fn ask(&mut self, opcode: Opcode, member: u64, data: &[u8]) -> u16 {
        let header = CommandHeader::new(opcode, GroupType::SR_IOV, member);
        let readable = [header.as_bytes(), data].concat();
        let readable = self.bench.ram.holding(&readable);
        let writable = self.bench.ram.holding(&[0xaa; 16]);
        let queue = &mut self.ring.queue;
        queue.submit(&[readable], &[writable], ()).unwrap();
        queue.kick_needed();
        self.function.kick(QUEUE);
        self.bench.steps.run(QUEUE).unwrap();
        queue.poll().unwrap().unwrap();
        let bytes = self.bench.ram.bytes(writable);
        let (header, _) = StatusHeader::read_from_prefix(&bytes).unwrap();
        header.status.to_u16()
    }

    /// Whether member 1 is one that was stopped: parts are given to no other.
    fn is_stopped(&self) -> bool {
        let (_, member) = self.function.virtual_function(1).unwrap();
        member.give(&[]).is_ok()
    }
}

#[test]
fn an_owner_stops_a_virtual_function_and_one_that_comes_anew_works() {
    let mut owner = Owner::new();
    owner.enable(Registers::VF_ENABLE);
    let used = Opcodes::LISTS.union(Control::COMMANDS).to_words();
    owner.ask(Opcode::LIST_USE, 0, used.as_bytes());

    let before = owner.is_stopped();
    let stopped = owner.ask(Opcode::DEV_MODE_SET, 1, &[1]);
    let after = owner.is_stopped();
    let nobody = owner.ask(Opcode::DEV_MODE_SET, 3, &[1]);
    owner.enable(Registers::empty());
    owner.enable(Registers::VF_ENABLE);

    assert_eq!((before, stopped, after), (false, 0, true));
    assert_eq!(nobody, 22);
    assert!(!owner.is_stopped());
}

/// By configuration space, which is PCI's own: it is done in whatever mode.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:13,
/// dev:basic/device-groups/admin-cmds/device-parts:17,
/// dev:basic/device-groups/admin-cmds/device-parts:22
#[test]
fn a_member_that_is_reset_alone_is_new_and_its_owner_waits_for_that() {
    let (mut bench, _) = function(0);
    let (function, steps, _log) = beside(&bench, Offer::default());
    let fresh = function.all_parts();
    let _ring = function.start(&mut bench, 0, 1);
    function.stop_now(&steps);
    // There is a task to wait for.
    assert_eq!(function.set_mode(Mode::Running), DONE);
    let function = Arc::new(function);
    let (during, waits) = (function.clone(), Arc::new(AtomicBool::new(true)));
    let all = waits.clone();
    *steps.on_stop.lock() = Some(Arc::new(move || {
        let modes = [Mode::Stopped, Mode::Running].map(|mode| during.set_mode(mode).is_pending());
        let set = during.set_parts(&[]).is_pending();
        all.fetch_and(modes == [true; 2] && set, Ordering::SeqCst);
    }));

    let at = function.capabilities();
    let at = at
        .iter()
        .find(|it| it.0 == config::CAPABILITY_AF)
        .unwrap()
        .2
        + 4;
    function.config_write(at as u16, &[af::CONTROL_RESET]);
    *steps.on_stop.lock() = None;

    assert!(waits.load(Ordering::SeqCst));
    assert_eq!(function.set_mode(Mode::Stopped), DONE);
    let mut reset = function.all_parts();
    assert_eq!(
        reset.pop().map(|part| part.header.part_type.to_u16()),
        Some(0x5ff)
    );
    // It says how often configuration changed, over resets.
    reset[6] = fresh[6].clone();
    assert_eq!(reset, fresh);
}
