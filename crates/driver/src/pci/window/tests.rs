use super::*;
use crate::error::{Error, PlatformError};
use crate::pci::testing::{
    AT, COMMON, CONFIG, Fake, ISR, ISR_CAPABILITY, MSIX_CAPABILITY, NOTIFY, NOTIFY_CAPABILITY,
    NOTIFY_MULTIPLIER, PORTS, REGISTERS, REGISTERS_LEN, TABLE, VECTORS, WINDOW_CAPABILITY, command,
    modern, msix_control,
};
use crate::platform::Platform;
use crate::testing::{Access, TestPlatform, config_space};
use crate::transport::Transport;
use ringway_spec::pci::common;
use ringway_spec::pci::config::Command;
use ringway_spec::{F, Status};
use std::vec;
use std::vec::Vec;

/// The platform of a device whose BAR of registers is not mapped.
fn unmapped(fake: Fake) -> TestPlatform {
    let platform = fake.plug();
    platform.unmap_registers(REGISTERS..REGISTERS + u64::from(REGISTERS_LEN));
    platform
}

/// Registers behind the window: `len` bytes at `offset` of BAR 4.
fn registers(platform: &TestPlatform, offset: u32, len: u32) -> ConfigWindow<TestPlatform> {
    let window = Window::find(&Config::new(platform, AT)).unwrap().unwrap();
    ConfigWindow::new(platform.clone(), window.target(4, offset, len))
}

/// What was written to the window since the log was last taken: where in its capability, and what.
fn told(platform: &TestPlatform) -> Vec<(usize, u32)> {
    let start = config_space(AT) + WINDOW_CAPABILITY as u64;
    let written = |access| match access {
        Access::Write { at, value, .. } => Some((at.checked_sub(start)? as usize, value)),
        Access::Read { .. } => None,
    };
    platform
        .take_log()
        .into_iter()
        .filter_map(written)
        .collect()
}

/// The writes that point the window.
fn pointed(len: u32, offset: u64) -> Vec<(usize, u32)> {
    vec![(BAR, 0xccbb_aa04), (LENGTH, len), (OFFSET, offset as u32)]
}

/// §4.1.4.9: where to, and then the data.
#[test]
fn an_access_points_the_window_and_then_uses_its_data() {
    let platform = Fake::with_window().plug();
    let registers = registers(&platform, 0x1000, 8);
    platform.poke(
        config_space(AT) + (WINDOW_CAPABILITY + DATA) as u64,
        &[1, 2, 3, 4],
    );
    platform.take_log();

    let read = registers.read16(6);
    let reading = told(&platform);
    registers.write8(7, 0x5a).unwrap();
    let writing = told(&platform);

    assert_eq!(read, Ok(0x0201));
    assert_eq!(reading, pointed(2, 0x1006));
    assert_eq!(writing, [pointed(1, 0x1007), vec![(DATA, 0x5a)]].concat());
}

/// §4.1.4.9.2, whatever the window was last pointed at.
///
/// Clauses: drv:pci/pci-device-layout/pci-cfg-access-capability:1
#[test]
fn an_offset_is_a_multiple_of_the_length_whenever_it_is_written() {
    let platform = Fake::with_window().plug();
    let registers = registers(&platform, 0x1000, 16);
    platform.take_log();

    for offset in [0, 4, 8] {
        registers.write32(offset, 0).unwrap();
        registers.read8(offset + 3).unwrap();
        registers.write16(offset + 2, 0).unwrap();
        registers.read32(offset + 4).unwrap();
        registers.write16(offset + 6, 0).unwrap();
        registers.write8(offset + 5, 0).unwrap();
    }
    let misaligned = [registers.read16(1).err(), registers.write32(2, 0).err()];

    let mut length = 0;
    for (place, value) in told(&platform) {
        match place {
            LENGTH => length = value,
            OFFSET => assert!(value.is_multiple_of(length), "{value:#x} of {length}"),
            _ => {}
        }
    }
    let range = |offset, len| Some(TransportError::Range { offset, len });
    assert_eq!(misaligned, [range(1, 2), range(2, 4)]);
}

