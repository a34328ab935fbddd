//! Windows of version 1.

use super::*;
use crate::parts::Interface;
use ringway_spec::mmio::legacy_register::{GUEST_PAGE_SIZE, QUEUE_ALIGN, QUEUE_PFN};

const PAGE: u32 = 4096;

fn window(features: Features) -> (Bench, Window) {
    let (bench, mut parts) = Bench::new(features, Offer::default());
    parts.interface = Interface::Legacy;
    let window = Window::new(parts, bench.wires.clone());
    window.set(GUEST_PAGE_SIZE, PAGE);
    (bench, window)
}

impl Window {
    /// Follows §3.1.2 and §4.2.4 with queue `index`, and a ring of `size`.
    fn start_legacy(&self, bench: &mut Bench, index: u16, size: u16, align: u32) -> Ring {
        let ring = bench.ram.legacy_ring(size, align.max(PAGE) as usize);
        let page = (ring.areas.descriptor / u64::from(PAGE)) as u32;
        self.set(register::STATUS, 3);
        self.set(register::DRIVER_FEATURES_SEL, 1);
        self.set(register::DRIVER_FEATURES, u32::MAX);
        self.set(register::DRIVER_FEATURES_SEL, 0);
        self.set(register::DRIVER_FEATURES, 0);
        self.set(register::QUEUE_SEL, index.into());
        assert_eq!(self.get(QUEUE_PFN), 0);
        assert!(self.get(register::QUEUE_SIZE_MAX) >= size.into());
        self.set(register::QUEUE_SIZE, size.into());
        self.set(QUEUE_ALIGN, align);
        self.set(QUEUE_PFN, page);
        assert_eq!(self.get(QUEUE_PFN), page);
        self.set(register::STATUS, 7);
        ring
    }
}

#[test]
fn a_window_of_version_1_says_so_and_has_one_word_of_features() {
    let (_bench, window) = window(Features::bit(2) | Features::bit(60));
    let features = Features::bit(2) | F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT;
    let word = |select| {
        window.set(register::DEVICE_FEATURES_SEL, select);
        window.get(register::DEVICE_FEATURES)
    };

    let said = [0, 4, 8, 12].map(|at| window.get(at));

    assert_eq!(said, [0x7472_6976, 1, window.id().0, VENDOR]);
    let words = [0, 1, 2, u32::MAX].map(word);
    assert_eq!(words, [features.word(0), 0, 0, 0]);
}

#[test]
fn a_queue_is_served_by_the_number_of_its_page() {
    for (size, align) in [(8, PAGE), (4, PAGE), (2, 1 << 16)] {
        let (mut bench, window) = window(Features::NONE);
        let mut ring = window.start_legacy(&mut bench, 0, size, align);
        let answer = bench.ram.holding(&[0; 4]);
        ring.queue.arm();
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();

        window.set(register::QUEUE_NOTIFY, 0);
        bench.steps.run(0);

        assert!(ring.queue.poll().unwrap().is_some());
        assert_eq!(window.get(register::INTERRUPT_STATUS), 1);
        window.set(register::INTERRUPT_ACK, 1);
        assert!(!bench.wires.asserted());
    }
}

/// What a version 2 window has instead reads as 0 and does nothing.
#[test]
fn the_registers_of_version_2_are_not_there() {
    let (mut bench, window) = window(Features::NONE);
    let ring = window.start_legacy(&mut bench, 0, 8, PAGE);
    let page = window.get(QUEUE_PFN);

    for at in [
        register::QUEUE_READY,
        register::QUEUE_DESC_LOW,
        register::QUEUE_DEVICE_HIGH,
        register::SHM_SEL,
        register::SHM_LEN_LOW,
        register::SHM_BASE_HIGH,
        register::QUEUE_RESET,
        register::CONFIG_GENERATION,
    ] {
        window.set(at, 1);
        assert_eq!(window.get(at), 0, "{at:#x}");
    }
    window.set(register::QUEUE_READY, 0);
    window.set(register::STATUS, 8);

    assert_eq!(window.get(QUEUE_PFN), page);
    assert_eq!(window.get(register::STATUS), 7);
    assert_eq!(bench.steps.started(), [0]);
    drop(ring);
}

/// §4.2.4
#[test]
fn a_reset_takes_every_queue_back_and_keeps_the_size_of_a_page() {
    let (mut bench, window) = window(Features::NONE);
    let _ring = window.start_legacy(&mut bench, 1, 16, PAGE);

    window.set(register::STATUS, 0);

    window.set(register::QUEUE_SEL, 1);
    assert_eq!(window.get(QUEUE_PFN), 0);
    assert!(bench.steps.started().is_empty());
    let _again = window.start_legacy(&mut bench, 1, 16, PAGE);
    assert_eq!(bench.steps.started(), [1]);
}

#[test]
fn configuration_is_written_before_anything_was_said_of_features() {
    let (bench, window) = window(Features::NONE);

    window.write(0x102, &[4]);

    assert_eq!(bench.log.config.lock()[2], 4);
}

#[test]
fn nothing_a_driver_reads_or_writes_ends_the_program_of_version_1_either() {
    let (mut bench, window) = window(Features::NONE);
    let mut random = Random::new(3);
    for _ in 0..400 {
        window.set(register::STATUS, 0);
        window.set(GUEST_PAGE_SIZE, PAGE);
        bench.ram.forget();
        let ring = window.start_legacy(&mut bench, 0, 8, PAGE).areas;
        for _ in 0..300 {
            let mut bytes = [0; 4];
            bytes.fill_with(|| random.byte() & random.byte());
            let offset = random.below(0x44) * 4;
            match random.below(5) {
                0 => window.read(offset, &mut bytes),
                1 | 2 => window.write(offset, &bytes),
                3 => bench.ram.write(ring.descriptor + random.below(200), &bytes),
                _ => drop(bench.steps.run(0)),
            }
        }
    }
}
