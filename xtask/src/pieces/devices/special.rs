//! Switches that stand for themselves: orders, sizes of rings and blocks, resets of a queue alone.

use super::product::Presented;
use super::row::{Access, Demand, RESIZED, Row};
use Demand::{Disk, DiskInterrupts, Interrupts, Ring, With, Without};

/// What QEMU 10.0 can do in order: beyond that, it loses requests or crashes, as `up` says.
const IN_ORDER: &str = " queue=8 depth=1";
/// Four queues of each disk are used, one of which is slow.
const SEVERAL: &str = " queues=4 slow=1";
/// Blocks that are larger than sectors.
const LARGE_BLOCKS: &str = ",logical_block_size=4096,physical_block_size=4096";

/// A way of its own to present both devices.
struct Way {
    presented: Presented,
    both: &'static str,
    disk: &'static str,
    access: Access,
    asked: &'static str,
    demands: &'static [Demand],
}

const fn pci(both: &'static str, disk: &'static str, demands: &'static [Demand]) -> Way {
    Way {
        presented: Presented::Modern,
        both,
        disk,
        access: Access::ReadWrite,
        asked: "",
        demands,
    }
}

const fn several(disk: &'static str, demands: &'static [Demand]) -> Way {
    Way {
        asked: SEVERAL,
        ..pci("", disk, demands)
    }
}

const fn mmio(both: &'static str, disk: &'static str, demands: &'static [Demand]) -> Way {
    Way {
        presented: Presented::Mmio,
        ..pci(both, disk, demands)
    }
}

/// Through the window alone, which leads to no vectors: the line is all that there is.
const fn window(both: &'static str, demands: &'static [Demand]) -> Way {
    Way {
        presented: Presented::Window,
        ..pci(both, "", demands)
    }
}

const WAYS: &[Way] = &[
    // More queues than messages, of which the driver uses one.
    pci(",vectors=2", ",num-queues=4", &[Interrupts("msix-each")]),
    // Ever fewer messages for four queues that are used.
    several(",num-queues=4,vectors=5", &[DiskInterrupts("msix-each")]),
    several(",num-queues=4,vectors=4", &[DiskInterrupts("msix-slow")]),
    several(",num-queues=4,vectors=3", &[DiskInterrupts("msix-shared")]),
    several(",num-queues=4,vectors=2", &[DiskInterrupts("msix-shared")]),
    several(",num-queues=4,vectors=1", &[DiskInterrupts("msix-one")]),
    several(",num-queues=4,vectors=0", &[DiskInterrupts("line")]),
    pci(
        ",event_idx=off,indirect_desc=off",
        ",queue-size=4",
        &[Ring("split"), Without("EVENT_IDX")],
    ),
    pci(
        ",packed=on,event_idx=off,indirect_desc=off",
        ",queue-size=4",
        &[Ring("packed"), Without("EVENT_IDX")],
    ),
    pci(
        ",in_order=on",
        "",
        &[Ring("split"), With("IN_ORDER"), RESIZED],
    ),
    pci(
        ",in_order=on,packed=on,queue_reset=off",
        "",
        &[Ring("packed"), With("IN_ORDER")],
    ),
    pci(
        ",in_order=on,packed=on,event_idx=off,indirect_desc=off",
        "",
        &[Ring("packed"), With("IN_ORDER"), RESIZED],
    ),
    pci(
        ",queue_reset=on",
        "",
        &[Ring("split"), With("RING_RESET"), RESIZED],
    ),
    pci(
        ",queue_reset=on,packed=on",
        ",queue-size=16",
        &[Ring("packed"), With("RING_RESET"), RESIZED],
    ),
    pci(
        ",queue_reset=on,event_idx=off,indirect_desc=off,vectors=1",
        ",queue-size=32",
        &[Interrupts("msix-one"), RESIZED],
    ),
    pci(
        ",queue_reset=on,packed=on,indirect_desc=off,vectors=0",
        "",
        &[Interrupts("line"), RESIZED],
    ),
    pci(",queue_reset=off", "", &[Without("RING_RESET")]),
    pci(",iommu_platform=on", "", &[With("ACCESS_PLATFORM")]),
    pci("", LARGE_BLOCKS, &[Disk("block_size", 4096)]),
    pci("", ",queue-size=16", &[]),
    pci("", ",queue-size=1024", &[]),
    Way {
        access: Access::ReadOnly,
        ..pci("", "", &[])
    },
    window(",vectors=5", &[Interrupts("line"), Ring("split"), RESIZED]),
    window(",packed=on", &[Interrupts("line"), Ring("packed")]),
    mmio("", "", &[Without("RING_RESET")]),
    mmio(",in_order=on", "", &[Ring("split"), With("IN_ORDER")]),
    mmio(
        ",in_order=on,packed=on",
        "",
        &[Ring("packed"), With("IN_ORDER")],
    ),
    mmio(
        ",indirect_desc=off",
        ",queue-size=4",
        &[Without("INDIRECT_DESC")],
    ),
    mmio("", LARGE_BLOCKS, &[Disk("block_size", 4096)]),
    Way {
        access: Access::ReadOnly,
        ..mmio("", "", &[])
    },
];

/// All of them.
pub(super) fn rows() -> Vec<Row> {
    WAYS.iter().map(Way::row).collect()
}

impl Way {
    fn row(&self) -> Row {
        let Self {
            presented,
            both,
            disk,
            access,
            asked,
            demands,
        } = *self;
        let read_only = match access {
            Access::ReadOnly => ",read-only",
            Access::ReadWrite => "",
        };
        let asked = if both.contains("in_order") {
            IN_ORDER.to_owned()
        } else {
            format!("{}{asked}", presented.asked())
        };
        Row {
            name: format!("{}{both}{disk}{read_only}{asked}", presented.name()),
            machine: presented.machine(),
            asked,
            both: format!("{}{both}", presented.switches()),
            disk: disk.to_owned(),
            access,
            demands: [&presented.demands(), demands].concat(),
        }
    }
}
