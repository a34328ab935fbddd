//! What a device sees of a driver from when it is opened until it is let go, clause by clause.

use super::*;
use crate::bringup::{Acknowledged, Live, Wanted};
use crate::dma::{Queue, QueueOptions};
use crate::error::Error;
use crate::pci::testing::{AT, COMMON, Fake, ISR, MSIX_CAPABILITY, modern, opened, writes};
use crate::testing::{Access, TestPlatform, config_space};
use ringway_spec::pci::config::{BAR0, BARS, COMMAND, SIZE};
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

type Disk = Live<Modern<TestPlatform>>;
type Requests = Queue<TestPlatform, Vec<u8>, (), ()>;

/// Brings up the first queue of a device, with so many descriptors at most.
fn live(
    device: Modern<TestPlatform>,
    size: u16,
    without: Features,
) -> crate::Result<(Disk, Requests)> {
    let wanted = Wanted {
        without,
        ..Wanted::default()
    };
    let mut settled = Acknowledged::new(device)?.driver()?.negotiate(&wanted)?;
    let options = QueueOptions {
        size,
        ..QueueOptions::default()
    };
    let queue = settled.queue(0, &options)?;
    settled.start(queue)
}

/// Does everything with a device that a driver can do, and returns what it wrote.
fn life(fake: Fake) -> Vec<Access> {
    let platform = fake.plug();
    let device = modern(&platform).unwrap();
    let (live, queue) = live(device, 256, Features::NONE).unwrap();
    let mut device = live.reset().unwrap();
    drop(queue);
    device.write_config(8, &[0; 8]).unwrap();
    device.queue_size_max(0).unwrap();
    device.reset_queue(0).unwrap();
    device.queue_is_reset(0).unwrap();
    device.set_status(Status::empty()).unwrap();
    drop(device);
    writes(&platform)
}

/// §4.1.4.3.2
///
/// Clauses: drv:pci/pci-device-layout/common-cfg-structure-layout:1,
/// drv:pci/pci-device-layout/common-cfg-structure-layout:6
#[test]
fn registers_that_only_the_device_writes_are_not_written_nor_a_queue_disabled() {
    let written = life(Fake::new());

    let registers: BTreeSet<_> = written
        .iter()
        .filter_map(|access| access.at().checked_sub(COMMON))
        .map(|at| at as usize)
        .collect();
    for only_read in [
        common::DEVICE_FEATURE,
        common::NUM_QUEUES,
        common::CONFIG_GENERATION,
        common::QUEUE_NOTIFY_OFF,
        common::QUEUE_NOTIF_CONFIG_DATA,
    ] {
        assert!(!registers.contains(&only_read), "{only_read}");
    }
    assert!(registers.contains(&common::QUEUE_RESET));
    let enable = COMMON + common::QUEUE_ENABLE as u64;
    let enabled = written.iter().filter(|access| access.at() == enable);
    let value = 1;
    let once = Access::Write {
        at: enable,
        width: 2,
        value,
    };
    assert_eq!(enabled.collect::<Vec<_>>(), [&once]);
}

/// §4.1.4.1: but for what points the window.
///
/// Clauses: drv:pci/virtio-structure-pci-capabilities:7
#[test]
fn no_capability_of_virtio_is_written_but_the_window() {
    let space = config_space(AT);
    let allowed = |at: usize| {
        let bars = BAR0..BAR0 + 4 * usize::from(BARS);
        at == COMMAND || bars.contains(&at) || at == MSIX_CAPABILITY
    };

    let written = life(Fake::with_window());

    let places = written
        .iter()
        .filter_map(|access| access.at().checked_sub(space))
        .filter(|at| *at < SIZE as u64)
        .map(|at| at as usize);
    let others: Vec<_> = places.filter(|at| !allowed(*at)).collect();
    assert_eq!(others, Vec::<usize>::new());
}

/// §4.1.4.3.2: what is wanted, as far as the device has it, and never what cannot be.
///
/// Clauses: drv:pci/pci-device-layout/common-cfg-structure-layout:2,
/// drv:pci/pci-device-layout/common-cfg-structure-layout:3
#[test]
fn a_queue_has_a_size_that_it_may_have_in_either_format() {
    let written = |without, has: u16, wanted| {
        let mut fake = Fake::new();
        fake.offered = F::VERSION_1 | F::RING_PACKED;
        fake.queues = vec![(has, 0)];
        let (platform, device) = opened(fake, modern);
        let refused = live(device, wanted, without).err();
        let size = COMMON + common::QUEUE_SIZE as u64;
        let sizes = writes(&platform)
            .into_iter()
            .filter_map(|access| match access {
                Access::Write { at, value, .. } if at == size => Some(value),
                _ => None,
            });
        (refused, sizes.collect::<Vec<_>>())
    };

    for (has, wanted) in [(100, 256), (256, 100), (3, 3), (1, 256), (0x8000, 1000)] {
        let (refused, sizes) = written(F::RING_PACKED, has, wanted);
        assert_eq!(refused, None);
        assert!(sizes.iter().all(|size| size.is_power_of_two()), "{sizes:?}");
        let (refused, sizes) = written(Features::NONE, has, wanted);
        assert_eq!((refused, sizes.contains(&0)), (None, false));
    }
    for format in [F::RING_PACKED, Features::NONE] {
        let none = (Some(Error::NoQueue(0)), vec![]);
        assert_eq!(written(format, 0, 256), none);
        assert_eq!(written(format, 256, 0), none);
    }
}

/// §4.1.5.4.2: a line, or a message for all, that stands for both.
///
/// Clauses: drv:pci/op/notif-of-device-cfg-changes:1
#[test]
fn one_interrupt_is_for_the_configuration_and_for_queues_at_once() {
    for messages in [0, 1] {
        let (platform, device) = opened(Fake::new(), modern);
        platform.limit_messages(messages);
        let (live, queue) = live(device, 256, Features::NONE).unwrap();
        let before = (live.config_changed().count(), queue.signal().count());
        platform.poke(ISR, &[3]);

        let ours = match platform.messages().first() {
            Some(message) => platform.deliver(*message),
            None => platform.raise(11),
        };

        let after = (live.config_changed().count(), queue.signal().count());
        assert!(ours);
        assert_eq!(after, (before.0 + 1, before.1 + 1));
    }
}
