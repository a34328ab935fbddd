//! `ringway ls`, as it is typed, on systems that are made of files.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

const INTERRUPTS: &str = "           CPU0       CPU1
  24:          0          1  PCI-MSIX-0000:00:03.0   0-edge      virtio0-config
  25:        300         21  PCI-MSIX-0000:00:03.0   1-edge      virtio0-req.0
  40:          7          0  GICv3  48 Edge      virtio1
";

/// The files of a system.
struct System(TempDir);

impl System {
    /// A system whose kernel has a bus, and nothing on it.
    fn new() -> Self {
        let system = Self(TempDir::new().unwrap());
        for folder in ["devices", "drivers"] {
            fs::create_dir_all(system.bus().join(folder)).unwrap();
        }
        system
    }

    /// A system with a disk on PCI and a network device on MMIO.
    fn usual() -> Self {
        let system = Self::new();
        let function = "devices/pci0000:00/0000:00:03.0";
        system.parent(function, "pci", "virtio-pci");
        system.device(function, "virtio0", 2);
        system.link(
            &format!("{function}/virtio0/block/vda/subsystem"),
            "class/block",
        );
        system.write(&format!("{function}/virtio0/block/vda/dev"), "254:0\n");
        for irq in ["24", "25"] {
            system.write(&format!("{function}/msi_irqs/{irq}"), "msix\n");
        }
        system.drive(function, "virtio0", "virtio_blk");

        let slot = "devices/platform/a000000.virtio_mmio";
        system.parent(slot, "platform", "virtio-mmio");
        system.device(slot, "virtio1", 1);
        system.link(&format!("{slot}/virtio1/net/eth0/subsystem"), "class/net");
        let proc = system.0.path().join("proc");
        fs::create_dir(&proc).unwrap();
        fs::write(proc.join("interrupts"), INTERRUPTS).unwrap();
        system
    }

    fn sys(&self, path: &str) -> PathBuf {
        self.0.path().join("sys").join(path)
    }

    fn bus(&self) -> PathBuf {
        self.sys("bus/virtio")
    }

