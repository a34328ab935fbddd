//! Functions that lie about their virtual ones, or have none. Those that have some are driven in the
//! tests of the machine.

use super::*;
use crate::error::{Error, Violation, VirtualFunctionsError};
use crate::pci::testing::{AT, FREE, Fake, MSIX_CAPABILITY};
use crate::pci::{Apertures, Preference, open, place};
use crate::testing::{Access, TestPlatform, config_space};
use crate::transport::Transport;
use ringway_spec::pci::config::CAPABILITIES_POINTER;
use ringway_spec::pci::extended::{CAPABILITY_EXPRESS, START, header};
use ringway_spec::pci::sriov::{self, Control};
use ringway_spec::{F, Features, Status};
use std::vec::Vec;

/// Where the first BAR of virtual functions is, BAR 4, and how large each one's is.
const BASE: u64 = 0x9_0000_0000;
const SIZE: u64 = 0x4000;
const TOTAL: u16 = 4;

/// A function whose list of capabilities has that of PCI Express, and behind it `list`: offset, id
/// and next offset of each.
fn with_list(list: &[(usize, u16, u16)]) -> Fake {
    let mut fake = Fake::new();
    fake.header.resize(4096, 0);
    fake.writable.resize(4096, 0);
    fake.put(FREE, &[CAPABILITY_EXPRESS, MSIX_CAPABILITY as u8]);
    fake.put(CAPABILITIES_POINTER, &[FREE as u8]);
    for &(at, id, next) in list {
        fake.put(at, &header(id, 1, next).to_le_bytes());
    }
    fake
}

/// A function that can have [`TOTAL`] virtual ones, by a capability at `at`.
fn physical_at(at: usize, list: &[(usize, u16, u16)]) -> Fake {
    let mut fake = with_list(list);
    for (register, value) in [
        (sriov::INITIAL_VFS, TOTAL),
        (sriov::TOTAL_VFS, TOTAL),
        (sriov::FIRST_VF_OFFSET, 1),
        (sriov::VF_STRIDE, 1),
        (sriov::VF_DEVICE_ID, 0x1044),
    ] {
        fake.put(at + register, &value.to_le_bytes());
    }
    let bar = at + sriov::VF_BAR0 + 16;
    fake.put(bar, &(BASE | 4).to_le_bytes());
    fake.allow(bar, &(!(SIZE - 1)).to_le_bytes());
    fake.allow(at + sriov::CONTROL, &on().bits().to_le_bytes());
    fake.allow(at + sriov::NUM_VFS, &[0xff; 2]);
    fake
}

/// A function that can have [`TOTAL`] virtual ones, after `spoil` has changed it.
fn physical(spoil: impl FnOnce(&mut Fake)) -> Fake {
    let mut fake = physical_at(START, &[(START, sriov::CAPABILITY, 0)]);
    spoil(&mut fake);
    fake
}

fn put16(fake: &mut Fake, register: usize, value: u16) {
    fake.put(START + register, &value.to_le_bytes());
}

fn on() -> Control {
    Control::VF_ENABLE | Control::VF_MEMORY
}

fn opened(platform: &TestPlatform) -> Pci<TestPlatform> {
    let function = Function::read(platform, AT).unwrap();
    open(platform, &function, Preference::ModernFirst).unwrap()
}

/// Has the device's driver agree to virtual functions.
fn agree(device: &mut Pci<TestPlatform>) {
    device.set_driver_features(F::SR_IOV).unwrap();
    device.set_status(Status::FEATURES_OK).unwrap();
    device.status().unwrap();
}

/// What becomes of `count` virtual functions of a function that was spoilt.
fn enabled(count: u16, spoil: impl FnOnce(&mut Fake)) -> Error {
    enabled_on(count, &physical(spoil).plug())
}

fn enabled_on(count: u16, platform: &TestPlatform) -> Error {
    let mut device = opened(platform);
    let mut virtuals = device.virtual_functions().unwrap().unwrap();
    agree(&mut device);
    let error = virtuals.enable(count).unwrap_err();
    let [control, _, number, _] = [0_u64, 2, 8, 10].map(|at| {
        let bytes: [u8; 2] = platform.peek(config_space(AT) + START as u64 + 8 + at);
        u16::from_le_bytes(bytes)
    });
    assert_eq!((control & !2, number), (0, 0), "as before: {error}");
    error
}

