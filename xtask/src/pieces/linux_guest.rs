//! Linux in a virtual machine of QEMU, whose devices are our back-ends.
//!
//! | file | |
//! | --- | --- |
//! | [`machine`] | the virtual machine, and what Linux starts with |
//! | [`load`] | what is done to a disk under load: its back-end is killed, its machine moves |
//! | [`forgotten`] | whether that finds a back-end that forgets what it is to write down |
//! | [`net`] | network cards, beside our own driver |
//! | [`ls`] | what `ringway ls` says there, of devices of QEMU's own |
//! | `*.sh` | the scripts of the guest; those of block devices are in `linux` |

mod forgotten;
mod load;
pub(super) mod ls;
mod machine;
pub(super) mod net;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::linux::backend::{Backend, Rings, Served, Server, Servers};
use super::linux::report::{Expect, check};
use super::linux::{BLOCK, DISK, FILES, Rows, variables};
use super::{Desk, Set, linux};
use crate::child::Runner;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;
use machine::{Machine, Parts};

/// Most time for one machine, and for each step of one under load: many times what a slow one takes.
const LIMIT: Duration = Duration::from_secs(180);
/// Queues of a disk, and processors of the machine.
const SEVERAL: u16 = 2;
/// Most time to make a file system.
const FILES_LIMIT: Duration = Duration::from_secs(60);

const INDIRECT_DESC: usize = 28;
const EVENT_IDX: usize = 29;
const VERSION_1: usize = 32;
const RING_PACKED: usize = 34;

/// A machine, and what happens to it.
struct Case {
    name: &'static str,
    set: Set,
    server: Server,
    queues: u16,
    /// Switches of the disk, beside those that all have.
    switches: &'static str,
    does: Does,
    expect: &'static [Expect],
    /// Most time for each step of it.
    limit: Duration,
}

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// A disk, used in every way.
    Block,
    /// That, and a source of random bytes.
    BlockAndEntropy,
    /// The back-end is killed, again and again, under load.
    Reconnect,
    /// The machine moves to another QEMU, under load.
    Migrate,
}

impl Case {
    const fn new(name: &'static str, does: Does, expect: &'static [Expect]) -> Self {
        Self {
            name,
            set: Set::Default,
            server: Server::Ringway,
            queues: SEVERAL,
            switches: "",
            does,
            expect,
            limit: LIMIT,
        }
    }

    const fn packed(name: &'static str, does: Does) -> Self {
        Self {
            switches: ",packed=on",
            ..Self::new(name, does, PACKED)
        }
    }

    /// The same by the other server, to judge the judge.
    const fn of_daemon(name: &'static str, does: Does) -> Self {
        Self {
            set: Set::All,
            server: Server::StorageDaemon,
            ..Self::new(name, does, SPLIT)
        }
    }
}

const SPLIT: &[Expect] = &[
    Expect::With(INDIRECT_DESC),
    Expect::With(EVENT_IDX),
    Expect::With(VERSION_1),
    Expect::Without(RING_PACKED),
];
const PACKED: &[Expect] = &[
    Expect::With(INDIRECT_DESC),
    Expect::With(EVENT_IDX),
    Expect::With(RING_PACKED),
];

const CASES: &[Case] = &[
    Case::new("split", Does::BlockAndEntropy, SPLIT),
    Case::packed("packed", Does::BlockAndEntropy),
    Case {
        set: Set::All,
        queues: 1,
        switches: ",vectors=0,event_idx=off,indirect_desc=off",
        ..Case::new(
            "split, one queue, a line for interrupts",
            Does::Block,
            &[
                Expect::Without(INDIRECT_DESC),
                Expect::Without(EVENT_IDX),
                Expect::Is("vectors", "0"),
            ],
        )
    },
    Case {
        set: Set::All,
        switches: ",packed=on,event_idx=off,queue-size=16",
        ..Case::new(
            "packed, short queues, no event index",
            Does::Block,
            &[Expect::With(RING_PACKED), Expect::Without(EVENT_IDX)],
        )
    },
    Case::new("split, back-end killed", Does::Reconnect, SPLIT),
    Case::packed("packed, back-end killed", Does::Reconnect),
    Case::new("split, migrated", Does::Migrate, SPLIT),
    Case {
        set: Set::All,
        ..Case::packed("packed, migrated", Does::Migrate)
    },
    Case::of_daemon("split, of qemu-storage-daemon", Does::Block),
    Case::of_daemon("split, qemu-storage-daemon killed", Does::Reconnect),
    Case::of_daemon("split, of qemu-storage-daemon, migrated", Does::Migrate),
];

/// What Linux does in ways that are told apart by their queues.
const MSIX: &[Expect] = &[
    Expect::Is("queues", "2"),
    Expect::Is("vectors", "2"),
    Expect::Is("heard", "2"),
];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_set(desk, Set::Default)
}

pub(super) fn run_long(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_set(desk, Set::All)
}

pub(super) fn run_forgotten(desk: &Desk<'_>) -> Result<Vec<String>> {
    forgotten::run(desk)
}