/// A structure may begin anywhere; what counts is where the access is in its BAR.
#[test]
fn an_access_is_aligned_in_its_bar_and_not_in_its_structure() {
    let platform = Fake::with_window().plug();
    let odd = registers(&platform, 0x1001, 8);
    platform.take_log();

    let aligned = odd.read16(1);
    let seen = told(&platform);
    let misaligned = odd.read16(2);

    assert_eq!(aligned, Ok(0));
    assert_eq!(seen, pointed(2, 0x1002));
    assert_eq!(misaligned, Err(TransportError::Range { offset: 2, len: 2 }));
    assert_eq!(told(&platform), []);
}

/// §4.1.4.9.2
///
/// Clauses: drv:pci/pci-device-layout/pci-cfg-access-capability:2
#[test]
fn the_window_shows_nothing_but_what_other_capabilities_name() {
    let platform = Fake::with_window().plug();
    let whole = registers(&platform, 0x1000, 8);
    let part = whole.slice(2, 4).unwrap();
    let last = registers(&platform, u32::MAX - 3, 16);
    platform.take_log();

    let range = |offset, len| Err(TransportError::Range { offset, len });
    assert_eq!(whole.read32(8), range(8, 4));
    assert_eq!(whole.read32(usize::MAX - 1), range(usize::MAX - 1, 4));
    assert_eq!(
        part.write16(4, 0),
        Err(TransportError::Range { offset: 4, len: 2 })
    );
    assert_eq!(
        part.write8(4, 0),
        Err(TransportError::Range { offset: 4, len: 1 })
    );
    // The offset has 32 bits.
    assert_eq!(last.read8(4), range(4, 1).map(|_: u32| 0));
    assert!(whole.slice(5, 4).is_none() && whole.slice(usize::MAX, 2).is_none());
    assert_eq!(platform.take_log(), []);
}

#[test]
fn a_bar_that_is_not_mapped_is_reached_through_the_window() {
    let platform = unmapped(Fake::with_window());

    let mut device = modern(&platform).unwrap();
    told(&platform);
    device.set_status(Status::ACKNOWLEDGE).unwrap();
    let status = told(&platform);
    device.write_config(8, &[1, 0, 0, 0]).unwrap();
    let config = told(&platform);

    assert_eq!(device.name(), "pci-window");
    let at = common::DEVICE_STATUS as u64;
    assert_eq!(
        status,
        [pointed(1, COMMON - REGISTERS + at), vec![(DATA, 1)]].concat()
    );
    assert_eq!(
        config,
        [pointed(4, CONFIG - REGISTERS + 8), vec![(DATA, 1)]].concat()
    );
}

/// §2.9: what tells a device of chains.
#[test]
fn kicks_and_the_isr_status_go_through_the_window_too() {
    let platform = unmapped(Fake::with_window());
    let mut device = modern(&platform).unwrap();
    // The window shows what it was last written, here the index of the queue.
    let doorbell = device.doorbell(1, F::NOTIFICATION_DATA).unwrap();
    let line = device.line().unwrap();
    told(&platform);

    doorbell.ring(0x8005).unwrap();
    let kick = told(&platform);
    let data = config_space(AT) + (WINDOW_CAPABILITY + DATA) as u64;
    platform.poke(data, &[2]);
    let causes = line.cause.take().unwrap();
    let read = told(&platform);

    let at = NOTIFY - REGISTERS + u64::from(NOTIFY_MULTIPLIER);
    assert_eq!(kick, [pointed(4, at), vec![(DATA, 0x8005_0001)]].concat());
    assert_eq!(causes, ringway_spec::InterruptStatus::CONFIG_CHANGE);
    assert_eq!(read, pointed(1, ISR - REGISTERS));
}

/// A table that is in another BAR than the registers can be mapped where they are not.
#[test]
fn messages_are_used_if_their_table_can_be_mapped_and_the_line_if_not() {
    let with_table = unmapped(Fake::with_window());
    let without = Fake::with_window().plug();
    without.unmap_registers(0..u64::MAX);
    without.poke(config_space(AT) + MSIX_CAPABILITY as u64 + 3, &[0x80]);

    let mut devices = [&with_table, &without].map(|platform| modern(platform).unwrap());
    let windows = [with_table.take_windows(), without.take_windows()];
    for device in &mut devices {
        device.use_messages(true).unwrap();
        device.set_message(0, None).unwrap();
    }

    assert_eq!(
        devices.each_ref().map(Transport::messages_max),
        [VECTORS, 0]
    );
    assert_eq!(windows, [vec![(TABLE, 64)], vec![]]);
    assert_eq!(
        [msix_control(&with_table), msix_control(&without)],
        [0x80, 0]
    );
    assert!(devices[1].line().is_some());
}