fn wrong(what: &'static str) -> Error {
    Violation::Capability(what).into()
}

/// Clauses: drv:reserved-feature-bits:9
#[test]
fn a_function_without_the_capability_has_no_virtual_ones_to_agree_on() {
    // No extended configuration space; one that is said to be there by nobody; one without
    // capabilities; and one with another.
    let mut silent = physical(|_| {});
    silent.put(CAPABILITIES_POINTER, &[MSIX_CAPABILITY as u8]);
    let short = Fake::new();
    let express = {
        let mut fake = with_list(&[]);
        fake.header.truncate(256);
        fake
    };
    let other = with_list(&[(START, 0x0003, 0)]);

    for fake in [short, express, silent, with_list(&[]), other] {
        let mut device = opened(&fake.plug());

        assert!(!device.transport_features().contains(F::SR_IOV));
        assert!(device.virtual_functions().unwrap().is_none());
    }
    let mut device = opened(&physical(|_| {}).plug());
    assert!(device.transport_features().contains(F::SR_IOV));
    assert_eq!(device.virtual_functions().unwrap().unwrap().most(), TOTAL);
}

#[test]
fn the_capability_is_found_behind_others_as_far_as_there_is_room_for_it() {
    let last = 4096 - sriov::BYTES;
    for at in [0x148, last] {
        let list = [(START, 0x0001, at as u16), (at, sriov::CAPABILITY, 0)];
        let mut device = opened(&physical_at(at, &list).plug());

        assert!(device.virtual_functions().unwrap().is_some(), "{at:#x}");
    }
}

/// The device itself is driven all the same.
#[test]
fn a_list_that_cannot_be_is_no_reason_to_refuse_the_device_but_gives_no_virtual_functions() {
    let past = 4096 - sriov::BYTES as u16 + 4;
    let longest: Vec<_> = (START..4096)
        .step_by(4)
        .map(|at| (at, 1, if at == 4092 { START } else { at + 4 } as u16))
        .collect();
    let few = |initial: u16| {
        physical(|fake| {
            put16(fake, sriov::INITIAL_VFS, initial);
        })
    };
    for (fake, what) in [
        (
            with_list(&[(START, 1, START as u16)]),
            "extended list has a loop",
        ),
        (
            with_list(&[(START, 1, 0x200), (0x200, 2, 0x104), (0x104, 3, 0x200)]),
            "extended list has a loop",
        ),
        (with_list(&longest), "extended list has a loop"),
        (
            with_list(&[(START, 1, 0xfc)]),
            "extended list leads out of it",
        ),
        (
            with_list(&[(START, 1, past), (past.into(), sriov::CAPABILITY, 0)]),
            "SR-IOV passes the end",
        ),
        (
            few(TOTAL + 1),
            "SR-IOV has other virtual functions at first than in all",
        ),
        (
            few(TOTAL - 1),
            "SR-IOV has other virtual functions at first than in all",
        ),
    ] {
        let mut device = opened(&fake.plug());

        let found = device.virtual_functions();

        assert_eq!(found.err(), Some(wrong(what)));
        assert!(!device.transport_features().contains(F::SR_IOV));
        assert_eq!(device.status(), Ok(Status::empty()));
    }
}

#[test]
fn virtual_functions_that_cannot_be_where_they_are_said_to_be_are_not_enabled() {
    let at = |offset, stride| {
        move |fake: &mut Fake| {
            put16(fake, sriov::FIRST_VF_OFFSET, offset);
            put16(fake, sriov::VF_STRIDE, stride);
        }
    };
    let bus = |bus| Error::from(VirtualFunctionsError::OtherBus(bus));

    assert_eq!(
        enabled(2, at(1, 0)),
        wrong("all virtual functions are in one place")
    );
    assert_eq!(
        enabled(1, at(0, 1)),
        wrong("a virtual function has no place")
    );
    assert_eq!(
        enabled(1, at(u16::MAX, 1)),
        wrong("a virtual function has no place")
    );
    assert_eq!(enabled(4, at(1, 0x7fff)), bus(0x80));
    assert_eq!(enabled(1, at(0x100, 1)), bus(1));
    assert_eq!(enabled(2, at(1, 0xff)), bus(1));
}

