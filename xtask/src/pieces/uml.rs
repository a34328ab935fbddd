//! Linux as an ordinary process: its own drivers over our back-ends.
//!
//! It runs as whoever runs this, on the host's own root, which it mounts read-only. It has one
//! processor, and so one queue.
//!
//! | file | |
//! | --- | --- |
//! | [`net`] | network cards: our own driver on the other end, or another Linux |
//! | `start.sh` | what comes before every script |

pub(super) mod net;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Desk;
use super::linux::backend::{Rings, Served, Server, Servers};
use super::linux::report::{Expect, check};
use super::linux::{BLOCK, DISK, FILES, REPORT, Rows, judge_files, variables};
use crate::failure::{Failure, Result};
use crate::fetch::{self, Found};
use crate::scratch::Scratch;

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(120);
/// What comes before every case's script.
const START: &str = include_str!("uml/start.sh");
/// Where the guest keeps what it writes: a folder that every host has.
const OWN: &str = "/mnt";

/// Features of every ring that Linux takes.
const INDIRECT_DESC: usize = 28;
const EVENT_IDX: usize = 29;
const VERSION_1: usize = 32;

/// A device type, and what Linux does with it.
struct Case {
    name: &'static str,
    /// The device's number, for the driver to be found by.
    id: u32,
    served: Served,
    /// Modules of its driver, below `kernel/`, in their order.
    modules: &'static [&'static str],
    script: &'static str,
    expect: &'static [Expect],
}

const CASES: &[Case] = &[Case {
    name: "block",
    id: 2,
    // It begins a packed ring as if it had gone round it once: at 0, with both wrap counters 0.
    served: Served::Block {
        queues: 4,
        rings: Rings::Split,
    },
    modules: &["drivers/block/virtio_blk.ko"],
    script: BLOCK,
    expect: &[
        Expect::With(INDIRECT_DESC),
        Expect::With(EVENT_IDX),
        Expect::With(VERSION_1),
        Expect::Is("queues", "1"),
        Expect::Is("sectors", "196608"),
        Expect::Least("files", 100),
    ],
}];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let tools = Tools::find(desk)?;
    let mut rows = Rows::default();
    for case in CASES {
        for server in [Server::StorageDaemon, Server::Ringway] {
            let steps = case.run(desk, &tools, server);
            let did = steps.map(|steps| format!("{steps} steps"));
            rows.add(&format!("{} of {}", case.name, server.name()), did);
        }
    }
    rows.finish(format!("on Linux {}, as a process", tools.uml.version))
}

/// What a case needs.
struct Tools {
    servers: Servers,
    uml: Found,
    busybox: Found,
    mke2fs: Found,
}

impl Tools {
    fn find(desk: &Desk<'_>) -> Result<Self> {
        let find = |tool: &fetch::Tool| tool.find(&desk.run, desk.repo);
        Ok(Self {
            uml: find(&fetch::UML)?,
            busybox: find(&fetch::BUSYBOX)?,
            mke2fs: find(&fetch::E2FSPROGS)?,
            servers: Servers::new(desk)?,
        })
    }
}

/// The folder of the modules of a kernel: packed beside it, by release.
pub(super) fn modules(linux: &Found) -> Result<PathBuf> {
    let program = fs::canonicalize(&linux.program);
    let program = program.map_err(Failure::io("find", &linux.program))?;
    let prefix = program.parent().and_then(Path::parent).unwrap_or(&program);
    let folder = prefix.join("lib/uml/modules");
    let entries = fs::read_dir(&folder).map_err(Failure::io("list", &folder))?;
    let releases = entries.flatten().map(|entry| entry.path().join("kernel"));
    releases
        .filter(|kernel| kernel.is_dir())
        .max()
        .ok_or_else(|| Failure::new(format!("no modules in {}", folder.display())))
}

