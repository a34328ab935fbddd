use super::*;
use crate::parts::Offer;
use crate::testing::{Bench, Plain, Random, Ring};
use ringway_spec::{F, Features, Status};

mod obeyed;
mod shared;
mod version_1;

fn window(features: Features) -> (Bench, Window) {
    let (bench, parts) = Bench::new(features, Offer::default());
    let window = Window::new(parts, bench.wires.clone());
    (bench, window)
}

impl Window {
    fn get(&self, register: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.read(register as u64, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&self, register: usize, value: u32) {
        self.write(register as u64, &value.to_le_bytes());
    }

    /// Follows §3.1.1 and §4.2.3.2 with queue `index`.
    fn start(&self, bench: &mut Bench, index: u16) -> Ring {
        self.start_with(bench, index, Features::NONE)
    }

    fn start_with(&self, bench: &mut Bench, index: u16, features: Features) -> Ring {
        let features = features | F::VERSION_1;
        self.set(register::STATUS, 3);
        self.set(register::DRIVER_FEATURES_SEL, 1);
        self.set(register::DRIVER_FEATURES, features.word(1));
        self.set(register::STATUS, 0xb);
        let ring = self.enable(bench, index, features);
        self.set(register::STATUS, 0xf);
        assert_eq!(self.get(register::STATUS), 0xf);
        ring
    }

    /// Follows §4.2.3.2 with queue `index`.
    fn enable(&self, bench: &mut Bench, index: u16, features: Features) -> Ring {
        let size = Plain::QUEUE_SIZES[usize::from(index)];
        let ring = bench.ram.ring(size, features);
        self.set(register::QUEUE_SEL, index.into());
        self.set(register::QUEUE_SIZE, size.into());
        let areas = ring.areas;
        for (low, high, address) in [
            (
                register::QUEUE_DESC_LOW,
                register::QUEUE_DESC_HIGH,
                areas.descriptor,
            ),
            (
                register::QUEUE_DRIVER_LOW,
                register::QUEUE_DRIVER_HIGH,
                areas.driver,
            ),
            (
                register::QUEUE_DEVICE_LOW,
                register::QUEUE_DEVICE_HIGH,
                areas.device,
            ),
        ] {
            self.set(low, address as u32);
            self.set(high, (address >> 32) as u32);
        }
        self.set(register::QUEUE_READY, 1);
        assert_eq!(self.get(register::QUEUE_READY), 1);
        ring
    }
}

/// Clauses: dev:mmio/mmio-device-register-layout:1, dev:mmio/mmio-device-register-layout:2
#[test]
fn a_window_says_what_it_is() {
    let (_bench, window) = window(Features::bit(2));

    assert_eq!(window.get(0x000), 0x7472_6976);
    assert_eq!(window.get(0x004), 2);
    assert_eq!(window.get(0x008), window.id().0);
    assert_eq!(window.get(0x00c), VENDOR);
    window.set(0x014, 0);
    assert_eq!(
        window.get(0x010),
        1 << 2 | (F::INDIRECT_DESC | F::EVENT_IDX).word(0)
    );
    window.set(0x014, 1);
    let usual = Offer::default().features();
    assert_eq!(window.get(0x010), usual.word(1));
}

#[test]
fn an_empty_slot_has_device_id_0_and_nothing_else() {
    let read = |offset| {
        let mut bytes = [0xff; 4];
        Empty.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    };

    assert_eq!([0, 4, 8].map(read), [MAGIC, VERSION, 0]);
    assert_eq!([0x70, 0x100, 0x102, u64::MAX].map(read), [0; 4]);
}

/// Clauses: dev:mmio/mmio-device-register-layout:4
#[test]
fn a_queue_is_served_and_its_interrupt_acknowledged() {
    let (mut bench, window) = window(Features::NONE);
    let mut ring = window.start(&mut bench, 1);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();

    window.set(register::QUEUE_NOTIFY, 1);
    bench.steps.run(1);

    assert_eq!(bench.steps.kicks(), [1]);
    assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4);
    assert_eq!(
        (
            window.get(register::INTERRUPT_STATUS),
            bench.wires.asserted()
        ),
        (1, true)
    );
    window.set(register::INTERRUPT_ACK, 1);
    assert_eq!(
        (
            window.get(register::INTERRUPT_STATUS),
            bench.wires.asserted()
        ),
        (0, false)
    );
}

