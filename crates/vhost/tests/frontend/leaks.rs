//! Nothing of a back-end stays when it is gone.

use std::fs;
use std::sync::Arc;

use ringway_device::blk::RamDisk;
use ringway_spec::Features;
use ringway_vhost::frontend::Transport;

use crate::fake::FAULTS;
use crate::hostile::history;
use crate::served::{Folder, SECTORS, Served, bring_up, options, platform, read};

const ALONE: &str = "RINGWAY_LEAKS_ALONE";

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd")).count()
}

/// Devices' defect 6: descriptors leak through messages.
#[test]
fn a_hundred_connections_good_and_bad_leave_neither_descriptors_nor_mappings() {
    // Other tests open and close theirs: this one counts in a process of its own.
    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().unwrap();
        let name =
            "leaks::a_hundred_connections_good_and_bad_leave_neither_descriptors_nor_mappings";
        let run = std::process::Command::new(this)
            .args(["--exact", name])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{printed}");
        assert!(printed.contains("1 passed"), "{printed}");
        return;
    }
    let mut before = None;
    for round in 0..100 {
        let folder = Folder::new();
        let served = Served::disk(&folder.socket(), &Arc::new(RamDisk::new(SECTORS)));
        let platform = platform();
        let transport = Transport::connect(&platform, folder.socket(), options()).unwrap();
        let mut disk = bring_up(transport, Features::NONE).unwrap();
        read(&mut disk, &platform, 0);
        drop((disk, platform, served));
        // Those before any memory was shared: what is kept for ever later is kept on purpose.
        let fault = FAULTS.get(round % FAULTS.len()).copied();
        history(fault.map(|fault| (round % 4, fault)));

        let now = (descriptors(), mappings());

        assert_eq!(*before.get_or_insert(now), now, "after {round}");
    }
}
