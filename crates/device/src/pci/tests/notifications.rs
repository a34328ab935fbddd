//! Notifications, of either side.

use super::*;

#[test]
fn a_queue_is_served_and_interrupts_with_its_message() {
    let (mut bench, function) = placed(3);
    let control = function.capabilities()[0].2;
    function.set(control, u32::from(msix::CONTROL_ENABLE) << 16);
    for (at, word) in [0xfee0_1000_u32, 0, 77, 0].iter().enumerate() {
        function.bar_write(2, 16 + 4 * at as u64, &word.to_le_bytes());
    }
    let mut ring = function.start(&mut bench, 1, 1);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();

    function.kick(1);
    bench.steps.run(1);

    assert_eq!(bench.steps.kicks(), [1]);
    assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4);
    assert_eq!(bench.wires.messages(), [(0xfee0_1000, 77)]);
    assert!(!bench.wires.asserted());
}

/// §4.1.4.5.1.
///
/// Clauses: dev:pci/pci-device-layout/isr-status-capability:5
#[test]
fn without_messages_the_pin_is_asserted_until_the_isr_status_is_read() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, NO_VECTOR);
    let wanted = || function.get(config::COMMAND) >> 16 & 0x8 != 0;
    let isr_at = |at: u32, len: usize| {
        let mut bytes = [0; 4];
        function.bar_read(0, at.into(), &mut bytes[..len]);
        bytes[0]
    };
    let isr = |len| isr_at(ISR_OFFSET, len);

    let before = wanted();
    function.config_changed();
    let asserted = (bench.wires.asserted(), wanted());
    let other = [isr(4), isr_at(ISR_OFFSET + 1, 1), isr_at(ISR_OFFSET - 1, 1)];
    let read = [isr(1), isr(1)];

    assert_eq!((before, asserted), (false, (true, true)));
    assert_eq!((other, read), ([0; 3], [2, 0]));
    assert!(!bench.wires.asserted() && !wanted());
    assert_eq!(bench.wires.changes(), 2);
}

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:6, dev:pci/op/init/msi-x-vector-cfg:9
#[test]
fn vectors_are_written_and_one_that_is_not_there_reads_as_none() {
    let (_bench, function) = placed(3);

    for at in [common::CONFIG_MSIX_VECTOR, common::QUEUE_MSIX_VECTOR] {
        function.set_common(at, 2, 2);
        assert_eq!(function.common(at, 2), 2);
        function.set_common(at, 2, 3);
        assert_eq!(function.common(at, 2), 0xffff);
    }
    function.set_common(common::QUEUE_SELECT, 2, 2);
    function.set_common(common::QUEUE_MSIX_VECTOR, 2, 1);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
    assert_eq!(function.common(common::QUEUE_SIZE, 2), 0);
}

#[test]
fn a_kick_names_its_queue_by_address_and_value() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let notify = u64::from(NOTIFY_OFFSET);

    function.kick(0);
    function.kick(1);
    // Another queue's index, odd places and widths, and what is beyond the last queue.
    function.bar_write(0, notify, &[1, 0]);
    function.bar_write(0, notify + 2, &[0, 0]);
    function.bar_write(0, notify, &[0]);
    function.bar_write(0, notify, &[0; 4]);
    function.kick(2);

    assert_eq!(bench.steps.kicks(), [0, 1]);
}

/// §2.9: what is said beside the index is a hint, and a driver may say anything.
#[test]
fn a_kick_with_data_has_32_bits_and_a_wrong_hint_harms_nobody() {
    let (mut bench, function) = placed(3);
    let mut ring = function.start_with(&mut bench, 1, 0, F::NOTIFICATION_DATA);
    let notify = u64::from(NOTIFY_OFFSET + NOTIFY_MULTIPLIER);
    let answer = bench.ram.holding(&[0; 4]);

    // Without data, for another queue, and at an odd place.
    function.kick(1);
    function.bar_write(0, notify, &[0, 0, 1, 0]);
    function.bar_write(0, notify + 2, &[1, 0, 0, 0]);
    let refused = bench.steps.kicks();
    for hint in [0_u16, 1, 0x7fff, 0x8000, u16::MAX] {
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();
        let [low, high] = hint.to_le_bytes();
        function.bar_write(0, notify, &[1, 0, low, high]);
        bench.steps.run(1);

        assert_eq!(bench.steps.kicks(), [1], "{hint:#x}");
        assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4, "{hint:#x}");
    }

    assert_eq!(refused, []);
    assert_eq!(function.violation(), None);
}

