//! Nothing of a front-end stays when it is gone.

use std::fs;

use ringway_ring::driver::Geometry;
use ringway_spec::{F, Features};
use ringway_vhost::protocol::{ProtocolFeatures, Request};

use crate::front::{Front, PROTOCOL};
use crate::served::entropy;

const ONCE: &str = "RINGWAY_LEAKS_ALONE";

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("memfd")).count()
}

/// Devices' defect 6: descriptors of files leak with messages.
#[test]
fn a_thousand_front_ends_leave_neither_descriptors_nor_mappings() {
    // Other tests open and close theirs: this one counts in a process of its own.
    if std::env::var_os(ONCE).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "leaks::a_thousand_front_ends_leave_neither_descriptors_nor_mappings";
        let run = std::process::Command::new(this)
            .args(["--exact", name])
            .env(ONCE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{printed}");
        assert!(printed.contains("1 passed"), "{printed}");
        return;
    }
    let served = entropy();
    let mut before = None;
    for round in 0..1000 {
        let features = if round % 2 == 0 {
            Features::NONE
        } else {
            F::RING_PACKED
        };
        let inband = if round % 3 == 0 {
            ProtocolFeatures::INBAND_NOTIFICATIONS
        } else {
            ProtocolFeatures::empty()
        };
        let mut front = Front::ready(served.connect(), PROTOCOL | inband, features);
        let (channel, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        front.tell(Request::SetBackendReqFd(theirs.into()));
        let geometry = Geometry::largest(16, 0, features).unwrap();
        let mut ring = front.ring(0, geometry, features, 0);
        let base = if features.is_empty() { 0 } else { 0x8000_8000 };
        front.tell(Request::SetVringErr(0, Some(ring.call_descriptor())));
        front.start(&ring, base);
        assert_eq!(ring.draw(&mut front, 3), [7; 3]);
        // Refused, with descriptors beside it.
        let state = ring.call_descriptor();
        assert_eq!(front.value(Request::SetVringErr(9, Some(state))), 1);
        drop((front, ring, channel));
        served.events.disconnected();

        // The first ones made what stays: the loops' own.
        if round == 9 {
            before = Some((descriptors(), mappings()));
        }
    }

    assert_eq!(before, Some((descriptors(), mappings())));
}