/// Clauses: dev:mmio/mmio-device-register-layout:3
#[test]
fn the_line_stays_asserted_until_every_cause_is_acknowledged() {
    let (mut bench, window) = window(Features::NONE);
    window.start(&mut bench, 0);
    window.front.interrupts().used(0);
    window.config_changed();

    window.set(register::INTERRUPT_ACK, 1);
    let one = (
        window.get(register::INTERRUPT_STATUS),
        bench.wires.asserted(),
    );
    window.set(register::INTERRUPT_ACK, 0xffff_fffc);
    let none = window.get(register::INTERRUPT_STATUS);
    window.set(register::INTERRUPT_ACK, 3);

    assert_eq!((one, none), ((2, true), 2));
    assert!(!bench.wires.asserted());
    assert_eq!(bench.wires.changes(), 2);
}

#[test]
fn a_queue_that_is_not_there_has_size_0() {
    let (_bench, window) = window(Features::NONE);
    let max = |index| {
        window.set(register::QUEUE_SEL, index);
        window.get(register::QUEUE_SIZE_MAX)
    };

    assert_eq!([0, 1, 2, 0x1_0000, u32::MAX].map(max), [8, 16, 0, 0, 0]);
}

/// Devices' defect 8: an index cut to 16 bits.
#[test]
fn a_kick_of_an_index_above_65535_is_not_one_of_another_queue() {
    let (mut bench, window) = window(Features::NONE);
    window.start(&mut bench, 0);

    for index in [0x1_0000, 0xffff_0000, 2, 0xffff] {
        window.set(register::QUEUE_NOTIFY, index);
    }

    assert_eq!(bench.steps.kicks(), []);
}

/// Clauses: dev:mmio/mmio-device-register-layout:10, dev:mmio/mmio-device-register-layout:12
#[test]
fn a_queue_is_reset_alone_through_its_register() {
    let (mut bench, window) = window(Features::NONE);
    window.start_with(&mut bench, 1, F::RING_RESET);
    let before = window.get(register::QUEUE_RESET);

    window.set(register::QUEUE_RESET, 1);

    let read = [register::QUEUE_RESET, register::QUEUE_READY].map(|at| window.get(at));
    assert_eq!((before, read), (0, [0, 0]));
    assert_eq!(window.get(register::STATUS), 0xf);
    assert!(bench.steps.started().is_empty());
}

/// §2.9: what is said beside the index is a hint, and a driver may say anything.
#[test]
fn a_kick_with_data_names_its_queue_in_the_low_half_and_a_wrong_hint_harms_nobody() {
    let (mut bench, window) = window(Features::NONE);
    let mut ring = window.start_with(&mut bench, 1, F::NOTIFICATION_DATA);
    let answer = bench.ram.holding(&[0; 4]);

    for hint in [0, 1, 0x7fff, 0x8000, 0xffff] {
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();
        window.set(register::QUEUE_NOTIFY, hint << 16 | 1);
        window.set(register::QUEUE_NOTIFY, hint << 16 | 2);
        bench.steps.run(1);

        assert_eq!(bench.steps.kicks(), [1], "{hint:#x}");
        assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4, "{hint:#x}");
    }

    assert_eq!(window.violation(), None);
}

#[test]
fn control_registers_answer_aligned_accesses_of_32_bits_only() {
    let (_bench, window) = window(Features::NONE);

    for (offset, len) in [(0, 1), (0, 2), (0, 8), (1, 4), (2, 2), (0xff, 4)] {
        let mut bytes = [0xff; 8];
        window.read(offset, &mut bytes[..len]);
        assert_eq!(bytes[..len], [0; 8][..len], "{offset}+{len}");
    }
    window.write(0x70, &[1]);
    window.write(0x70, &[1, 0]);
    window.write(0x70, &[1; 8]);
    window.write(0x6f, &[0, 1, 0, 0]);
    assert_eq!(window.get(register::STATUS), 0);
}

