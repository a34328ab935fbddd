//! The registers of a device in an MMIO slot: accesses at any offset and of any width, while a
//! driver works or none does. After them and a reset, the device works.

use ringway_device::Interface;
use ringway_driver::mmio::{self, Mmio};
use ringway_driver::platform::Platform as _;
use ringway_machine::{Machine, Options, Place, Platform};
use ringway_spec::mmio::{CONFIG, legacy_register, register};

use crate::input::Input;
use crate::registers::{Driven, Stranger, Way, disk, machine};

/// The registers that do something, of either version.
const HOT: [u16; 21] = [
    legacy_register::GUEST_PAGE_SIZE as u16,
    legacy_register::QUEUE_ALIGN as u16,
    legacy_register::QUEUE_PFN as u16,
    register::DEVICE_FEATURES_SEL as u16,
    register::DRIVER_FEATURES as u16,
    register::DRIVER_FEATURES_SEL as u16,
    register::QUEUE_SEL as u16,
    register::QUEUE_SIZE as u16,
    register::QUEUE_READY as u16,
    register::QUEUE_READY as u16,
    register::QUEUE_NOTIFY as u16,
    register::INTERRUPT_ACK as u16,
    register::STATUS as u16,
    register::STATUS as u16,
    register::QUEUE_DESC_LOW as u16,
    register::QUEUE_DESC_LOW as u16 + 4,
    register::QUEUE_DRIVER_LOW as u16,
    register::QUEUE_DRIVER_LOW as u16 + 4,
    register::QUEUE_DEVICE_LOW as u16,
    register::QUEUE_DEVICE_LOW as u16 + 4,
    CONFIG as u16,
];

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.u8();
    let options = Options {
        // A window has the registers of one of them.
        interface: match Way::of(seed).driven {
            Driven::Modern => Interface::Modern,
            Driven::Legacy => Interface::Legacy,
        },
        ..Options::default()
    };
    let built = machine(seed).mmio("disk", disk(), options).build();
    let machine = built.expect("it is small");
    let platform = machine.platform();
    let Some(Place::Mmio(slot)) = machine.device("disk").map(|device| device.place()) else {
        unreachable!("it was put into a slot");
    };
    let window = platform
        .registers(slot.address, slot.len)
        .expect("its registers");
    let mut stranger: Stranger<Mmio<Platform>> = Stranger::new(&platform);
    while let Some(step) = input.step() {
        match step % 8 {
            0..=4 => stranger.access(&window, 0x140, &HOT, &mut input),
            5 | 6 => stranger.time_goes_by(&mut input),
            _ => stranger.drive(|| found(&machine)),
        }
    }
    stranger.leave(|| found(&machine).expect("it is there"));
}

fn found(machine: &Machine) -> Option<Mmio<Platform>> {
    let slots = machine.mmio_slots().to_vec();
    mmio::scan(machine.platform(), slots).next()?.ok()
}
