use super::*;
use crate::pci::testing::{AT, Fake, PORTS_LEN, REGISTERS_LEN};
use crate::pci::{Preference, open};
use crate::platform::Trust;
use crate::testing::{Access, TestPlatform, config_space};
use crate::transport::Transport;
use ringway_spec::pci::bridge::{
    IO_BASE, MEMORY_BASE, PREFETCHABLE_BASE, SECONDARY_BUS, SUBORDINATE_BUS,
};
use ringway_spec::pci::config::{BAR0, COMMAND, HEADER_TYPE};
use std::vec;

/// The length of BAR 1.
const TABLE_LEN: u64 = 0x1000;

fn apertures() -> Apertures {
    Apertures {
        memory: 0xc000_0000..0xe000_0000,
        high: 0x10_0000_0000..0x20_0000_0000,
        ports: 0x1000..0x1_0000,
    }
}

/// A device whose BARs have no addresses.
fn unplaced() -> Fake {
    let mut fake = Fake::transitional();
    fake.put(0x10, &1_u32.to_le_bytes());
    fake.put(0x14, &[0; 4]);
    fake.put(0x20, &0xc_u64.to_le_bytes());
    fake
}

/// Puts a bridge at `at` that leads nowhere, and passes on what it was told to; memory beyond 4 GiB
/// if `prefetchable` is 1.
fn put_bridge(platform: &TestPlatform, at: Address, prefetchable: u8) {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
    bytes[HEADER_TYPE] = 1;
    bytes[PREFETCHABLE_BASE] = prefetchable;
    bytes[PREFETCHABLE_BASE + 2] = prefetchable;
    let original = bytes.clone();
    platform.place(config_space(at), bytes, move |bytes, _| {
        bytes[..4].copy_from_slice(&original[..4]);
        bytes[8..SECONDARY_BUS - 1].copy_from_slice(&original[8..SECONDARY_BUS - 1]);
        if prefetchable == 0 {
            bytes[PREFETCHABLE_BASE..IO_HIGH].fill(0);
        }
        for at in [PREFETCHABLE_BASE, PREFETCHABLE_BASE + 2] {
            bytes[at] = bytes[at] & 0xf0 | prefetchable;
        }
    });
}

/// Where the registers for the high half of bridges' ports begin, after those of memory.
const IO_HIGH: usize = 0x30;

fn word(platform: &TestPlatform, at: Address, offset: usize) -> u32 {
    u32::from_le_bytes(platform.peek(config_space(at) + offset as u64))
}

/// The addresses of a device's three BARs.
fn addresses(platform: &TestPlatform, at: Address) -> [u64; 3] {
    let bar = |index: usize| word(platform, at, BAR0 + 4 * index);
    let wide = u64::from(bar(5)) << 32 | u64::from(bar(4) & !0xf);
    [(bar(0) & !3).into(), (bar(1) & !0xf).into(), wide]
}

#[test]
fn a_device_without_addresses_is_given_some_and_can_be_opened() {
    let platform = unplaced().plug();

    let placed = place(&platform, &apertures());

    let expected = Placed {
        placed: 3,
        without_room: 0,
    };
    assert_eq!(placed, expected);
    let given = [0x1000, 0xc000_0000, 0x10_0000_0000];
    assert_eq!(addresses(&platform, AT), given);
    assert_eq!(place(&platform, &apertures()), Placed::default());
}

#[test]
fn what_has_an_address_keeps_it_and_is_not_even_measured() {
    let platform = Fake::transitional().plug();

    let placed = place(&platform, &apertures());

    // Those that read 0 are looked at: they may be BARs.
    let bars = [0, 1, 4, 5].map(|index| config_space(AT) + BAR0 as u64 + 4 * index);
    let touches = |access: &Access| access.is_write() && bars.contains(&access.at());
    assert_eq!(placed, Placed::default());
    assert!(!platform.take_log().iter().any(touches));
}

