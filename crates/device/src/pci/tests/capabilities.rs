//! Where capabilities say that the structures are.

use super::*;

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:2,
/// txt:pci/pci-device-layout/device-specific-cfg:1
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

/// A function that is stopped signals no power event, and none is ever between two power states: no
/// driver finds the registers of either.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:14,
/// dev:basic/device-groups/admin-cmds/device-parts:19
#[test]
fn a_function_has_no_power_states_and_no_event_to_signal_from_them() {
    const POWER_MANAGEMENT: u8 = 1;
    let (_bench, function) = function(3);

    let ids: Vec<u8> = function
        .capabilities()
        .iter()
        .map(|found| found.0)
        .collect();

    assert!(!ids.contains(&POWER_MANAGEMENT), "{ids:?}");
    assert!(ids.contains(&config::CAPABILITY_MSIX));
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

/// Clauses: dev:pci/op/init/msi-x-vector-cfg:2
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

/// A function of each kind that has capabilities.
fn kinds() -> Vec<Function> {
    let mut all = Vec::new();
    for interface in [Interface::Modern, Interface::Transitional] {
        for (vectors, offer) in [(0, Offer::default()), (3, Offer::NOTHING)] {
            let (mut model, log) = Plain::new(Features::NONE);
            model.id = DeviceId::ENTROPY;
            let (bench, mut parts) = Bench::around(model, log, offer);
            parts.interface = interface;
            all.push(present(&bench, parts, vectors).unwrap());
        }
    }
    all
}

/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:1,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:2,
/// dev:pci/pci-device-layout/notif-capability:1, dev:pci/pci-device-layout/isr-status-capability:1,
/// dev:pci/pci-device-layout/device-specific-cfg:1,
/// dev:pci/pci-device-layout/pci-cfg-access-capability:1
#[test]
fn each_structure_has_a_capability_and_registers_are_at_words() {
    for function in kinds() {
        let listed: Vec<_> = function.capabilities().iter().map(|it| it.1).collect();

        for cfg_type in [
            CapabilityType::COMMON_CFG,
            CapabilityType::NOTIFY_CFG,
            CapabilityType::ISR_CFG,
            CapabilityType::DEVICE_CFG,
            CapabilityType::PCI_CFG,
        ] {
            assert!(listed.contains(&cfg_type.0), "{cfg_type:?}");
        }
        for cfg_type in [CapabilityType::COMMON_CFG, CapabilityType::DEVICE_CFG] {
            let capability: Capability = function.structure(function.capability(cfg_type));
            assert_eq!(capability.offset.get() % 4, 0, "{cfg_type:?}");
        }
    }
}

/// Clauses: dev:pci/virtio-structure-pci-capabilities:1
#[test]
fn a_capability_is_as_long_as_all_that_belongs_to_it() {
    for function in kinds() {
        let function = function.with_vendor_data(0x1b36, &[1, 2, 3]).unwrap();
        let all = function.capabilities();

        let lengths = all.iter().map(|&(_, cfg_type, at)| {
            let capability: Capability = function.structure(at);
            (cfg_type, usize::from(capability.cap_len), at)
        });
        let lengths: Vec<_> = lengths.filter(|found| found.0 != 0).collect();

        for &(cfg_type, length, _) in &lengths {
            let whole = match CapabilityType(cfg_type) {
                CapabilityType::NOTIFY_CFG => size_of::<NotifyCapability>(),
                CapabilityType::PCI_CFG => size_of::<PciCfgCapability>(),
                CapabilityType::VENDOR_CFG => 6 + 3 + 3,
                _ => size_of::<Capability>(),
            };
            assert_eq!(length, whole, "type {cfg_type}");
        }
        for pair in lengths.windows(2) {
            assert!(pair[0].2 + pair[0].1 <= pair[1].2, "{pair:?}");
        }
    }
}

/// Clauses: dev:pci/pci-device-layout/notif-capability:2,
/// dev:pci/pci-device-layout/notif-capability:3, dev:pci/pci-device-layout/notif-capability:4,
/// dev:pci/pci-device-layout/notif-capability:5, dev:pci/pci-device-layout/notif-capability:6,
/// dev:pci/pci-device-layout/notif-capability:7, dev:pci/pci-device-layout/notif-capability:8,
/// dev:pci/pci-device-layout/notif-capability:9
#[test]
fn a_kick_of_either_width_fits_where_each_queue_has_it() {
    let with = |offer| {
        let (bench, parts) = Bench::new(Features::NONE, offer);
        present(&bench, parts, 3).unwrap()
    };
    let none = (Features::NONE, 2);
    for (function, width, (features, queues)) in [
        (
            with(Offer::default().without(F::NOTIFICATION_DATA)),
            2,
            none,
        ),
        (with(Offer::default()), 4, none),
        (admin::owning(3, Interface::Modern).1, 4, (F::ADMIN_VQ, 5)),
    ] {
        let at = function.capability(CapabilityType::NOTIFY_CFG);
        function.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
        function.set_common(common::DRIVER_FEATURE, 4, features.word(1));

        let notify: NotifyCapability = function.structure(at);

        let (offset, length) = (notify.cap.offset.get(), notify.cap.length.get());
        let multiplier = notify.notify_off_multiplier.get();
        assert_eq!(offset % width, 0);
        assert!(
            multiplier == 0 || multiplier.is_power_of_two() && multiplier.is_multiple_of(width)
        );
        assert!(length >= width);
        for index in 0..queues {
            function.set_common(common::QUEUE_SELECT, 2, index);
            assert_ne!(function.common(common::QUEUE_SIZE, 2), 0);
            let off = function.common(common::QUEUE_NOTIFY_OFF, 2);
            assert!(length >= off * multiplier + width, "queue {index}");
        }
    }
}
