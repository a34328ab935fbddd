use super::layout::{DEVICE_OFFSET, ISR_OFFSET, NOTIFY_MULTIPLIER, NOTIFY_OFFSET};
use super::*;
use crate::front::load;
use crate::parts::{Interface, Offer};
use crate::testing::{Bench, Plain, RAM, Random, Ring};
use ringway_spec::pci::{
    Capability, CapabilityType, NO_VECTOR, NotifyCapability, PciCfgCapability, common, config, msix,
};
use ringway_spec::{F, Features};
use std::vec;
use zerocopy::FromBytes;

mod admin;
mod capabilities;
mod group;
mod header;
mod member;
mod notifications;
mod registers;
mod reset;
mod shared_memory;
mod space;
mod sriov;
mod vendor;
mod window;

const BASE0: u64 = 0x12_3450_0000;
const BASE2: u64 = 0xfe80_0000;

fn present(bench: &Bench, parts: Parts, vectors: u16) -> Result<Function, Unfit> {
    Function::new(parts, vectors, bench.wires.clone(), bench.wires.clone())
}

fn function(vectors: u16) -> (Bench, Function) {
    let (bench, parts) = Bench::new(Features::bit(70), Offer::default());
    let function = present(&bench, parts, vectors).unwrap();
    (bench, function)
}

/// A function whose BARs have addresses and answer, and which may reach memory.
fn placed(vectors: u16) -> (Bench, Function) {
    let (bench, function) = function(vectors);
    function.set(config::BAR0, BASE0 as u32);
    function.set(config::BAR0 + 4, (BASE0 >> 32) as u32);
    function.set(config::BAR0 + 8, BASE2 as u32);
    function.set(
        config::COMMAND,
        u32::from((Command::MEMORY | Command::BUS_MASTER).bits()),
    );
    (bench, function)
}

impl Function {
    fn get(&self, offset: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.config_read(offset as u16, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&self, offset: usize, value: u32) {
        self.config_write(offset as u16, &value.to_le_bytes());
    }

    fn structure<T: FromBytes + zerocopy::IntoBytes>(&self, at: usize) -> T {
        let mut value = T::new_zeroed();
        for (offset, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            let mut one = [0];
            self.config_read((at + offset) as u16, &mut one);
            *byte = one[0];
        }
        value
    }

    /// Where the capabilities are, by id and type.
    fn capabilities(&self) -> Vec<(u8, u8, usize)> {
        let mut found = Vec::new();
        let mut at = self.get(config::CAPABILITIES_POINTER) as u8;
        while at != 0 {
            let [id, next, _, cfg_type] = self.get(at.into()).to_le_bytes();
            let cfg_type = if id == config::CAPABILITY_VENDOR {
                cfg_type
            } else {
                0
            };
            found.push((id, cfg_type, usize::from(at)));
            at = next;
        }
        found
    }

    fn capability(&self, cfg_type: CapabilityType) -> usize {
        let all = self.capabilities();
        all.iter().find(|found| found.1 == cfg_type.0).unwrap().2
    }

    /// Reads a register of the common structure.
    fn common(&self, offset: usize, len: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.bar_read(0, offset as u64, &mut bytes[..len]);
        load(&bytes[..len])
    }

    fn set_common(&self, offset: usize, len: usize, value: u32) {
        self.bar_write(0, offset as u64, &value.to_le_bytes()[..len]);
    }

    /// Follows §3.1.1 with queue `index`, on vector `vector`.
    fn start(&self, bench: &mut Bench, index: u16, vector: u16) -> Ring {
        self.start_with(bench, index, vector, Features::NONE)
    }

    fn start_with(&self, bench: &mut Bench, index: u16, vector: u16, features: Features) -> Ring {
        let own = Plain::QUEUE_SIZES.get(usize::from(index));
        let size = own.copied().unwrap_or(crate::admin::QUEUE_SIZE);
        let features = features | F::VERSION_1;
        let ring = bench.ram.ring(size, features);
        self.set_common(common::DEVICE_STATUS, 1, 3);
        self.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
        self.set_common(common::DRIVER_FEATURE, 4, features.word(1));
        self.set_common(common::DEVICE_STATUS, 1, 0xb);
        self.set_common(common::QUEUE_SELECT, 2, index.into());
        self.set_common(common::QUEUE_MSIX_VECTOR, 2, vector.into());
        for (at, address) in [
            (common::QUEUE_DESC, ring.areas.descriptor),
            (common::QUEUE_DRIVER, ring.areas.driver),
            (common::QUEUE_DEVICE, ring.areas.device),
        ] {
            self.set_common(at, 4, address as u32);
            self.set_common(at + 4, 4, (address >> 32) as u32);
        }
        self.set_common(common::QUEUE_ENABLE, 2, 1);
        assert_eq!(self.common(common::QUEUE_ENABLE, 2), 1);
        self.set_common(common::DEVICE_STATUS, 1, 0xf);
        assert_eq!(self.common(common::DEVICE_STATUS, 1), 0xf);
        ring
    }

    fn kick(&self, index: u16) {
        let at = u64::from(NOTIFY_OFFSET + u32::from(index) * NOTIFY_MULTIPLIER);
        self.bar_write(0, at, &index.to_le_bytes());
    }
}

/// Devices' defect 13: whatever is read or written, and wherever, it is answered; and a reset
/// brings the device back.
#[test]
fn nothing_a_driver_reads_or_writes_ends_the_program() {
    let (mut bench, function) = placed(3);
    let mut random = Random::new(1);
    let mut bytes = [0; 16];
    let again = |function: &Function| {
        let command = Command::MEMORY | Command::BUS_MASTER;
        function.set(config::COMMAND, command.bits().into());
        function.set_common(common::DEVICE_STATUS, 1, 0);
        assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
    };

    for _ in 0..400 {
        again(&function);
        let ring = function.start(&mut bench, 0, 0).areas.descriptor;
        for _ in 0..500 {
            let len = [1, 2, 4, 8, random.below(17) as usize][random.below(5) as usize];
            for byte in &mut bytes {
                *byte = random.byte() & random.byte();
            }
            let bytes = &mut bytes[..len];
            let bar = random.below(4) as u8;
            let place = [0, 0x1000, 0x2000, 0x3000][random.below(4) as usize];
            let offset = place + random.below(80);
            match random.below(6) {
                0 => function.config_read(random.below(300) as u16, bytes),
                1 => function.config_write(random.below(300) as u16, bytes),
                2 => function.bar_read(bar, offset, bytes),
                3 => function.bar_write(bar, offset, bytes),
                4 => bench.ram.write(ring + random.below(200), bytes),
                _ => drop(bench.steps.run(0)),
            }
        }
    }

    again(&function);
    let mut ring = function.start(&mut bench, 0, NO_VECTOR);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    bench.steps.run(0);
    assert!(ring.queue.poll().unwrap().is_some());
}
