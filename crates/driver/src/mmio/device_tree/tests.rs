use super::*;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeNodeBuilder, DeviceTreeProperty};
use std::vec;
use std::vec::Vec;

/// A node of this name with these properties, each a list of cells.
fn node(name: &str, properties: &[(&str, &[u32])]) -> DeviceTreeNodeBuilder {
    let node = DeviceTreeNode::builder(name).unwrap();
    properties.iter().fold(node, |node, (name, cells)| {
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_be_bytes()).collect();
        node.property(DeviceTreeProperty::new(*name, bytes).unwrap())
    })
}

fn text(name: &str, value: &str) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value).unwrap()
}

fn virtio(name: &str, reg: &[u32], interrupt: u32) -> DeviceTreeNodeBuilder {
    node(name, &[("reg", reg), ("interrupts", &[0, interrupt, 1])])
        .property(text("compatible", "virtio,mmio"))
}

/// The slots of a tree whose root has 64-bit addresses and sizes.
fn found(children: Vec<DeviceTreeNode>) -> Vec<Result<Slot, Malformed>> {
    let mut tree = DeviceTree::new();
    tree.root = children
        .into_iter()
        .fold(
            node("", &[("#address-cells", &[2]), ("#size-cells", &[2])]),
            DeviceTreeNodeBuilder::child,
        )
        .build();
    slots_of(&tree.to_dtb())
}

fn slots_of(blob: &[u8]) -> Vec<Result<Slot, Malformed>> {
    let mut found = Vec::new();
    // As an interrupt controller of Arm numbers them: shared ones begin at 32.
    let line = |cells: &[u32]| match cells {
        [0, number, _] => number.checked_add(32),
        _ => None,
    };
    slots(blob, line, |slot| found.push(slot));
    found
}

fn slot(address: u64, len: u64, line: u32) -> Result<Slot, Malformed> {
    let line = Some(line);
    Ok(Slot { address, len, line })
}

#[test]
fn slots_are_where_the_tree_says_in_its_order() {
    let found = found(vec![
        virtio("virtio_mmio@a000200", &[0, 0x0a00_0200, 0, 0x200], 17).build(),
        node("rtc", &[])
            .property(text("compatible", "arm,pl031"))
            .build(),
        virtio("virtio_mmio@a000000", &[1, 0x0a00_0000, 0, 0x200], 16).build(),
    ]);

    let expected = [slot(0x0a00_0200, 0x200, 49), slot(0x1_0a00_0000, 0x200, 48)];
    assert_eq!(found, expected);
}

#[test]
fn addresses_are_translated_by_every_bus_above() {
    let inner = node(
        "inner",
        &[
            ("#address-cells", &[1]),
            ("#size-cells", &[1]),
            ("ranges", &[0x100, 0x1000, 0x1000]),
        ],
    )
    .child(virtio("virtio_mmio@300", &[0x300, 0x200], 1).build())
    .child(virtio("virtio_mmio@1000", &[0x1000, 0x200], 2).build());
    let outer = node(
        "outer",
        &[
            ("#address-cells", &[1]),
            ("#size-cells", &[1]),
            ("ranges", &[0x1000, 0x2, 0x0, 0x1000]),
        ],
    )
    .child(inner.build());
    let same = node(
        "same",
        &[
            ("#address-cells", &[2]),
            ("#size-cells", &[2]),
            ("ranges", &[]),
        ],
    )
    .child(virtio("virtio_mmio@5", &[0, 0x5000, 0, 0x200], 3).build());
    let nowhere = node(
        "nowhere",
        &[("#address-cells", &[1]), ("#size-cells", &[1])],
    )
    .child(virtio("virtio_mmio@0", &[0x0, 0x200], 4).build());

    let found = found(vec![outer.build(), same.build(), nowhere.build()]);

    let expected = [
        slot(0x2_0000_0200, 0x200, 33),
        // It ends behind what the inner bus reaches.
        Err(Malformed::Registers),
        slot(0x5000, 0x200, 35),
        Err(Malformed::Registers),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_disabled_is_passed_over_with_all_that_is_below_it() {
    let slot = || virtio("virtio_mmio@0", &[0, 0, 0, 0x200], 1);
    let bus = node("bus", &[("ranges", &[])])
        .property(text("status", "disabled"))
        .child(slot().build());

    let found = found(vec![
        bus.build(),
        slot().property(text("status", "disabled")).build(),
        slot().property(text("status", "what?")).build(),
        slot().property(text("status", "okay")).build(),
    ]);

    assert_eq!(found.len(), 1);
}

#[test]
fn a_slot_whose_registers_cannot_be_told_is_an_error_and_the_next_is_fine() {
    let without = node("virtio_mmio", &[]).property(text("compatible", "virtio,mmio"));
    let found = found(vec![
        without.build(),
        virtio("short", &[0, 1, 0], 1).build(),
        virtio("empty", &[0, 1, 0, 0], 1).build(),
        virtio("beyond", &[u32::MAX, u32::MAX, 0, 2], 1).build(),
        virtio("fine", &[0, 0x1000, 0, 0x200], 1).build(),
    ]);

    let bad = Err(Malformed::Registers);
    assert_eq!(found, [bad, bad, bad, bad, slot(0x1000, 0x200, 33)]);
}

#[test]
fn an_interrupt_that_the_controller_does_not_know_leaves_the_slot_without_a_line() {
    let many = node("many", &[("reg", &[0, 0, 0, 8]), ("interrupts", &[7; 100])])
        .property(text("compatible", "virtio,mmio"));
    let none = node("none", &[("reg", &[0, 0, 0, 8])]).property(text("compatible", "virtio,mmio"));

    let found = found(vec![many.build(), none.build()]);

    let lines: Vec<_> = found.iter().map(|slot| slot.unwrap().line).collect();
    assert_eq!(lines, [None, None]);
}

#[test]
fn a_tree_that_is_too_deep_is_left_where_it_is() {
    let mut deep = virtio("virtio_mmio@0", &[0, 0, 0, 0x200], 1).build();
    for _ in 0..1000 {
        deep = node("bus", &[("ranges", &[])]).child(deep).build();
    }

    assert_eq!(found(vec![deep]), []);
}

/// What firmware hands over may be anything.
#[test]
fn bytes_that_are_no_tree_or_a_damaged_one_are_never_more_than_an_error() {
    let mut tree = DeviceTree::new();
    tree.root = node("", &[("#address-cells", &[2]), ("#size-cells", &[2])])
        .child(virtio("virtio_mmio@1000", &[0, 0x1000, 0, 0x200], 1).build())
        .child(node("bus", &[("ranges", &[0, 0, 0])]).build())
        .build();
    let blob = tree.to_dtb();
    assert_eq!(slots_of(&blob), [slot(0x1000, 0x200, 33)]);

    for len in 0..blob.len() {
        slots_of(&blob[..len]);
    }
    for at in 0..blob.len() {
        for value in [0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff] {
            let mut damaged = blob.clone();
            damaged[at] = value;
            slots_of(&damaged);
        }
    }
    assert_eq!(slots_of(b"no tree"), [Err(Malformed::Tree)]);
}
