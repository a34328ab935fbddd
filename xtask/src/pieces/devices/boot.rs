//! The machines that rows share: as many rows in one as it has places for.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::row::{Access, Row};
use crate::child::Finished;
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::image::{Machine, SUCCESS};

/// Most time for one machine: many times what a slow one takes.
const LIMIT: Duration = Duration::from_secs(180);
/// Slots of a microvm.
const SLOTS: usize = 8;
/// Bytes of a disk: enough for half a ring of requests.
const DISK: u64 = 4 << 20;

/// Some rows, in one machine.
pub(super) struct Boot<'r> {
    rows: Vec<&'r Row>,
}

/// Distributes `rows`: those with the same machine that ask for the same share one, up to what it
/// has room for.
pub(super) fn share(rows: &[Row]) -> Vec<Boot<'_>> {
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for row in rows {
        let open = |boot: &&mut Boot<'_>| boot.takes(row);
        match boots.iter_mut().find(open) {
            Some(boot) => boot.rows.push(row),
            None => boots.push(Boot { rows: vec![row] }),
        }
    }
    boots
}

/// How many rows a machine has places for, each of which has two devices.
fn room(machine: Machine) -> usize {
    match machine {
        // Of 32 places the first is the bridge's, and the last the south bridge's.
        Machine::Q35 => 15,
        Machine::Microvm | Machine::MicrovmLegacy => SLOTS / 2,
    }
}

impl Boot<'_> {
    fn takes(&self, row: &Row) -> bool {
        self.rows.first().is_some_and(|first| {
            first.machine == row.machine
                && first.asked == row.asked
                && self.rows.len() < room(row.machine)
        })
    }

    /// Boots the machine. Returns what is wrong with its rows, each with its name, and what was
    /// printed.
    pub(super) fn run(
        &self,
        desk: &Desk<'_>,
        qemu: &Path,
        place: &Path,
    ) -> Result<(Vec<String>, Vec<u8>)> {
        let Some(first) = self.rows.first() else {
            return Ok((Vec::new(), Vec::new()));
        };
        let mut command = first.machine.boot(qemu, desk.repo);
        command.args(["-append", &format!("seed=1{}", first.asked)]);
        for (at, row) in self.rows.iter().enumerate() {
            let image = place.join(format!("{}.img", serial(at)));
            let made = File::create(&image).and_then(|file| file.set_len(DISK));
            made.map_err(Failure::io("make", &image))?;
            row.add_devices(&mut command, at, &image);
        }
        match desk.run.run(&mut command, LIMIT) {
            Ok(done) => Ok((self.faults(&done), done.log)),
            Err(failure) => {
                let whole = format!("{}: {}", self.name(), failure.what);
                Ok((vec![whole], failure.output))
            }
        }
    }

    /// What is wrong with its rows.
    fn faults(&self, done: &Finished) -> Vec<String> {
        let text = String::from_utf8_lossy(&done.stdout);
        let devices: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["event"] == "device")
            .collect();
        let mut faults = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            // Devices are numbered in the order of their places, which is that of the rows.
            let [entropy, disk] = [2 * at, 2 * at + 1].map(|number| {
                let name = format!("virtio{number}");
                devices.iter().find(|device| device["name"] == name)
            });
            let fault = match (entropy, disk) {
                (Some(entropy), Some(disk)) => row.fault(entropy, disk, &serial(at)),
                _ => Some("its devices were not reported".to_owned()),
            };
            faults.extend(fault.map(|fault| format!("{}: {fault}", row.name)));
        }
        let all = 2 * self.rows.len();
        if devices.len() != all {
            let found = devices.len();
            faults.push(format!("{}: {found} devices, and not {all}", self.name()));
        }
        if done.status.code() != Some(SUCCESS) {
            let last = text.lines().last().unwrap_or("nothing");
            let name = self.name();
            faults.push(format!("{name}: ended with {}: {last}", done.status));
        }
        faults
    }

    fn name(&self) -> String {
        let first = self.rows.first().map_or("", |row| &row.name);
        format!("the machine of {} rows from `{first}` on", self.rows.len())
    }
}

impl Row {
    /// Adds its devices to a machine, in the places for row number `at`.
    fn add_devices(&self, command: &mut Command, at: usize, image: &Path) {
        let places = [2 * at, 2 * at + 1];
        let [(rng, rng_at), (blk, blk_at)] = match self.machine {
            Machine::Q35 => {
                let place = |place| format!("addr={:x}", place + 1);
                [
                    ("virtio-rng-pci", place(places[0])),
                    ("virtio-blk-pci", place(places[1])),
                ]
            }
            Machine::Microvm | Machine::MicrovmLegacy => {
                // QEMU names them from the last on.
                let place = |place| format!("bus=virtio-mmio-bus.{}", SLOTS - 1 - place);
                [
                    ("virtio-rng-device", place(places[0])),
                    ("virtio-blk-device", place(places[1])),
                ]
            }
        };
        let Self { both, disk, .. } = self;
        let read_only = match self.access {
            Access::ReadOnly => "on",
            Access::ReadWrite => "off",
        };
        let serial = serial(at);
        let image = image.display();
        command
            .args(["-device", &format!("{rng},{rng_at}{both}")])
            .arg("-drive")
            .arg(format!(
                "file={image},format=raw,if=none,id={serial},readonly={read_only}"
            ))
            .arg("-device")
            .arg(format!(
                "{blk},{blk_at},drive={serial},serial={serial}{both}{disk}"
            ));
    }
}

/// What the disk of row number `at` is called.
fn serial(at: usize) -> String {
    format!("row{at}")
}

#[cfg(test)]
mod tests {
    use super::super::{product, special};
    use super::*;

    #[test]
    fn every_row_is_in_one_machine_that_has_room_for_it() {
        let rows = [product::rows(), special::rows()].concat();

        let boots = share(&rows);

        let count: usize = boots.iter().map(|boot| boot.rows.len()).sum();
        assert_eq!(count, rows.len());
        for Boot { rows } in &boots {
            assert!(rows.len() <= room(rows[0].machine));
            assert!(rows.iter().all(|row| row.machine == rows[0].machine));
            assert!(rows.iter().all(|row| row.asked == rows[0].asked));
        }
        // Starting them is what takes long.
        assert!(boots.len() < rows.len() / 5, "{}", boots.len());
    }
}
