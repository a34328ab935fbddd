//! What PCI functions are beside virtio's: reset alone, and refused where they can be none.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::pci::Unfit;
use ringway_device::{Device, Interface, Result, SharedRegion, Worker};
use ringway_driver::entropy::Rng;
use ringway_driver::pci::{self, Address, ConfigAccess, Pci};
use ringway_driver::{Error as DriverError, bus};
use ringway_machine::{Error, Machine, Options, Place, Platform, Run};
use ringway_ring::shared::Shared;
use ringway_spec::pci::config::{
    CAPABILITIES_POINTER, CAPABILITY_AF, COMMAND, INTERRUPT_LINE, VENDOR_ID,
};
use ringway_spec::pci::{VENDOR, af};
use ringway_spec::{DeviceId, Features};

const INLINE: Run = Run::Inline { seed: 3 };
const LIMIT: Duration = Duration::from_secs(1);

struct Same(u8);

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> Result {
        into.fill(self.0);
        Ok(())
    }
}

fn driven(platform: &Platform) -> Rng<Pci<Platform>> {
    let transport = pci::devices(platform).next().unwrap().unwrap();
    bus::attach(transport).unwrap()
}

fn draw(rng: &mut Rng<Pci<Platform>>, limit: Duration) -> Result<u8, DriverError> {
    rng.request(vec![0; 1].into())?;
    Ok(rng.wait(limit)?.buffer[0])
}

/// Resets the function alone (FLR).
fn reset_alone(platform: &Platform, at: Address) {
    let mut capability = platform.read32(at, CAPABILITIES_POINTER as u16) as u16 & 0xfc;
    loop {
        let [id, next, _, can] = platform.read32(at, capability).to_le_bytes();
        if id == CAPABILITY_AF {
            assert_eq!(can, af::CAN_RESET | af::CAN_TELL_PENDING);
            return platform.write32(at, capability + 4, af::CONTROL_RESET.into());
        }
        assert_ne!(next, 0, "it cannot be reset alone");
        capability = next.into();
    }
}

/// The driver that it had finds it gone, and hands its memory back; once an operating system has
/// restored its configuration space, it is driven again.
#[test]
fn a_function_that_was_reset_alone_is_driven_again_once_it_is_configured() {
    for (run, interface) in [
        (INLINE, Interface::Modern),
        (INLINE, Interface::Transitional),
        (Run::Threaded, Interface::Modern),
    ] {
        let options = Options {
            interface,
            ..Options::default()
        };
        let machine = Machine::builder()
            .run(run)
            .pci("source", Box::new(Entropy::new(Same(7))), options)
            .build()
            .unwrap();
        let platform = machine.platform();
        let Place::Pci(at) = machine.device("source").unwrap().place() else {
            panic!("it is on PCI");
        };
        let header = (COMMAND as u16..=INTERRUPT_LINE as u16).step_by(4).rev();
        let saved: Vec<_> = header
            .map(|word| (word, platform.read32(at, word)))
            .collect();
        let mut before = driven(&platform);
        let first = draw(&mut before, LIMIT);

        reset_alone(&platform, at);
        let configuration = platform.read32(at, COMMAND as u16) as u16;
        let gone = draw(&mut before, Duration::from_millis(20)).is_err();
        drop(before);
        for (word, value) in saved {
            platform.write32(at, word, value);
        }
        let again = draw(&mut driven(&platform), LIMIT);

        assert_eq!((first, again), (Ok(7), Ok(7)));
        assert_eq!((configuration, gone), (0, true), "{run:?}");
        assert_eq!(platform.read32(at, VENDOR_ID as u16) as u16, VENDOR);
    }
}

/// A device with shared memory in two regions, both with the id 4.
struct Sharing([SharedRegion; 2]);

impl Sharing {
    fn new() -> Self {
        let region = |_| SharedRegion {
            id: 4,
            memory: Shared::allocate(4096, 4096).unwrap(),
        };
        Self([0, 1].map(region))
    }
}

impl Device for Sharing {
    fn id(&self) -> DeviceId {
        DeviceId::GPU
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[]
    }

    fn shared_memory(&self) -> &[SharedRegion] {
        &self.0
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn worker(&mut self, _index: u16, _features: Features) -> Box<dyn Worker> {
        unreachable!("it has no queue")
    }

    fn reset(&mut self) {}
}

#[test]
fn a_device_that_can_be_no_function_is_refused_by_its_name() {
    let legacy = Options {
        interface: Interface::Legacy,
        ..Options::default()
    };
    let disk = || Box::new(BlkDevice::new(Arc::new(RamDisk::new(64)), 1));
    let machine = Machine::builder().run(INLINE);
    let mut machine = machine.pci("disk", disk(), legacy.clone()).build().unwrap();

    let built = Machine::builder()
        .run(INLINE)
        .pci("odd", Box::new(Sharing::new()), Options::default())
        .build();
    let plugged = machine.plug_pci(0, "old", Box::new(Sharing::new()), legacy);

    let why = built.err().unwrap();
    assert_eq!(why, Error::Unfit("odd".to_owned(), Unfit::SameRegion(4)));
    let why = plugged.unwrap_err();
    assert_eq!(
        why.to_string(),
        "old can be no PCI function: a gpu device has no PCI device id of before version 1: \
         present the modern interface"
    );
    assert_eq!(machine.devices().len(), 1);
}