#[test]
fn registers_that_are_none_or_only_written_read_0_and_those_only_read_stay() {
    let (_bench, window) = window(Features::NONE);

    for register in (0..CONFIG).step_by(4) {
        let before = window.get(register);
        if !matches!(register, register::STATUS | register::QUEUE_READY) {
            window.set(register, u32::MAX);
        }
        window.set(register::DEVICE_FEATURES_SEL, 0);
        window.set(register::QUEUE_SEL, 0);
        assert_eq!(window.get(register), before, "{register:#x}");
    }
    for register in [
        0x014, 0x020, 0x030, 0x038, 0x050, 0x064, 0x080, 0x0ac, 0x0c0, 0x0d0,
    ] {
        assert_eq!(window.get(register), 0, "{register:#x}");
    }
}

#[test]
fn there_are_no_shared_memory_regions() {
    let (_bench, window) = window(Features::NONE);

    window.set(register::SHM_SEL, 0);

    for register in [0x0b0, 0x0b4, 0x0b8, 0x0bc] {
        assert_eq!(window.get(register), u32::MAX);
    }
}

#[test]
fn configuration_is_reached_with_any_width() {
    let (mut bench, window) = window(Features::NONE);
    window.start(&mut bench, 0);
    window.write(0x100, &[1, 2, 3, 4]);
    window.write(0x105, &[6]);

    let mut bytes = [0xff; 16];
    window.read(0x101, &mut bytes[..1]);
    window.read(0x104, &mut bytes[1..3]);
    window.read(0x100, &mut bytes[3..11]);
    window.read(u64::MAX, &mut bytes[11..]);

    assert_eq!(bytes, [2, 0, 6, 1, 2, 3, 4, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_change_of_configuration_is_told_and_gives_another_generation() {
    let (mut bench, window) = window(Features::NONE);
    window.start(&mut bench, 0);
    let before = window.get(register::CONFIG_GENERATION);

    window.config_changed();
    window.get(CONFIG);

    assert_ne!(window.get(register::CONFIG_GENERATION), before);
    assert_eq!(window.get(register::INTERRUPT_STATUS), 2);
}

#[test]
fn a_broken_rule_shows_in_the_status_and_interrupts() {
    let (mut bench, window) = window(Features::NONE);
    let mut ring = window.start(&mut bench, 0);
    let nowhere = ringway_ring::driver::Segment { address: 0, len: 1 };
    ring.queue.submit(&[], &[nowhere], ()).unwrap();
    ring.queue.kick_needed();

    bench.steps.run(0);

    let needs_reset = u32::from(Status::NEEDS_RESET.bits());
    assert_eq!(window.get(register::STATUS), 0xf | needs_reset);
    assert_eq!(window.get(register::INTERRUPT_STATUS), 2);
    let why = Violation::NotMapped { address: 0, len: 1 };
    assert_eq!(window.violation(), Some((0, why)));
}

/// Devices' defect 13.
#[test]
fn nothing_a_driver_reads_or_writes_ends_the_program() {
    let (mut bench, window) = window(Features::NONE);
    let mut random = Random::new(2);
    let mut bytes = [0; 16];

    for _ in 0..400 {
        window.set(register::STATUS, 0);
        let ring = window.start(&mut bench, 0).areas.descriptor;
        for _ in 0..500 {
            let len = [4, 4, 4, 8, random.below(17) as usize][random.below(5) as usize];
            for byte in &mut bytes {
                *byte = random.byte() & random.byte() & random.byte();
            }
            let bytes = &mut bytes[..len];
            let offset = [random.below(0x40) * 4, random.below(0x110)][random.below(2) as usize];
            match random.below(5) {
                0 => window.read(offset, bytes),
                1 | 2 => window.write(offset, bytes),
                3 => bench.ram.write(ring + random.below(200), bytes),
                _ => drop(bench.steps.run(0)),
            }
        }
    }

    window.set(register::STATUS, 0);
    let mut ring = window.start(&mut bench, 0);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    bench.steps.run(0);
    assert!(ring.queue.poll().unwrap().is_some());
}
