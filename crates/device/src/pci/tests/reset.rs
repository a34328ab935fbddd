//! A reset of the function as a whole (FLR), which its capability of advanced features asks for.

use super::*;
use core::sync::atomic::AtomicBool;
use ringway_spec::pci::af;

impl Function {
    /// Where the reset is asked for.
    fn reset_control(&self) -> usize {
        let all = self.capabilities();
        let found = all.iter().find(|it| it.0 == config::CAPABILITY_AF).unwrap();
        let capability: af::Capability = self.structure(found.2);
        assert_eq!((capability.length, capability.capabilities), (6, 3));
        found.2 + 4
    }

    /// Asks for the reset, by an access of `len` bytes.
    fn reset_alone(&self, len: usize) {
        let bytes = [af::CONTROL_RESET, 0xff, 0xff, 0xff];
        self.config_write(self.reset_control() as u16, &bytes[..len]);
    }
}

/// Everything of configuration space and of the table of vectors.
fn all(function: &Function) -> Vec<u32> {
    let table = (0..3 * 16).step_by(4).map(|at| {
        let mut bytes = [0; 4];
        function.bar_read(2, at, &mut bytes);
        load(&bytes)
    });
    let space = (0..config::SIZE).step_by(4).map(|at| function.get(at));
    space.chain(table).collect()
}

/// Clauses: dev:pci:1
#[test]
fn a_function_that_is_reset_alone_is_what_it_was_at_first() {
    for len in [1, 2, 4] {
        let (mut bench, function) = function(3);
        let new = all(&function);
        let control = function.reset_control();
        for at in (0..config::SIZE).step_by(4).filter(|&at| at != control) {
            function.set(at, u32::MAX);
        }
        for at in (0..3 * 16).step_by(4) {
            function.bar_write(2, at, &[0x11; 4]);
        }
        let _ring = function.start(&mut bench, 0, 1);
        let started = bench.steps.started();

        function.reset_alone(len);

        assert_eq!(started, [0]);
        assert_eq!(bench.steps.started(), []);
        assert_eq!(all(&function), new);
        let read = |at, len| function.common(at, len);
        assert_eq!(read(common::DEVICE_STATUS, 1), 0);
        assert_eq!(read(common::QUEUE_ENABLE, 2), 0);
        assert_eq!(read(common::QUEUE_MSIX_VECTOR, 2), NO_VECTOR.into());
    }
}

/// When the write is done it is at rest: it waited for its tasks, and may reach no memory from
/// before that on.
#[test]
fn a_function_that_is_reset_alone_answers_at_no_address_and_interrupts_nobody() {
    let (mut bench, function) = placed(3);
    let _ring = function.start(&mut bench, 0, NO_VECTOR);
    function.config_changed();
    let function = Arc::new(function);
    let (weak, waited) = (Arc::downgrade(&function), Arc::new(AtomicBool::new(false)));
    let stopped = waited.clone();
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        if let Some(function) = weak.upgrade() {
            assert_eq!(function.get(config::COMMAND) as u16, 0);
            stopped.store(true, Ordering::SeqCst);
        }
    }));
    let asserted = bench.wires.asserted();

    function.reset_alone(1);

    assert!(asserted && waited.load(Ordering::SeqCst));
    assert!(!bench.wires.asserted());
    assert_eq!(function.locate(BASE0, 4), None);
    function.config_changed();
    assert!(!bench.wires.asserted());
    assert_eq!(bench.wires.messages(), []);
}

#[test]
fn a_message_that_waited_does_not_outlive_a_reset_of_the_function() {
    let (mut bench, function) = placed(3);
    let control = function.capabilities()[0].2;
    let enable = || {
        function.set(control, u32::from(msix::CONTROL_ENABLE) << 16);
        function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
    };
    enable();
    function.set_common(common::CONFIG_MSIX_VECTOR, 2, 0);
    let _ring = function.start(&mut bench, 0, 1);
    function.config_changed();

    function.reset_alone(4);
    enable();
    function.bar_write(2, 12, &[0; 4]);

    assert_eq!(bench.wires.messages(), []);
}

#[test]
fn a_function_is_reset_alone_by_its_bit_and_nothing_else() {
    let (mut bench, function) = placed(3);
    let _ring = function.start(&mut bench, 0, NO_VECTOR);
    let control = function.reset_control() as u16;

    function.config_write(control, &[0xfe]);
    function.config_write(control + 1, &[1]);
    function.config_write(control - 1, &[1]);
    function.config_write(control - 4, &[1; 4]);

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0xf);
}