#[test]
fn virtual_functions_that_would_be_somebody_else_are_not_enabled() {
    let platform = physical(|_| {}).plug();
    let third = Address::from_routing_id(AT.routing_id() + 3);
    Fake::new().plug_at(&platform, third);

    let error = enabled_on(TOTAL, &platform);

    assert_eq!(error, wrong("a virtual function is where another one is"));
    let other: [u8; 2] = platform.peek(config_space(third) + 4);
    assert_eq!(other, [0x00, 0x01], "it is not written to");
}

#[test]
fn virtual_functions_need_addresses_for_all_of_them() {
    let bar = |address: u64| {
        move |fake: &mut Fake| {
            let at = START + sriov::VF_BAR0 + 16;
            fake.put(at, &(address | 4).to_le_bytes());
        }
    };
    let unplaced = VirtualFunctionsError::NoAddress(4);

    assert_eq!(enabled(1, bar(0)), unplaced.into());
    let past = wrong("a BAR of virtual functions passes the last address");
    // Of the third of them, some bytes would be past the last address.
    assert_eq!(enabled(3, bar(0u64.wrapping_sub(2 * SIZE))), past);
}

#[test]
fn a_function_whose_registers_do_not_do_what_they_say_is_left_alone() {
    let fixed = |register| move |fake: &mut Fake| fake.allow(START + register, &[0; 2]);
    let number = enabled(1, fixed(sriov::NUM_VFS));
    let control = enabled(1, fixed(sriov::CONTROL));
    let nobody = enabled(2, |_| {});

    assert_eq!(
        number,
        wrong("the number of virtual functions is not taken")
    );
    assert_eq!(control, wrong("virtual functions are not enabled"));
    assert_eq!(nobody, wrong("a virtual function is not there"));
}

#[test]
fn nothing_is_written_before_the_device_has_agreed() {
    let platform = physical(|_| {}).plug();
    let mut device = opened(&platform);
    let mut virtuals = device.virtual_functions().unwrap().unwrap();
    // Another feature, and another status, are no agreement.
    device.set_driver_features(F::VERSION_1).unwrap();
    device.set_status(Status::FEATURES_OK).unwrap();
    device.status().unwrap();
    device.set_driver_features(F::SR_IOV).unwrap();
    device.set_status(Status::DRIVER).unwrap();
    device.status().unwrap();
    platform.take_log();

    let before = virtuals.enable(1).err();

    assert_eq!(before, Some(VirtualFunctionsError::NotAgreed.into()));
    assert!(!platform.take_log().iter().any(Access::is_write));
    agree(&mut device);
    assert_ne!(virtuals.enable(1).err(), before);
}

#[test]
fn virtual_functions_that_stay_are_told_and_those_of_nobody_are_none() {
    let platform = physical(|_| {}).plug();
    let mut device = opened(&platform);
    let mut virtuals = device.virtual_functions().unwrap().unwrap();
    let gone = {
        let platform = physical(|_| {}).plug();
        let mut device = opened(&platform);
        let virtuals = device.virtual_functions().unwrap().unwrap();
        platform.place(config_space(AT), std::vec![0xff; 4096], |_, _| {});
        virtuals
    };
    platform.place(config_space(AT), std::vec![0x09; 4096], |bytes, _| {
        bytes.fill(0x09);
    });

    let stays = virtuals.disable().err();

    assert_eq!(stays, Some(wrong("virtual functions stay enabled")));
    assert_eq!((virtuals.count(), gone.count()), (0x0909, 0));
}

