//! Where capabilities say that the structures are.

use super::*;

#[test]
fn capabilities_lead_to_every_structure_within_its_bar() {
    let (_bench, function) = function(3);
    let sizes = |index| {
        function
            .bars()
            .iter()
            .find(|bar| bar.index == index)
            .unwrap()
            .size
    };

    let all = function.capabilities();

    let types: Vec<_> = all
        .iter()
        .map(|&(id, cfg_type, _)| (id, cfg_type))
        .collect();
    let vendor = [1, 3, 4, 2, 5].map(|cfg_type| (config::CAPABILITY_VENDOR, cfg_type));
    assert_eq!(types[..2], [(0x11, 0), (0x13, 0)]);
    assert_eq!(types[2..], vendor);
    for &(id, cfg_type, at) in &all {
        if id == config::CAPABILITY_VENDOR && cfg_type != 5 {
            let capability: Capability = function.structure(at);
            let end = capability.offset.get() + capability.length.get();
            assert!(u64::from(end) <= sizes(capability.bar), "{capability:?}");
            assert_eq!(capability.offset.get() % 4, 0);
        }
    }
    let notify: NotifyCapability =
        function.structure(function.capability(CapabilityType::NOTIFY_CFG));
    assert_eq!(
        (notify.cap.cap_len, notify.notify_off_multiplier.get()),
        (20, 4)
    );
    assert_eq!(notify.cap.length.get(), 8);
    let msix: msix::Capability = function.structure(all[0].2);
    assert_eq!(
        (msix.control.get(), msix.table.get(), msix.pba.get()),
        (2, 2, 0x1002)
    );
}

#[test]
fn a_function_without_vectors_has_neither_the_capability_nor_its_bar() {
    let (_bench, function) = function(0);

    assert!(
        function
            .capabilities()
            .iter()
            .all(|found| found.0 != config::CAPABILITY_MSIX)
    );
    assert_eq!(function.bars().len(), 1);
}

#[test]
fn the_largest_table_has_room() {
    let (_bench, function) = function(u16::MAX);

    let msix: msix::Capability = function.structure(function.capabilities()[0].2);

    assert_eq!(
        msix.control.get() & msix::CONTROL_TABLE_SIZE_MASK,
        VECTORS_MAX - 1
    );
    assert_eq!(function.bars()[1].size, 0x1_0000);
    function.bar_write(2, 16 * 2047 + 8, &[7; 4]);
    let mut bytes = [0; 4];
    function.bar_read(2, 16 * 2047 + 8, &mut bytes);
    assert_eq!(bytes, [7; 4]);
}
