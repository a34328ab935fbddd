use super::*;
use crate::platform::Trust;
use crate::testing::{TestPlatform, config_space};
use ringway_spec::pci::config::{
    CAPABILITIES_POINTER, HEADER_TYPE, SIZE, STATUS as PCI_STATUS, VENDOR_ID,
};
use std::vec;
use std::vec::Vec;

const AT: Address = Address::new(0, 3, 0);
const CAPABILITY: usize = 0x48;
const BUS: u8 = 5;

/// Configuration space of a root port with an empty slot, whose power is off.
fn port() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    let mut put = |at: usize, from: &[u8]| bytes[at..at + from.len()].copy_from_slice(from);
    put(VENDOR_ID, &[0x36, 0x1b, 0x0c, 0x00]);
    put(PCI_STATUS, &[1 << 4, 0]);
    put(HEADER_TYPE, &[HEADER_TYPE_BRIDGE]);
    put(SECONDARY_BUS, &[BUS]);
    // Another capability first.
    put(CAPABILITIES_POINTER, &[0x40]);
    put(0x40, &[0x09, CAPABILITY as u8]);
    put(CAPABILITY, &[CAPABILITY_EXPRESS, 0]);
    put(
        CAPABILITY + FLAGS,
        &(Flags::SLOT.bits() | 0x42).to_le_bytes(),
    );
    let abilities = Abilities::ATTENTION_BUTTON
        | Abilities::POWER_CONTROLLER
        | Abilities::POWER_INDICATOR
        | Abilities::HOT_PLUG;
    put(
        CAPABILITY + ABILITIES,
        &(abilities.bits() | 7 << NUMBER_SHIFT).to_le_bytes(),
    );
    let control = Control::POWER_OFF | Control::INDICATOR_OFF;
    put(CAPABILITY + CONTROL, &control.bits().to_le_bytes());
    bytes
}

/// A platform with the port: what has happened is cleared by ones, and commands are completed at once.
fn plugged(bytes: Vec<u8>) -> TestPlatform {
    let platform = TestPlatform::new(Trust::Trusted);
    let mut before = bytes.clone();
    platform.place(config_space(AT), bytes, move |bytes, access| {
        let (control, status) = (CAPABILITY + CONTROL, CAPABILITY + STATUS);
        if !access.is_write() || access.at() != control as u64 {
            return;
        }
        bytes[status] = before[status] & !(bytes[status] & 0x1f);
        if bytes[control..status] != before[control..status] {
            bytes[status] |= Status::COMMAND_COMPLETED.bits() as u8;
        }
        before.copy_from_slice(bytes);
    });
    platform
}

fn slot(platform: &TestPlatform) -> Slot {
    let slots: Vec<_> = slots(platform).collect();
    let [slot] = slots[..] else {
        panic!("{slots:?}");
    };
    slot
}

fn control(platform: &TestPlatform) -> Control {
    let place = config_space(AT) + (CAPABILITY + CONTROL) as u64;
    Control::from_bits_retain(u16::from_le_bytes(platform.peek(place)))
}

#[test]
fn a_slot_is_found_behind_its_bridge() {
    let platform = plugged(port());

    let slot = slot(&platform);

    assert_eq!((slot.bridge(), slot.bus(), slot.number()), (AT, BUS, 7));
    assert_eq!(slot.power(&platform), Power::Off);
    assert!(!slot.is_occupied(&platform));
    assert_eq!(slot.functions(&platform).count(), 0);
}

#[test]
fn a_bridge_without_such_a_slot_or_without_a_bus_has_none() {
    for change in [
        (|bytes| bytes[HEADER_TYPE] = 0) as fn(&mut Vec<u8>),
        |bytes| bytes[SECONDARY_BUS] = 0,
        |bytes| bytes[CAPABILITY + FLAGS + 1] = 0,
        |bytes| bytes[CAPABILITY + ABILITIES] = 0x3f,
        |bytes| bytes[CAPABILITY] = 0x05,
        |bytes| bytes[CAPABILITIES_POINTER] = 0,
        // Of the slot, there is nothing that can be reached.
        |bytes| {
            bytes[0x41] = 0xf0;
            bytes[0xf0] = CAPABILITY_EXPRESS;
            bytes[0xf3] = 0xff;
        },
    ] {
        let mut bytes = port();
        change(&mut bytes);

        assert_eq!(slots(&plugged(bytes)).count(), 0);
    }
}

#[test]
fn what_has_happened_is_told_once_and_the_control_is_left_alone() {
    for (status, expected) in [
        (Status::empty(), Events::empty()),
        (Status::PRESENT | Status::PRESENCE_CHANGED, Events::CHANGED),
        (Status::PRESENT | Status::ATTENTION, Events::ATTENTION),
        (Status::ATTENTION | Status::PRESENCE_CHANGED, Events::all()),
    ] {
        let mut bytes = port();
        bytes[CAPABILITY + STATUS] = status.bits() as u8;
        let platform = plugged(bytes);
        let slot = slot(&platform);
        let before = control(&platform);

        let happened = [(); 2].map(|()| slot.take_events(&platform));

        assert_eq!(happened, [expected, Events::empty()], "{status:?}");
        assert_eq!(control(&platform), before);
        assert_eq!(
            slot.is_occupied(&platform),
            status.contains(Status::PRESENT)
        );
    }
}

#[test]
fn power_and_its_indicator_are_switched_together_and_nothing_that_happened_is_lost() {
    let mut bytes = port();
    bytes[CAPABILITY + CONTROL] = 0x55;
    bytes[CAPABILITY + STATUS] = (Status::PRESENT | Status::ATTENTION).bits() as u8;
    let platform = plugged(bytes);
    let slot = slot(&platform);

    let early = slot.is_settled(&platform);
    slot.set_power(&platform, Power::On);
    let on = (
        control(&platform),
        slot.power(&platform),
        slot.is_settled(&platform),
    );
    slot.set_power(&platform, Power::Off);

    let kept = Control::from_bits_retain(0x55);
    assert!(!early);
    assert_eq!(on, (kept | Control::INDICATOR_ON, Power::On, true));
    let off = Control::POWER_OFF | Control::INDICATOR_OFF;
    assert_eq!(control(&platform), kept | off);
    assert_eq!(slot.take_events(&platform), Events::ATTENTION);
}

#[test]
fn a_bridge_that_has_gone_has_nothing_and_tells_nothing() {
    let platform = plugged(port());
    let slot = slot(&platform);
    let nobody = TestPlatform::new(Trust::Trusted);

    assert!(!slot.is_occupied(&nobody));
    assert_eq!(slot.take_events(&nobody), Events::empty());
}