/// Clauses: drv:basic/device-groups/admin-cmds:10
#[test]
fn virtual_functions_that_might_go_elsewhere_are_no_members() {
    let member = |capabilities| {
        let fake = physical(|fake| {
            fake.put(START + sriov::CAPABILITIES, &[capabilities]);
            put16(fake, sriov::NUM_VFS, 2);
            put16(fake, sriov::CONTROL, on().bits());
        });
        let mut device = opened(&fake.plug());
        let virtuals = device.virtual_functions().unwrap().unwrap();
        virtuals.member(1).err()
    };

    assert_eq!(member(0), None);
    assert_eq!(member(1), Some(VirtualFunctionsError::Migratable.into()));
}

#[test]
fn addresses_are_given_to_virtual_functions_after_all_others() {
    let fake = || {
        physical(|fake| {
            fake.put(0x10, &1_u32.to_le_bytes());
            fake.put(0x14, &[0; 4]);
            fake.put(0x20, &0xc_u64.to_le_bytes());
            fake.put(START + sriov::VF_BAR0 + 16, &4_u64.to_le_bytes());
        })
    };
    let apertures = |bytes: u64| Apertures {
        memory: 0xc000_0000..0xc000_0000 + bytes,
        ports: 0x1000..0x2000,
        ..Apertures::default()
    };
    let placed = |bytes| {
        let platform = fake().plug();
        let placed = place(&platform, &apertures(bytes));
        let bar = config_space(AT) + (START + sriov::VF_BAR0) as u64 + 16;
        let bar = u64::from_le_bytes(platform.peek(bar));
        (placed.placed, placed.without_room, bar)
    };

    // 0x4000 bytes and 0x1000 are the function's own; then four times 0x4000.
    assert_eq!(placed(0x1_8000), (4, 0, 0xc000_8004));
    assert_eq!(placed(0x1_7fff), (3, 1, 4));
    let again = fake().plug();
    place(&again, &apertures(0x1_8000));
    assert_eq!(place(&again, &apertures(0x1_8000)).placed, 0);
}

#[test]
fn a_bar_of_virtual_functions_is_measured_while_they_do_not_answer() {
    let platform = physical(|_| {}).plug();
    let config = Config::new(&platform, AT);
    let capability = Capability::find(&config).unwrap().unwrap();
    let at = config_space(AT) + START as u64;
    platform.poke(at + 8, &on().bits().to_le_bytes());
    platform.take_log();

    let found = Bars::of(&config, capability.bars()).find(4);

    let bar = at + sriov::VF_BAR0 as u64 + 16;
    let write = |at, value| Access::Write {
        at,
        width: 4,
        value,
    };
    let writes: Vec<_> = platform.take_log();
    let writes: Vec<_> = writes.into_iter().filter(Access::is_write).collect();
    assert_eq!(found.map(|bar| (bar.address, bar.size)), Some((BASE, SIZE)));
    assert_eq!(
        writes,
        [
            write(at + 8, Control::VF_ENABLE.bits().into()),
            write(bar, u32::MAX),
            write(bar, BASE as u32 | 4),
            write(bar + 4, u32::MAX),
            write(bar + 4, (BASE >> 32) as u32),
            write(at + 8, on().bits().into()),
        ]
    );
}

/// Whoever wants them.
///
/// Clauses: drv:reserved-feature-bits:9
#[test]
fn a_driver_that_wants_virtual_functions_does_not_agree_to_them_without_the_capability() {
    use crate::bringup::{Acknowledged, Wanted};
    use crate::platform::Trust;
    use crate::scripted::Scripted;
    use ringway_spec::DeviceId;
    let negotiate = |required, optional| {
        let device = Scripted::new(Trust::Trusted, DeviceId::BLOCK, F::SR_IOV, std::vec![0; 64]);
        let probed = Acknowledged::new(device).unwrap().driver().unwrap();
        let wanted = Wanted {
            required,
            optional,
            ..Wanted::default()
        };
        let negotiated = probed.negotiate(&wanted);
        negotiated.map(|negotiated| negotiated.features().contains(F::SR_IOV))
    };

    assert_eq!(negotiate(Features::NONE, F::SR_IOV).ok(), Some(false));
    let missing = Error::FeaturesMissing(F::SR_IOV);
    assert_eq!(negotiate(F::SR_IOV, Features::NONE).err(), Some(missing));
}