    /// An attribute of a device, by its way over the bus.
    fn attribute(&self, path: &str) -> PathBuf {
        self.bus().join("devices").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.sys(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.sys(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.sys(target), path).unwrap();
    }

    fn parent(&self, folder: &str, bus: &str, driver: &str) {
        self.link(&format!("{folder}/subsystem"), &format!("bus/{bus}"));
        self.link(
            &format!("{folder}/driver"),
            &format!("bus/{bus}/drivers/{driver}"),
        );
    }

    fn device(&self, parent: &str, name: &str, id: u32) {
        let folder = format!("{parent}/{name}");
        let bits: String = (0..64)
            .map(|bit| {
                if [1, 5, 32, 41].contains(&bit) {
                    '1'
                } else {
                    '0'
                }
            })
            .collect();
        for (attribute, text) in [
            ("device", format!("{id:#06x}\n")),
            ("vendor", "0x1af4\n".to_owned()),
            ("status", "0x0000000f\n".to_owned()),
            ("modalias", format!("virtio:d{id:08X}v00001AF4\n")),
            ("features", bits + "\n"),
        ] {
            self.write(&format!("{folder}/{attribute}"), &text);
        }
        self.link(&format!("bus/virtio/devices/{name}"), &folder);
    }

    fn drive(&self, parent: &str, name: &str, driver: &str) {
        let at = format!("bus/virtio/drivers/{driver}");
        self.link(&format!("{parent}/{name}/driver"), &at);
        self.link(&format!("{at}/{name}"), &format!("{parent}/{name}"));
        self.link(&format!("{at}/module"), &format!("module/{driver}"));
        self.write(&format!("{at}/bind"), "");
    }

    /// Takes a device away, and leaves it on the bus, as someone sees it who has just listed that.
    fn take_away(&self, name: &str) {
        let folder = fs::canonicalize(self.attribute(name)).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    /// Runs it, and finds that it exits so.
    fn ls(&self, args: &[&str], status: i32) -> Output {
        ls(self.0.path(), args, status)
    }

    fn json(&self, args: &[&str]) -> Value {
        let done = self.ls(&[args, &["--json"]].concat(), 0);
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// The one problem of the first device, after something was done to one of its files.
    fn problem(&self) -> (String, String) {
        let device = &self.json(&[])["devices"][0];
        let problems = device["problems"].as_array().unwrap();
        assert_eq!(problems.len(), 1, "{device}");
        let text = |name: &str| problems[0][name].as_str().unwrap().to_owned();
        // For people, too.
        let seen = self.ls(&[], 0).stdout;
        assert!(String::from_utf8(seen).unwrap().contains(&text("why")));
        (text("attribute"), text("why"))
    }
}

fn ls(root: &Path, args: &[&str], status: i32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    command.arg("ls").args(args).arg("--root").arg(root);
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(status), "{args:?} {done:?}");
    done
}

/// What was said on standard error, which is a line.
fn said(done: &Output) -> &str {
    let line = str::from_utf8(&done.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn devices_and_drivers_are_told_with_all_that_the_system_says() {
    let system = System::usual();

    let tree = system.json(&[]);

    let disk = json!({
        "name": "virtio0",
        "device": 2,
        "type": "blk",
        "vendor": 0x1af4,
        "modalias": "virtio:d00000002v00001AF4",
        "status": { "value": 15, "names": ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK", "FEATURES_OK"] },
        "features": ["SIZE_MAX", "RO", "VERSION_1", "ADMIN_VQ"],
        "bit_string": "0100010000000000000000000000000010000000010000000000000000000000",
        "driver": "virtio_blk",
        "transport": "pci",
        "parent": "0000:00:03.0",
        "pci_address": "0000:00:03.0",
        "interfaces": [{ "class": "block", "name": "vda" }],
        "interrupt": null,
        "interrupts": [
            { "irq": 24, "vector": 0, "name": "virtio0-config", "count": 1 },
            { "irq": 25, "vector": 1, "name": "virtio0-req.0", "count": 321 },
        ],
        "queues": [{
            "index": null,
            "name": "req.0",
            "size": null,
            "vector": 1,
            "vector_name": "virtio0-req.0",
        }],
        "problems": [],
    });
    assert_eq!(tree["devices"][0], disk);
    let net = &tree["devices"][1];
    assert_eq!(net["transport"], "mmio");
    assert_eq!(net["parent"], "a000000.virtio_mmio");
    assert_eq!(net["driver"], Value::Null);
    assert_eq!(net["pci_address"], Value::Null);
    assert_eq!(net["interfaces"][0]["name"], "eth0");
    assert_eq!(net["interrupts"][0]["irq"], 40);
    let driver = json!({ "name": "virtio_blk", "module": "virtio_blk", "devices": ["virtio0"] });
    assert_eq!(tree["drivers"], json!([driver]));
}

#[test]
fn for_people_it_is_a_tree_without_colours_where_there_is_no_terminal() {
    let system = System::usual();

    let brief = system.ls(&[], 0).stdout;
    let full = system.ls(&["--verbose", "vda"], 0).stdout;

    let [brief, full] = [brief, full].map(|text| String::from_utf8(text).unwrap());
    assert!(!brief.contains('\u{1b}'), "{brief}");
    let row = "├─ virtio0  blk (2)  pci   0000:00:03.0         virtio_blk  block vda\n";
    assert!(brief.contains(row), "{brief}");
    assert!(
        brief.contains("SIZE_MAX RO VERSION_1 ADMIN_VQ\n"),
        "{brief}"
    );
    assert!(full.contains(" 5  RO         §5.2.3\n"), "{full}");
    assert!(!full.contains("virtio1"), "{full}");
}

#[test]
fn names_narrow_it() {
    let system = System::usual();

    for name in ["virtio1", "net", "eth0", "a000000.virtio_mmio"] {
        let tree = system.json(&[name]);

        assert_eq!(tree["devices"].as_array().unwrap().len(), 1, "{tree}");
        assert_eq!(tree["devices"][0]["name"], "virtio1");
        assert_eq!(tree["drivers"], json!([]));
    }
    let both = system.json(&["virtio0", "virtio1"]);
    assert_eq!(both["devices"].as_array().unwrap().len(), 2);
}

#[test]
fn a_name_that_is_not_there_is_told_those_that_are() {
    let system = System::usual();

    let done = system.ls(&["virtio0", "vdb"], 1);

    assert!(said(&done).contains("vdb") && said(&done).contains("virtio0, virtio1"));
    assert!(done.stdout.is_empty());
}

#[test]
fn a_system_without_a_bus_or_devices_says_what_to_do_next() {
    let empty = System::new();
    let without_bus = TempDir::new().unwrap();
    fs::create_dir_all(without_bus.path().join("sys/bus")).unwrap();
    let nothing = TempDir::new().unwrap();

    let done = empty.ls(&["--json"], 1);
    let tree: Value = serde_json::from_slice(&done.stdout).unwrap();

    assert!(said(&done).contains("modprobe virtio_pci"));
    assert_eq!(tree["devices"], json!([]));
    for (root, next) in [(&without_bus, "modprobe"), (&nothing, "--root")] {
        let done = ls(root.path(), &[], 1);

        assert!(said(&done).contains("bus/virtio/devices"), "{done:?}");
        assert!(said(&done).contains(next), "{done:?}");
        assert!(done.stdout.is_empty());
    }
}

#[test]
fn a_bus_that_may_not_be_listed_says_why() {
    let system = System::usual();
    let devices = system.bus().join("devices");
    fs::remove_dir_all(&devices).unwrap();
    fs::write(&devices, "").unwrap();

    let done = system.ls(&[], 1);

    assert!(said(&done).contains("cannot list"), "{done:?}");
}

#[test]
fn drivers_that_cannot_be_listed_hide_no_device() {
    let system = System::usual();
    fs::remove_dir_all(system.bus().join("drivers")).unwrap();

    let tree = system.json(&[]);

    assert_eq!(tree["devices"].as_array().unwrap().len(), 2);
    assert_eq!(tree["problems"][0]["attribute"], "drivers");
}

#[test]
fn an_attribute_that_is_odd_in_any_way_is_told_as_such_and_hides_nothing_else() {
    let huge = "1".repeat(5000);
    for (attribute, text, says) in [
        ("device", "2\n", "no hexadecimal number"),
        ("device", "0x100000000\n", "no hexadecimal number"),
        ("vendor", "0x+1af4\n", "no hexadecimal number"),
        ("vendor", "", "no hexadecimal number"),
        ("status", "0x00000100\n", "8 bits"),
        ("status", "\u{0}\u{1}\u{1b}[2J", "no line of text"),
        ("modalias", "pci:v00001AF4\n", "virtio:dXXXXXXXX"),
        ("modalias", "virtio:d00000003v00001AF4\n", "another device"),
        ("features", "0120\n", "no string of bits"),
        ("features", "\n", "no string of bits"),
        ("features", huge.as_str(), "more than 4096 bytes"),
        ("features", &huge[..130], "2 bits beyond"),
    ] {
        let system = System::usual();
        let path = system.attribute("virtio0").join(attribute);
        fs::write(path, text).unwrap();

        let (named, why) = system.problem();

        assert_eq!(named, attribute);
        assert!(why.contains(says), "{attribute} {text:?}: {why}");
        assert!(!why.contains(char::is_control), "{why:?}");
    }
}

#[test]
fn an_attribute_that_is_absent_or_no_file_is_told_as_such() {
    for says in ["is not there", "no file"] {
        let system = System::usual();
        let path = system.attribute("virtio0/vendor");
        fs::remove_file(&path).unwrap();
        if says == "no file" {
            let made = Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
        }

        let (named, why) = system.problem();

        assert_eq!(named, "vendor");
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn an_attribute_whose_reading_fails_is_told_as_such() {
    let system = System::usual();
    let path = system.attribute("virtio0/status");
    fs::remove_file(&path).unwrap();
    // Nothing is at address 0 of any process.
    symlink("/proc/self/mem", &path).unwrap();

    let (named, why) = system.problem();

    assert_eq!(named, "status");
    assert!(why.contains("cannot be read"), "{why}");
}

#[test]
fn a_device_that_vanishes_after_it_was_listed_is_told_as_such() {
    let system = System::usual();
    system.take_away("virtio0");

    let (named, why) = system.problem();

    assert_eq!(named, "device");
    assert!(why.contains("went away"), "{why}");
    assert_eq!(system.json(&[])["devices"][1]["type"], "net");
}

#[test]
fn a_device_that_leads_to_itself_is_told_as_such() {
    let system = System::usual();
    let round = system.attribute("round");
    symlink(&round, &round).unwrap();

    let (named, why) = system.problem();

    assert_eq!(named, "device");
    assert!(why.contains("cannot be read"), "{why}");
}

#[test]
fn a_bus_of_which_nothing_can_be_read_is_a_failure() {
    let system = System::usual();
    system.take_away("virtio0");
    fs::remove_file(system.attribute("virtio1/device")).unwrap();

    let done = system.ls(&[], 1);

    assert!(said(&done).contains("can be read"), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("went away"));
}

#[test]
fn features_beyond_the_63rd_are_told_in_128_characters() {
    let system = System::usual();
    let bits = format!("{}1{}", "0".repeat(65), "0".repeat(62));
    for name in ["virtio0", "virtio1"] {
        let path = system.attribute(name).join("features");
        fs::write(path, format!("{bits}\n")).unwrap();
    }

    let tree = system.json(&[]);

    assert_eq!(tree["devices"][0]["bit_string"], bits);
    assert_eq!(tree["devices"][0]["features"], json!(["BIT_65"]));
    let net = &tree["devices"][1]["features"];
    assert_eq!(*net, json!(["GUEST_UDP_TUNNEL_GSO"]));
}

#[test]
fn types_that_nobody_knows_are_told_by_their_number() {
    let system = System::usual();
    fs::write(system.attribute("virtio0/device"), "0x0fff\n").unwrap();
    fs::write(
        system.attribute("virtio0/modalias"),
        "virtio:d00000FFFv00001AF4\n",
    )
    .unwrap();

    let device = &system.json(&[])["devices"][0];

    assert_eq!(
        (&device["device"], &device["type"]),
        (&json!(0xfff), &json!("type 4095"))
    );
    assert_eq!(
        device["features"],
        json!(["BIT_1", "BIT_5", "VERSION_1", "ADMIN_VQ"])
    );
    assert_eq!(device["problems"], json!([]));
}

#[test]
fn a_device_behind_vdpa_has_the_pci_address_that_is_further_up() {
    let system = System::new();
    let function = "devices/pci0000:00/0000:00:05.2";
    system.parent(function, "pci", "mlx5_core");
    system.parent(&format!("{function}/vdpa0"), "vdpa", "virtio_vdpa");
    system.device(&format!("{function}/vdpa0"), "virtio0", 1);

    let device = &system.json(&[])["devices"][0];

    assert_eq!(device["transport"], "vdpa");
    assert_eq!(device["parent"], "vdpa0");
    assert_eq!(device["pci_address"], "0000:00:05.2");
}

#[test]
fn transports_that_are_not_the_specification_s_go_by_their_driver() {
    let system = System::new();
    let parent = "devices/platform/virtio-uml.0";
    system.parent(parent, "platform", "virtio-uml");
    system.device(parent, "virtio0", 2);

    let device = &system.json(&[])["devices"][0];

    assert_eq!(device["transport"], "virtio-uml");
}

#[test]
fn a_device_in_no_other_is_shown_without_a_transport() {
    let system = System::new();
    system.device("somewhere", "virtio0", 4);

    let device = &system.json(&[])["devices"][0];

    assert_eq!(device["transport"], Value::Null);
    assert_eq!(device["type"], "entropy");
}

#[test]
fn names_that_would_write_to_a_terminal_are_shown_harmlessly() {
    let system = System::usual();
    let name = "virtio\u{1b}[31m7";
    symlink("nowhere", system.attribute(name)).unwrap();

    let text = system.ls(&[], 0).stdout;

    assert!(!text.contains(&0x1b));
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("virtio\\u{1b}[31m7")
    );
}
