//! `ringway serve` that is killed while a driver has requests in flight, and started again: the driver
//! notices nothing.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fastrand::Rng;
use ringway_driver::blk::{Blk, Done};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{MemoryOptions, Options, Platform, Reconnect, Transport};

/// How often it is killed, in each format.
const KILLS: u64 = 20;
const FORMATS: [Features; 3] = [
    Features::NONE,
    F::RING_PACKED,
    F::RING_PACKED.union(F::IN_ORDER),
];
/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(30);
const SECTORS: u64 = 64;
const SECTOR: usize = 512;

/// A server that is killed when it is dropped.
struct Server(Child);

impl Server {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .args(["serve", "blk", "--image", "disk.img", "--json"])
            .args(["--vhost-user", "disk.sock", "--ring-features", "in_order"])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut events = BufReader::new(process.stdout.take().unwrap()).lines();
        assert!(events.any(|line| line.unwrap().contains("\"ready\"")));
        // It goes on to tell of what happens, and nobody listens.
        std::thread::spawn(move || events.for_each(drop));
        Self(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A driver with a disk, and what it knows of it.
struct Driver {
    disk: Blk<Transport, DmaBuffer>,
    platform: Platform,
    /// What was written last to each sector.
    sectors: Vec<u8>,
    busy: BTreeSet<u64>,
    /// By the numbers of their tokens.
    in_flight: Vec<(u64, u64)>,
}

impl Driver {
    fn new(folder: &Path, ring: Features) -> Self {
        let platform = Platform::new(&MemoryOptions {
            bytes: 8 << 20,
            ..MemoryOptions::default()
        });
        let platform = platform.unwrap();
        let options = Options {
            reconnect: Reconnect {
                longest_delay: Duration::from_millis(5),
                ..Reconnect::default()
            },
            ..Options::new(DeviceId::BLOCK)
        };
        let socket = folder.join("disk.sock");
        let transport = Transport::connect(&platform, socket, options).unwrap();
        let wanted = Wanted {
            required: ring,
            optional: F::EVENT_IDX,
            without: (F::RING_PACKED | F::IN_ORDER) - ring,
            ..Wanted::default()
        };
        let queue = QueueOptions {
            size: 32,
            ..QueueOptions::default()
        };
        let device = Acknowledged::new(transport).unwrap().driver().unwrap();
        Self {
            disk: Blk::open(device, &wanted, &queue).unwrap(),
            platform,
            sectors: vec![0; SECTORS as usize],
            busy: BTreeSet::new(),
            in_flight: Vec::new(),
        }
    }

    /// Writes to a sector that is not being written to, if there is room.
    fn submit(&mut self, random: &mut Rng) {
        let sector = random.u64(..SECTORS);
        if self.in_flight.len() == 8 || !self.busy.insert(sector) {
            return;
        }
        let byte = random.u8(1..);
        let mut buffer = DmaBuffer::new(&self.platform, SECTOR).unwrap();
        buffer.write(0, &[byte; SECTOR]).unwrap();
        let token = self.disk.write(sector, buffer).unwrap();
        self.sectors[sector as usize] = byte;
        self.in_flight.push((token.id().into(), sector));
    }

    fn complete(&mut self) {
        let done: Done<_> = self.disk.wait(LIMIT).unwrap();
        assert_eq!(done.result, Ok(()));
        let id = u64::from(done.token.id());
        let at = self.in_flight.iter().position(|(token, _)| *token == id);
        let (_, sector) = self.in_flight.swap_remove(at.expect("completed twice"));
        self.busy.remove(&sector);
    }
}

#[test]
fn a_server_that_is_killed_under_load_and_started_again_leaves_no_request_behind() {
    for (seed, ring) in (1..).zip(FORMATS) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("disk.img");
        fs::write(&image, vec![0; SECTORS as usize * SECTOR]).unwrap();
        let mut random = Rng::with_seed(seed);
        let mut server = Server::start(folder.path());
        let mut driver = Driver::new(folder.path(), ring);

        for _ in 0..KILLS {
            for _ in 0..random.u64(..60) {
                driver.submit(&mut random);
                if !driver.in_flight.is_empty() && random.bool() {
                    driver.complete();
                }
            }
            driver.submit(&mut random);
            driver.disk.kick().unwrap();
            drop(server);
            server = Server::start(folder.path());
        }
        while !driver.in_flight.is_empty() {
            driver.complete();
        }

        let written = fs::read(&image).unwrap();
        for (sector, byte) in written.chunks(SECTOR).zip(&driver.sectors) {
            assert_eq!(sector, [*byte; SECTOR], "{ring:?}");
        }
    }
}