fn run_set(desk: &Desk<'_>, set: Set) -> Result<Vec<String>> {
    let tools = Tools::find(desk)?;
    let mut rows = Rows::default();
    for case in CASES.iter().filter(|case| case.set == set) {
        rows.add(case.name, case.run(desk, &tools));
    }
    let (linux, qemu) = (tools.parts.linux.version, tools.parts.qemu.version);
    rows.finish(format!("on Linux {linux}, QEMU {qemu}"))
}

/// What a case needs.
struct Tools {
    servers: Servers,
    parts: Parts,
    mke2fs: fetch::Found,
}

impl Tools {
    fn find(desk: &Desk<'_>) -> Result<Self> {
        Ok(Self {
            parts: Parts::find(desk)?,
            mke2fs: fetch::E2FSPROGS.find(&desk.run, desk.repo)?,
            servers: Servers::new(desk)?,
        })
    }

    /// These, and a back-end that forgets.
    fn with_forgetful(self, desk: &Desk<'_>) -> Result<Self> {
        Ok(Self {
            servers: self.servers.with_forgetful(desk)?,
            ..self
        })
    }
}

impl Case {
    fn run(&self, desk: &Desk<'_>, tools: &Tools) -> Result<String> {
        let scratch = Scratch::new("linux-guest")?;
        let place = scratch.path();
        let image = place.join("disk.img");
        let made = File::create(&image).and_then(|file| file.set_len(DISK));
        made.map_err(Failure::io("make", &image))?;
        match self.does {
            Does::Block | Does::BlockAndEntropy => self.use_devices(desk, tools, place, &image),
            Does::Reconnect => load::reconnect(self, desk, tools, place, &image),
            Does::Migrate => load::migrate(self, desk, tools, place, &image),
        }
    }

    /// The devices, used in every way that a guest has.
    fn use_devices(
        &self,
        desk: &Desk<'_>,
        tools: &Tools,
        place: &Path,
        image: &Path,
    ) -> Result<String> {
        make_files(&desk.run, tools, image)?;
        let with_entropy = self.does == Does::BlockAndEntropy;
        let entropy = if with_entropy { machine::ENTROPY } else { "" };
        let script = [BLOCK, machine::INTERRUPTS, entropy].concat();
        let mut machine = Machine::new(desk, tools, place, &script)?;

        let socket = place.join("disk.sock");
        let disk = self.serve(desk, tools, image, &socket)?;
        machine.add_disk(&socket, self);
        let mut others = Vec::new();
        if with_entropy {
            let socket = place.join("entropy.sock");
            let (servers, server) = (&tools.servers, self.server);
            others.push(servers.start(desk, server, Served::Entropy, image, &socket)?);
            machine.add_entropy(&socket);
        }
        let done = desk.run.run(&mut machine.command, self.limit);
        let several = if self.queues == SEVERAL { MSIX } else { &[] };
        let expect = [self.expect, several].concat();
        let report = done.and_then(|done| check(&done, &expect));
        let report = report.map_err(|e| disk.explain(e))?;
        for backend in others.into_iter().chain([disk]) {
            backend.finish()?;
        }
        linux::judge_files(&desk.run, &tools.mke2fs.path, image)?;
        Ok(format!("{} steps", report.steps.len()))
    }

    /// Starts the disk's back-end.
    fn serve(
        &self,
        desk: &Desk<'_>,
        tools: &Tools,
        image: &Path,
        socket: &Path,
    ) -> Result<Backend> {
        let queues = self.queues;
        let (servers, served) = (
            &tools.servers,
            Served::Block {
                queues,
                rings: Rings::Both,
            },
        );
        servers.start(desk, self.server, served, image, socket)
    }
}

/// Makes the file system that a guest finds, since it has nothing to make one with.
fn make_files(run: &Runner, tools: &Tools, image: &Path) -> Result<()> {
    let mut make = std::process::Command::new(&tools.mke2fs.path);
    make.args(["-q", "-F", "-t", "ext4"])
        .arg(image)
        .arg((FILES / 1024).to_string());
    run.succeed(&mut make, FILES_LIMIT)?;
    Ok(())
}

/// The variables that every script of a guest reads.
fn given() -> String {
    variables(&[
        ("OWN", "/own"),
        ("TREE", "/modules"),
        ("MKE2FS", ""),
        ("E2FSCK", ""),
        ("DISK", "/dev/vda"),
        ("FILES", &FILES.to_string()),
        ("ENOUGH", &load::ENOUGH.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_share_a_name() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), CASES.len());
    }

    #[test]
    fn both_formats_of_a_ring_are_killed_and_migrated_by_ours() {
        for does in [Does::Reconnect, Does::Migrate] {
            for bit in [Expect::Without(RING_PACKED), Expect::With(RING_PACKED)] {
                let mut ours = CASES.iter().filter(|c| c.server == Server::Ringway);

                assert!(
                    ours.any(|c| c.does == does && c.expect.contains(&bit)),
                    "{does:?}"
                );
            }
        }
    }
}