/// Lines of a script that load drivers, each named below the `folder` of a kernel's modules.
fn load(folder: &Path, modules: &[&str]) -> String {
    let line = |name: &&str| {
        let module = folder.join(name).display().to_string();
        let module = variables(&[("module", &module)]);
        format!("{module}step 'a driver is loaded' insmod \"$module\"\n")
    };
    modules.iter().map(line).collect()
}

/// Has a kernel have the device of type `id` that is served at `socket`.
fn add_device(linux: &mut Command, socket: &Path, id: u32) {
    linux.arg(format!("virtio_uml.device={}:{id}", socket.display()));
}

/// Starts a kernel on the host's root, with a first program, and what is its own in `place`.
pub(super) fn linux(linux: &Found, place: &Path, init: &Path) -> Command {
    let mut command = Command::new(&linux.path);
    command
        .args(["mem=256M", "rootfstype=hostfs", "rootflags=/", "ro"])
        .arg(format!("init={}", init.display()))
        .arg(format!("uml_dir={}", place.display()))
        .args(["con=null", "con0=null,fd:1", "quiet"])
        // Its memory is a file there.
        .env("TMPDIR", place);
    command
}

/// Writes the first program of a guest into `place`: what comes before every script, and `script`.
pub(super) fn write_init(place: &Path, busybox: &Found, script: &str) -> Result<PathBuf> {
    // Where no path has a blank in it: the kernel takes its interpreter from a line of words.
    let own = place.join("busybox");
    fs::copy(&busybox.program, &own).map_err(Failure::io("copy", &own))?;
    let own = own.display().to_string();
    let begin = variables(&[("BUSYBOX", &own), ("OWN", OWN)]);
    let script = format!("#!{own} sh\n{begin}{START}{script}");
    let init = place.join("init");
    fs::write(&init, script).map_err(Failure::io("write", &init))?;
    fetch::executable(&init)?;
    Ok(init)
}

impl Case {
    /// Runs the case over a back-end of `server`, and returns how many steps Linux did.
    fn run(&self, desk: &Desk<'_>, tools: &Tools, server: Server) -> Result<usize> {
        let scratch = Scratch::new("uml")?;
        let place = scratch.path();
        let (image, socket) = (place.join("disk.img"), place.join("device.sock"));
        let made = File::create(&image).and_then(|file| file.set_len(DISK));
        made.map_err(Failure::io("make", &image))?;
        let init = self.write_init(desk, tools, place)?;

        let (servers, served) = (&tools.servers, self.served);
        let backend = servers.start(desk, server, served, &image, &socket)?;
        let mut linux = linux(&tools.uml, place, &init);
        add_device(&mut linux, &socket, self.id);
        let done = desk.run.run(&mut linux, LIMIT);
        let report = done.and_then(|done| check(&done, self.expect));
        let report = report.map_err(|e| backend.explain(e))?;
        backend.finish()?;
        if let Served::Block { .. } = self.served {
            judge_files(&desk.run, &tools.mke2fs.path, &image)?;
        }
        Ok(report.steps.len())
    }

    /// Writes the first program of the guest, and all that it needs, into `place`.
    fn write_init(&self, desk: &Desk<'_>, tools: &Tools, place: &Path) -> Result<PathBuf> {
        let e2fsck = tools.mke2fs.path.with_file_name("e2fsck");
        let tree = desk.repo.join("crates");
        let text = |path: &Path| path.display().to_string();
        let modules = modules(&tools.uml)?;
        let script = format!(
            "{}{REPORT}{}{}finish\n",
            variables(&[
                ("TREE", &text(&tree)),
                ("MKE2FS", &text(&tools.mke2fs.path)),
                ("E2FSCK", &text(&e2fsck)),
                ("DISK", "/dev/vda"),
                ("FILES", &FILES.to_string()),
            ]),
            load(&modules, self.modules),
            self.script,
        );
        write_init(place, &tools.busybox, &script)
    }
}
