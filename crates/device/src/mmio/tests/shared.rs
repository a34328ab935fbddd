//! Shared memory of a window.

use super::*;
use crate::model::SharedRegion;
use ringway_ring::shared::Shared;
use std::vec::Vec;

const BASE: u64 = 0x12_3000_0000;

fn placed(sizes: &[(u8, usize)]) -> (Vec<Shared>, Window) {
    let (mut device, log) = Plain::new(Features::NONE);
    let regions = sizes.iter().map(|&(id, len)| SharedRegion {
        id,
        memory: Shared::allocate(len, 4096).unwrap(),
    });
    device.regions = regions.collect();
    let memory = device.regions.iter().map(|region| region.memory.clone());
    let memory = memory.collect();
    let (bench, parts) = Bench::around(device, log, Offer::default());
    let window = Window::new(parts, bench.wires.clone()).with_shared_memory_at(BASE);
    (memory, window)
}

/// §2.10
#[test]
fn registers_tell_of_the_selected_region_and_of_no_other() {
    let (_memory, window) = placed(&[(1, 0x1800), (9, 0x1000)]);
    let told = |id| {
        window.set(register::SHM_SEL, id);
        [0x0b0, 0x0b4, 0x0b8, 0x0bc].map(|at| window.get(at))
    };

    assert_eq!(told(1), [0x1800, 0, 0x3000_0000, 0x12]);
    assert_eq!(told(9), [0x1000, 0, 0x3000_2000, 0x12]);
    for none in [0, 2, 0x101, u32::MAX] {
        assert_eq!(told(none), [u32::MAX; 4], "{none}");
    }
    assert_eq!(window.shared_bytes(), 0x3000);
}

#[test]
fn bytes_are_in_the_region_that_has_them_all_or_nowhere() {
    let (memory, window) = placed(&[(1, 0x1800), (9, 0x1000)]);
    let mut bytes = [0xff; 4];

    window.shared_write(0x2ffc, &[1, 2, 3, 4]);
    window.shared_write(0x17fe, &[9; 4]);
    window.shared_write(0x1900, &[9; 4]);
    window.shared_write(u64::MAX, &[9; 4]);

    window.shared_read(0x2ffc, &mut bytes);
    assert_eq!(bytes, [1, 2, 3, 4]);
    for nowhere in [0x17fe, 0x1900, 0x3000, u64::MAX] {
        window.shared_read(nowhere, &mut bytes);
        assert_eq!(bytes, [0; 4], "{nowhere:#x}");
    }
    memory[1].view().read(0xffc, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
}

/// Kicks name queues by what only PCI has a register for.
#[test]
fn a_window_offers_no_names_for_queues_in_kicks() {
    let offer = Offer::default().with(F::NOTIF_CONFIG_DATA | F::SUSPEND);
    let (bench, parts) = Bench::new(Features::NONE, offer);
    let window = Window::new(parts, bench.wires.clone());

    window.set(register::DEVICE_FEATURES_SEL, 1);

    let expected = offer.features() - F::NOTIF_CONFIG_DATA;
    assert_eq!(window.get(register::DEVICE_FEATURES), expected.word(1));
}