/// Clauses: dev:pci:1
#[test]
fn a_function_that_may_not_reach_memory_serves_nothing_until_it_may() {
    let (mut bench, function) = placed(3);
    function.set(config::COMMAND, Command::MEMORY.bits().into());

    function.start(&mut bench, 0, 0);
    function.kick(0);
    let before = (bench.steps.started(), bench.steps.kicks());
    function.set(
        config::COMMAND,
        u32::from((Command::MEMORY | Command::BUS_MASTER).bits()),
    );

    assert_eq!(before, (Vec::new(), Vec::new()));
    assert_eq!(bench.steps.started(), [0]);
    assert!(bench.steps.kicks().contains(&0));
}

#[test]
fn a_broken_rule_is_told_with_the_message_for_configuration() {
    let (mut bench, function) = placed(3);
    let control = function.capabilities()[0].2;
    function.set(control, u32::from(msix::CONTROL_ENABLE) << 16);
    function.bar_write(2, 8, &[5, 0, 0, 0]);
    function.bar_write(2, 12, &[0; 4]);
    function.set_common(common::CONFIG_MSIX_VECTOR, 2, 0);
    let mut ring = function.start(&mut bench, 0, 1);
    let hole = ringway_ring::driver::Segment {
        address: RAM - 1,
        len: 2,
    };
    ring.queue.submit(&[], &[hole], ()).unwrap();
    ring.queue.kick_needed();

    bench.steps.run(0);

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0x4f);
    assert_eq!(bench.wires.messages(), [(0, 5)]);
    let why = Violation::NotMapped {
        address: RAM - 1,
        len: 2,
    };
    assert_eq!(function.violation(), Some((0, why)));
}

/// §4.1.5.2.1: kicks name a queue as the device said, and its index is no such name.
#[test]
fn queues_are_named_in_kicks_as_the_device_says_if_that_was_agreed_on() {
    for data in [Features::NONE, F::NOTIFICATION_DATA] {
        let offer = Offer::default().with(F::NOTIF_CONFIG_DATA);
        let (mut bench, parts) = Bench::new(Features::NONE, offer);
        let function = present(&bench, parts, 3).unwrap();
        function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
        let agreed = F::NOTIF_CONFIG_DATA | data;
        let _ring = function.start_with(&mut bench, 1, NO_VECTOR, agreed);
        let name = function.common(common::QUEUE_NOTIF_CONFIG_DATA, 2);
        let at = u64::from(NOTIFY_OFFSET + NOTIFY_MULTIPLIER);
        let width = if data.is_empty() { 2 } else { 4 };
        let kick = |value: u32| function.bar_write(0, at, &value.to_le_bytes()[..width]);

        kick(1);
        let by_index = bench.steps.kicks();
        kick(name);
        let by_name = bench.steps.kicks();

        assert_ne!(name, 1);
        assert_eq!((by_index, by_name), (vec![], vec![1]));
    }
}

/// Whatever is asserted: the pin may be disabled.
///
/// Clauses: dev:pci/pci-device-layout/isr-status-capability:2,
/// dev:pci/pci-device-layout/isr-status-capability:3,
/// dev:pci/pci-device-layout/isr-status-capability:4,
/// dev:pci/pci-device-layout/isr-status-capability:5
#[test]
fn the_interrupt_status_of_pci_says_whether_the_isr_status_has_any_bit() {
    for disabled in [Command::empty(), Command::INTX_DISABLE] {
        let (mut bench, function) = placed(3);
        let command = Command::MEMORY | Command::BUS_MASTER | disabled;
        function.set(config::COMMAND, command.bits().into());
        let mut ring = function.start(&mut bench, 0, NO_VECTOR);
        let answer = bench.ram.holding(&[0; 4]);
        ring.queue.arm();
        let wanted = || function.get(config::COMMAND) >> 16 & 0x8 != 0;
        let mut seen = Vec::new();

        for (used, changed, status) in [(true, false, 1), (false, true, 2), (true, true, 3)] {
            if used {
                ring.queue.submit(&[], &[answer], ()).unwrap();
                ring.queue.kick_needed();
                bench.steps.run(0);
                ring.queue.poll().unwrap();
                ring.queue.arm();
            }
            if changed {
                function.config_changed();
            }
            let before = (wanted(), bench.wires.asserted());
            let mut isr = [0xff];
            function.bar_read(0, ISR_OFFSET.into(), &mut isr);
            seen.push((before, isr[0] == status, wanted()));
        }

        assert_eq!(seen, [((true, disabled.is_empty()), true, false); 3]);
    }
}
