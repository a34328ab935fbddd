use ringway_spec::Status;

use super::*;
use crate::tree::{FeatureBits, Interface};

fn tree() -> Tree {
    let some = |text: &str| Some(text.to_owned());
    let disk = Device {
        name: "virtio0".to_owned(),
        id: Some(DeviceId::BLOCK),
        vendor: Some(0x1af4),
        modalias: some("virtio:d00000002v00001AF4"),
        status: Some(Status::ACKNOWLEDGE | Status::DRIVER),
        features: FeatureBits::read("0100000000000000001").map(|read| read.0),
        driver: some("virtio_blk"),
        transport: some("pci"),
        parent: some("0000:00:03.0"),
        pci_address: some("0000:00:03.0"),
        interfaces: vec![Interface {
            class: "block".to_owned(),
            name: "vda".to_owned(),
        }],
        interrupt: None,
        interrupts: vec![Interrupt {
            irq: Some(25),
            vector: Some(1),
            name: some("virtio0-req.0"),
            count: Some(321),
        }],
        queues: vec![Queue {
            index: Some(0),
            name: some("req.0"),
            size: Some(128),
            vector: Some(1),
            vector_name: None,
        }],
        problems: Vec::new(),
    };
    let odd = Device {
        name: "virtio10".to_owned(),
        id: Some(DeviceId(77)),
        features: FeatureBits::read("0").map(|read| read.0),
        problems: vec![Problem {
            attribute: "vendor",
            why: "is no number: tea".to_owned(),
        }],
        ..Device::default()
    };
    let driver = |name: &str, module: Option<String>, devices: &[&str]| Driver {
        name: name.to_owned(),
        module,
        devices: devices.iter().map(|&name| name.to_owned()).collect(),
    };
    Tree {
        place: "/sys/bus/virtio".to_owned(),
        devices: vec![disk, odd],
        drivers: vec![
            driver("virtio_blk", some("virtio_blk"), &["virtio0"]),
            driver("virtio_rproc_serial", None, &[]),
        ],
        problems: vec![Problem {
            attribute: "drivers",
            why: "there are more".to_owned(),
        }],
    }
}

fn plain(tree: &Tree, detail: Detail) -> String {
    anstream::adapter::strip_str(&tree.text(detail)).to_string()
}

#[test]
fn a_bus_is_a_tree_with_aligned_columns() {
    let text = plain(&tree(), Detail::Brief);

    let expected = "\
/sys/bus/virtio: 2 devices, 2 drivers
├─ virtio0   blk (2)  pci  0000:00:03.0  virtio_blk  block vda
│     vendor    0x1af4 virtio:d00000002v00001AF4
│     status    ACKNOWLEDGE DRIVER (0x03)
│     features  SIZE_MAX BIT_18
│     irqs      25:virtio0-req.0
│     queues    0  req.0  size 128  vector 1
├─ virtio10  type 77  ?    ?             no driver
│     features  none
│     odd       vendor: is no number: tea
└─ drivers
   ├─ virtio_blk           module virtio_blk  virtio0
   └─ virtio_rproc_serial                     no device
drivers: there are more
";
    assert_eq!(text, expected);
}

#[test]
fn in_full_each_feature_has_a_line_with_its_section() {
    let text = plain(&tree(), Detail::Full);

    let expected = "
│     bits      0100000000000000001000000000000000000000000000000000000000000000
│     features    1  SIZE_MAX  §5.2.3
│                18  BIT_18
│     irqs      25  virtio0-req.0  vector 1  321 times
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_queue_says_what_its_vector_is_called() {
    let mut tree = tree();
    let disk = &mut tree.devices[0];
    disk.interrupts.clear();
    disk.interrupt = Some("msix-shared".to_owned());
    disk.queues[0].vector_name = Some("virtio0-virtqueues".to_owned());

    let text = plain(&tree, Detail::Brief);

    let expected = "
│     irqs      msix-shared
│     queues    0  req.0  size 128  vector 1  virtio0-virtqueues
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn words_go_on_in_the_next_line_before_they_are_too_many() {
    let device = Device {
        features: FeatureBits::read(&"1".repeat(64)).map(|read| read.0),
        ..Device::default()
    };
    let tree = Tree {
        devices: vec![device],
        ..Tree::default()
    };

    let text = plain(&tree, Detail::Brief);

    assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    assert!(text.contains("\n                BIT_"), "{text}");
}
