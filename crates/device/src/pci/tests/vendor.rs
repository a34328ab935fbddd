//! Data of a vendor's own, in capabilities behind the others.

use super::*;

const VENDOR: u16 = 0x1b36;

/// §4.1.4.8
///
/// Clauses: dev:pci/pci-device-layout/vendor-data-capability:2
#[test]
fn a_vendor_s_data_is_in_a_capability_of_whole_words() {
    for len in 0..8 {
        let (_bench, function) = function(3);

        let function = function.with_vendor_data(VENDOR, &[1, 2, 3, 4, 5, 6, 7, 8][..len]);

        let function = function.unwrap();
        let at = function.capability(CapabilityType::VENDOR_CFG);
        let bytes: [u8; 16] = function.structure(at);
        let size = (6 + len).next_multiple_of(4);
        assert_eq!(bytes[..6], [9, 0, size as u8, 9, 0x36, 0x1b]);
        assert_eq!(bytes[6..6 + len], [1, 2, 3, 4, 5, 6, 7, 8][..len]);
        assert_eq!(bytes[6 + len..], [0; 10][len..]);
    }
}

/// It would say of every vendor's data that it is ours.
///
/// Clauses: dev:pci/pci-device-layout/vendor-data-capability:1
#[test]
fn data_of_virtio_s_own_vendor_id_is_refused() {
    let (_bench, function) = function(3);

    let refused = function.with_vendor_data(0x1af4, &[1]).err();

    assert_eq!(refused, Some(Unfit::Vendor));
}

#[test]
fn a_vendor_s_data_that_has_no_room_is_refused() {
    for (len, bytes) in [(79, 88), (250, 256), (300, 308), (70_000, 70_008)] {
        let (_bench, function) = function(3);

        let refused = function.with_vendor_data(VENDOR, &vec![7; len]).err();

        assert_eq!(refused, Some(Unfit::NoRoom { bytes, left: 84 }), "{len}");
    }
    let (_bench, function) = function(3);
    let all_of_it = function.with_vendor_data(VENDOR, &[7; 78]).unwrap();
    let again = all_of_it.with_vendor_data(VENDOR, &[]).err();
    assert_eq!(again, Some(Unfit::NoRoom { bytes: 8, left: 0 }));
}

/// Even where the window points at what a read changes.
///
/// Clauses: dev:pci/pci-device-layout/vendor-data-capability:3,
/// txt:pci/pci-device-layout/vendor-data-capability:1
#[test]
fn a_vendor_s_data_is_read_without_effect() {
    let (mut bench, function) = placed(0);
    let function = function.with_vendor_data(VENDOR, &[1, 2, 3]).unwrap();
    let _ring = function.start(&mut bench, 0, NO_VECTOR);
    let window = function.capability(CapabilityType::PCI_CFG);
    function.set(window + 8, ISR_OFFSET);
    function.set(window + 12, 1);
    function.config_changed();
    let at = function.capability(CapabilityType::VENDOR_CFG);
    let words = [0, 4, 8].map(|word| at + word);

    let first = words.map(|at| function.get(at));
    let bytes: [u8; 12] = function.structure(at);
    let again = words.map(|at| function.get(at));

    assert_eq!((first, &bytes[6..]), (again, &[1, 2, 3, 0, 0, 0][..]));
    assert!(bench.wires.asserted());
    let mut isr = [0];
    function.bar_read(0, ISR_OFFSET.into(), &mut isr);
    assert_eq!(isr, [2]);
}