#[test]
fn addresses_are_given_beside_those_that_others_have() {
    let platform = TestPlatform::new(Trust::Trusted);
    let other = Address::new(0, 1, 0);
    let mut fake = Fake::new();
    fake.put(0x10, &0x1001_u32.to_le_bytes());
    fake.put(0x14, &0xc000_0000_u32.to_le_bytes());
    fake.put(0x20, &0x10_0000_400c_u64.to_le_bytes());
    fake.plug_at(&platform, other);
    unplaced().plug_at(&platform, AT);

    place(&platform, &apertures());

    let [ports, memory, high] = addresses(&platform, AT);
    assert_eq!(ports, 0x1000 + u64::from(PORTS_LEN));
    assert_eq!(memory, 0xc000_0000 + TABLE_LEN);
    assert_eq!(high, 0x10_0000_0000);
    assert_eq!(addresses(&platform, other)[2], 0x10_0000_4000);
}

#[test]
fn without_memory_beyond_4_gib_all_of_it_is_below() {
    let platform = unplaced().plug();
    let apertures = Apertures {
        high: 0..0,
        ..apertures()
    };

    place(&platform, &apertures);

    let [_, table, registers] = addresses(&platform, AT);
    assert_eq!(registers, 0xc000_0000);
    assert_eq!(table, 0xc000_0000 + u64::from(REGISTERS_LEN));
}

#[test]
fn what_there_is_no_room_for_is_counted_and_left() {
    let platform = unplaced().plug();
    let apertures = Apertures {
        memory: 0xc000_0800..0xc000_1800,
        high: u64::MAX - 0x4000..u64::MAX,
        ports: 0..0,
    };

    let placed = place(&platform, &apertures);

    let expected = Placed {
        placed: 0,
        without_room: 3,
    };
    assert_eq!(placed, expected);
    assert_eq!(addresses(&platform, AT), [0; 3]);
}

#[test]
fn buses_behind_bridges_are_numbered_and_windows_opened_as_far_as_is_needed() {
    let platform = TestPlatform::new(Trust::Trusted);
    let [outer, inner, beside] = [(0, 3), (1, 0), (0, 4)].map(|(b, d)| Address::new(b, d, 0));
    let device = Address::new(2, 2, 0);
    put_bridge(&platform, outer, 1);
    put_bridge(&platform, inner, 1);
    put_bridge(&platform, beside, 1);
    unplaced().plug_at(&platform, device);

    let placed = place(&platform, &apertures());

    let numbers = [outer, inner, beside].map(|at| {
        let [primary, secondary, subordinate, _] = word(&platform, at, 0x18).to_le_bytes();
        [primary, secondary, subordinate]
    });
    assert_eq!(numbers, [[0, 1, 2], [1, 2, 2], [0, 3, 3]]);
    assert_eq!((placed.placed, placed.without_room), (3, 0));
    for bridge in [outer, inner] {
        assert_eq!(word(&platform, bridge, MEMORY_BASE), 0xc000_c000);
        assert_eq!(word(&platform, bridge, PREFETCHABLE_BASE), 0x0001_0001);
        assert_eq!(word(&platform, bridge, 0x28), 0x10);
        assert_eq!(word(&platform, bridge, 0x2c), 0x10);
        assert_eq!(word(&platform, bridge, IO_BASE), 0x1010);
        assert_eq!(word(&platform, bridge, COMMAND) & 7, 7);
    }
    assert_eq!(word(&platform, beside, COMMAND) & 7, 0);
    let given = [0x1000, 0xc000_0000, 0x10_0000_0000];
    assert_eq!(addresses(&platform, device), given);
}

#[test]
fn behind_a_bridge_that_knows_32_bits_all_memory_is_below_4_gib() {
    let platform = TestPlatform::new(Trust::Trusted);
    put_bridge(&platform, Address::new(0, 3, 0), 0);
    let device = Address::new(1, 2, 0);
    unplaced().plug_at(&platform, device);

    let placed = place(&platform, &apertures());

    let [_, table, registers] = addresses(&platform, device);
    assert_eq!(placed.placed, 3);
    assert_eq!(registers, 0xc000_0000);
    assert_eq!(table, 0xc000_0000 + u64::from(REGISTERS_LEN));
}

