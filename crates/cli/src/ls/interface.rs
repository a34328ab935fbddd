//! What the system has made of a device: disks, network interfaces and the like, somewhere below it.

use std::path::Path;

use super::sysfs::{self, Entry, Listing};
use crate::tree::Interface;

/// How far below the device they are looked for: as far as disks of a SCSI host are, and some more.
const DEEPEST: usize = 8;
/// Most folders that are looked into, against a tree that has no end.
const MOST_FOLDERS: usize = 4096;
/// The class whose members have no device node.
const NETWORK: &str = "net";

/// The interfaces below the folder of a device: members of a class that programs can open, or that
/// networks have.
pub(super) fn below(device: &Path) -> Vec<Interface> {
    let mut walk = Walk {
        found: Vec::new(),
        left: MOST_FOLDERS,
    };
    walk.look_into(device, DEEPEST);
    walk.found
}

struct Walk {
    found: Vec<Interface>,
    left: usize,
}

impl Walk {
    fn look_into(&mut self, folder: &Path, depth: usize) {
        let listing = Listing::of(folder).unwrap_or_default();
        for entry in listing.entries {
            // Links lead elsewhere: to the bus, the driver, and back up.
            if entry.path.is_symlink() || !entry.path.is_dir() {
                continue;
            }
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            match member(&entry) {
                // What is below a member is a part of it.
                Some(interface) => self.found.push(interface),
                None if depth > 0 => self.look_into(&entry.path, depth - 1),
                None => {}
            }
        }
    }
}

/// The interface that a folder is, if it is one.
fn member(entry: &Entry) -> Option<Interface> {
    let class = sysfs::link_name(&entry.path.join("subsystem"))?;
    let usable = class == NETWORK || entry.path.join("dev").is_file();
    usable.then(|| Interface {
        class,
        name: entry.name.clone(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn member(folder: &Path, path: &str, class: &str, node: bool) {
        let path = folder.join(path);
        fs::create_dir_all(&path).unwrap();
        symlink(format!("../../class/{class}"), path.join("subsystem")).unwrap();
        if node {
            fs::write(path.join("dev"), "254:0\n").unwrap();
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let all = below(folder).into_iter();
        all.map(|found| format!("{} {}", found.class, found.name))
            .collect()
    }

    #[test]
    fn members_are_found_however_deep_they_are_and_their_parts_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        member(place, "host0", "scsi", false);
        member(place, "host0/target0:0:0/0:0:0:0/block/sda", "block", true);
        member(
            place,
            "host0/target0:0:0/0:0:0:0/block/sda/sda1",
            "block",
            true,
        );
        member(place, "net/eth0", "net", false);
        member(place, "input/input3", "input", false);
        member(place, "input/input3/event3", "input", true);

        assert_eq!(names(place), ["block sda", "input event3", "net eth0"]);
    }

    #[test]
    fn links_are_not_followed_nor_is_a_tree_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        symlink(place, place.join("loop")).unwrap();
        let deep = ["a"; DEEPEST + 2].join("/");
        member(place, &format!("{deep}/vda"), "block", true);

        assert!(names(place).is_empty());
    }

    #[test]
    fn a_device_that_is_not_there_has_none() {
        assert!(names(Path::new("/nonexistent")).is_empty());
    }
}