/// A BAR without an address would answer at 0 if memory were turned on.
#[test]
fn a_bar_without_an_address_is_reached_through_the_window_and_memory_is_left_off() {
    let mut fake = Fake::with_window();
    fake.put(0x20, &0xc_u64.to_le_bytes());
    let platform = unmapped(fake);

    let device = modern(&platform).unwrap();

    assert_eq!(device.name(), "pci-window");
    assert_eq!(device.messages_max(), 0);
    assert_eq!(
        command(&platform) & (Command::MEMORY | Command::BUS_MASTER),
        Command::BUS_MASTER
    );
    assert_eq!(platform.take_windows(), []);
}

#[test]
fn vectors_whose_bar_has_no_address_are_none() {
    let mut fake = Fake::new();
    fake.put(0x14, &[0; 4]);
    let platform = fake.plug();

    let device = modern(&platform).unwrap();

    assert_eq!((device.name(), device.messages_max()), ("pci-modern", 0));
    assert!(device.line().is_some());
}

#[test]
fn a_structure_that_passes_the_end_of_a_bar_without_an_address_is_refused() {
    let mut fake = Fake::with_window();
    fake.put(0x20, &0xc_u64.to_le_bytes());
    fake.put(ISR_CAPABILITY + 8, &REGISTERS_LEN.to_le_bytes());

    let refused = modern(&unmapped(fake)).err();

    let passes = Violation::Capability("structure passes the end of its BAR");
    assert_eq!(refused, Some(passes.into()));
}

/// §4.1.4: a device may name ports first, and memory for those who have none.
#[test]
fn what_can_be_reached_directly_is_preferred_to_the_window() {
    let elsewhere = 0xd000_u32;
    let through = |second: bool| {
        let mut fake = Fake::with_window();
        fake.put(0x10, &(elsewhere | 1).to_le_bytes());
        let at = WINDOW_CAPABILITY + 20;
        if second {
            let notify = fake.header[NOTIFY_CAPABILITY..][..20].to_vec();
            fake.put(at, &notify);
            fake.put(at + 1, &[0]);
            fake.put(WINDOW_CAPABILITY + 1, &[at as u8]);
        }
        fake.put(NOTIFY_CAPABILITY + 4, &[0]);
        fake.put(NOTIFY_CAPABILITY + 8, &[0; 4]);
        fake.put(NOTIFY_CAPABILITY + 12, &0x40_u32.to_le_bytes());
        let platform = fake.plug();
        platform.unmap_registers(0..0);
        modern(&platform).map(|device| device.name())
    };

    assert_ne!(elsewhere, PORTS);
    assert_eq!(through(true), Ok("pci-modern"));
    assert_eq!(through(false), Ok("pci-window"));
}

#[test]
fn a_window_that_cannot_be_is_none() {
    let spoilt = |at: usize, byte: u8| {
        let mut fake = Fake::with_window();
        fake.put(WINDOW_CAPABILITY + at, &[byte]);
        modern(&unmapped(fake)).map(|device| device.name())
    };
    let not_mapped = Err(Error::Platform(PlatformError::NotMapped(COMMON)));

    assert_eq!(spoilt(2, 19), not_mapped);
    assert_eq!(spoilt(4, 6), not_mapped);
    assert_eq!(spoilt(3, 7), not_mapped);
    assert_eq!(spoilt(2, 24), Ok("pci-window"));
}

#[test]
fn a_platform_that_uses_no_windows_is_told_what_it_cannot_map() {
    let platform = Fake::with_window().plug();
    let window = Window::find(&Config::new(&platform, AT)).unwrap().unwrap();

    let unused = platform.config_window(window.target(4, 0, 4));
    let device = modern(&platform).unwrap();

    assert!(unused.is_none());
    assert_eq!(device.name(), "pci-modern");
}