#[test]
fn a_window_that_firmware_opened_is_filled_and_not_moved() {
    let platform = TestPlatform::new(Trust::Trusted);
    let bridge = Address::new(0, 3, 0);
    put_bridge(&platform, bridge, 0);
    let numbers = config_space(bridge) + SECONDARY_BUS as u64;
    platform.poke(numbers, &[5, 5]);
    let window = config_space(bridge) + MEMORY_BASE as u64;
    platform.poke(window, &[0x10, 0xd0, 0x10, 0xd0]);
    let device = Address::new(5, 2, 0);
    unplaced().plug_at(&platform, device);

    place(&platform, &apertures());

    let [_, table, registers] = addresses(&platform, device);
    assert_eq!(registers, 0xd010_0000);
    assert_eq!(table, 0xd010_0000 + u64::from(REGISTERS_LEN));
    assert_eq!(word(&platform, bridge, MEMORY_BASE), 0xd010_d010);
    let subordinate = config_space(bridge) + SUBORDINATE_BUS as u64;
    assert_eq!(platform.peek::<1>(subordinate), [5]);
}

/// A hypervisor may say of bridges what it likes.
#[test]
fn bridges_that_lead_back_to_one_bus_or_in_a_circle_are_passed_once() {
    let platform = TestPlatform::new(Trust::Trusted);
    for (bus, device, secondary) in [(0, 3, 7), (0, 4, 7), (0, 5, 0xff), (7, 0, 7), (7, 1, 3)] {
        let at = Address::new(bus, device, 0);
        put_bridge(&platform, at, 0);
        platform.poke(config_space(at) + SECONDARY_BUS as u64, &[secondary; 2]);
    }
    // There is no number left for this one.
    put_bridge(&platform, Address::new(0, 6, 0), 0);
    let device = Address::new(7, 2, 0);
    unplaced().plug_at(&platform, device);

    let placed = place(&platform, &apertures());

    assert_eq!((placed.placed, placed.without_room), (3, 0));
    let unnumbered = word(&platform, Address::new(0, 6, 0), 0x18);
    assert_eq!(unnumbered, 0);
}

#[test]
fn a_chain_of_more_bridges_than_are_followed_ends() {
    let platform = TestPlatform::new(Trust::Trusted);
    for bus in 0..40 {
        put_bridge(&platform, Address::new(bus, 3, 0), 0);
    }
    unplaced().plug_at(&platform, Address::new(16, 2, 0));
    unplaced().plug_at(&platform, Address::new(17, 2, 0));

    let placed = place(&platform, &apertures());

    assert_eq!(placed.placed, 3);
    assert_eq!(addresses(&platform, Address::new(17, 2, 0)), [0; 3]);
}

#[test]
fn bars_that_nothing_has_room_for_close_no_other_way() {
    let platform = TestPlatform::new(Trust::Trusted);
    put_bridge(&platform, Address::new(0, 3, 0), 1);
    let mut huge = unplaced();
    huge.allow(0x20, &(1_u64 << 63).to_le_bytes());
    huge.plug_at(&platform, Address::new(1, 1, 0));
    let mut huge = unplaced();
    huge.allow(0x20, &(1_u64 << 63).to_le_bytes());
    huge.plug_at(&platform, Address::new(1, 2, 0));

    let placed = place(&platform, &apertures());

    assert_eq!(placed.placed, 4);
    assert!(placed.without_room > 0);
}

#[test]
fn a_device_that_was_placed_answers_where_it_was_told_to() {
    let platform = unplaced().plug();
    let apertures = Apertures {
        memory: 0xfebf_0000..0xfec0_0000,
        high: 0x8_0000_4000..0x9_0000_0000,
        ports: 0xc000..0xd000,
    };

    place(&platform, &apertures);

    let function = Function::read(&platform, AT).unwrap();
    for (preference, name) in [
        (Preference::ModernFirst, "pci-modern"),
        (Preference::LegacyFirst, "pci-legacy"),
    ] {
        let device = open(&platform, &function, preference).unwrap();
        assert_eq!(device.name(), name);
    }
}
