//! The registers of a device on PCI, modern, legacy or both: configuration space and BARs, accesses
//! at any offset and of any width, while a driver works or none does; and those by which it has virtual
//! functions, and theirs. After them, once its BARs are back where firmware put them and it was reset,
//! the device works.

use ringway_driver::pci::{self, Address, ConfigAccess, Pci, Preference};
use ringway_driver::platform::Platform as _;
use ringway_machine::{Machine, Options, Place, Platform, Window};
use ringway_spec::pci::config::{
    BAR_64, BAR_IO, BAR_IO_MASK, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BAR0, BARS, Command,
};
use ringway_spec::pci::{common, legacy};

use crate::input::Input;
use crate::registers::{Driven, Stranger, Way, disk, machine};

/// Bytes of a BAR that are looked at; where it has fewer, nobody answers.
const BAR_BYTES: u64 = 0x4000;
/// I/O ports of a BAR.
const PORTS: u32 = 0x100;
/// The command register.
const COMMAND: u16 = 4;
/// What has all BARs answer.
const DECODES: Command = Command::MEMORY.union(Command::IO);
/// The common registers that do something.
const HOT: [u16; 16] = [
    common::DEVICE_FEATURE_SELECT as u16,
    common::DRIVER_FEATURE_SELECT as u16,
    common::DRIVER_FEATURE as u16,
    common::CONFIG_MSIX_VECTOR as u16,
    common::DEVICE_STATUS as u16,
    common::DEVICE_STATUS as u16,
    common::QUEUE_SELECT as u16,
    common::QUEUE_SIZE as u16,
    common::QUEUE_MSIX_VECTOR as u16,
    common::QUEUE_ENABLE as u16,
    common::QUEUE_DESC as u16,
    common::QUEUE_DESC as u16 + 4,
    common::QUEUE_DRIVER as u16,
    common::QUEUE_DRIVER as u16 + 4,
    common::QUEUE_DEVICE as u16,
    common::QUEUE_DEVICE as u16 + 4,
];

/// The legacy registers that do something, and the first of configuration space.
const HOT_PORTS: [u16; 10] = [
    legacy::DRIVER_FEATURES as u16,
    legacy::QUEUE_ADDRESS as u16,
    legacy::QUEUE_ADDRESS as u16,
    legacy::QUEUE_SELECT as u16,
    legacy::QUEUE_NOTIFY as u16,
    legacy::DEVICE_STATUS as u16,
    legacy::DEVICE_STATUS as u16,
    legacy::CONFIG_MSIX_VECTOR as u16,
    legacy::QUEUE_MSIX_VECTOR as u16,
    legacy::config(legacy::Msix::Enabled) as u16,
];

/// The registers of a BAR, and those of them that do something.
struct Registers {
    window: Window,
    hot: &'static [u16],
}

/// How many virtual functions the device can have.
const VIRTUALS: u16 = 3;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = input.u8();
    let way = Way::of(seed);
    let preference = match way.driven {
        Driven::Modern => Preference::ModernFirst,
        Driven::Legacy => Preference::LegacyFirst,
    };
    let options = Options {
        interface: way.interface,
        ..Options::default()
    };
    let virtuals = (0..VIRTUALS).map(|_| disk()).collect();
    let built = machine(seed)
        .pci_physical("disk", disk(), virtuals, options)
        .build();
    let machine = built.expect("it is small");
    let platform = machine.platform();
    let Some(Place::Pci(at)) = machine.device("disk").map(|device| device.place()) else {
        unreachable!("it was put on the bus");
    };
    let bars: [u32; BARS as usize] =
        core::array::from_fn(|index| platform.read32(at, BAR0 as u16 + 4 * index as u16));
    let windows = windows(&platform, &bars);
    platform.write32(at, COMMAND, DECODES.bits().into());
    let mut stranger: Stranger<Pci<Platform>> = Stranger::new(&platform);
    while let Some(step) = input.step() {
        match step % 8 {
            0..=3 => {
                let Registers { window, hot } = &windows[usize::from(step >> 3) % windows.len()];
                stranger.access(window, 0x40, hot, &mut input);
            }
            4 => configure(&platform, at, step, &mut input),
            5 | 6 => stranger.time_goes_by(&mut input),
            _ => stranger.drive(|| found(&machine, preference)),
        }
    }
    for (index, bar) in (0_u16..).zip(bars) {
        platform.write32(at, BAR0 as u16 + 4 * index, bar);
    }
    stranger.leave(|| found(&machine, preference).expect("it is there"));
}

fn found(machine: &Machine, preference: Preference) -> Option<Pci<Platform>> {
    pci::devices_by(&machine.platform(), preference)
        .next()?
        .ok()
}

/// The registers of the BARs that have any.
fn windows(platform: &Platform, bars: &[u32]) -> Vec<Registers> {
    let mut windows = Vec::new();
    let mut index = 0;
    while let Some(low) = bars.get(index) {
        if low & BAR_IO != 0 {
            let ports = platform.ports(low & BAR_IO_MASK, PORTS);
            windows.push(Registers {
                window: ports.expect("firmware put it there"),
                hot: &HOT_PORTS,
            });
            index += 1;
            continue;
        }
        let wide = low & BAR_WIDTH_MASK == BAR_64;
        let high = if wide { bars[index + 1] } else { 0 };
        let address = u64::from(high) << 32 | u64::from(low & BAR_MEMORY_MASK);
        if address != 0 {
            let memory = platform.registers(address, BAR_BYTES);
            windows.push(Registers {
                window: memory.expect("firmware put it there"),
                hot: &HOT,
            });
        }
        index += if wide { 2 } else { 1 };
    }
    windows
}

/// Reads or writes 32 bits of configuration space, that of virtual functions too. Of the command
/// register, decoding stays on most often.
fn configure(platform: &Platform, at: Address, step: u8, input: &mut Input<'_>) {
    let byte = input.u8();
    let distance = u16::from(byte & 3) * u16::from(step >> 4 & 1);
    let at = Address::from_routing_id(at.routing_id() + distance);
    // Only a few of the extended registers do something.
    let offset = match step & 0x20 {
        0 => u16::from(byte & 0xfc),
        _ => 0x100 + u16::from(byte & 0x7c),
    };
    if step & 0x80 == 0 {
        platform.read32(at, offset);
        return;
    }
    let value = input.u32();
    let value = if offset == COMMAND && step & 0x40 == 0 {
        value | u32::from(DECODES.bits())
    } else {
        value
    };
    platform.write32(at, offset, value);
}
