//! Our driver in a plain process, over the back-ends of others and of ours:
//! `ringway drive`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::linux::Rows;
use super::linux::backend::{Backend, Served, Server, Servers, ringway};
use super::{Desk, pattern};
use crate::failure::{Failure, Result};
use crate::scratch::Scratch;

/// Most time for one command.
const LIMIT: Duration = Duration::from_secs(120);
/// Queues of the disk. A driver need not use them all.
const QUEUES: u16 = 2;
/// Bytes of the disk.
const DISK: u64 = 128 << 20;
/// Bytes of a sector.
const SECTOR: usize = 512;
/// The patterns that a disk has before and after it was written.
const BEFORE: u64 = 1;
const AFTER: u64 = 2;
/// The exit status of `ringway drive` when a disk holds other bytes.
const DIFFERS: i32 = 1;
/// Most time until a driver has written the first of its bytes, and the time between two looks.
const BEGIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let driver = ringway(desk)?;
    let servers = Servers::new(desk)?;
    let mut rows = Rows::default();
    for server in [Server::StorageDaemon, Server::Ringway] {
        let bench = Bench::new(desk, &driver, &servers, server)?;
        let name = server.name();
        rows.add(&format!("{name}, whole"), bench.use_whole());
        rows.add(&format!("{name}, killed"), bench.kill());
    }
    rows.finish(format!("a disk of {} MiB", DISK >> 20))
}

/// A disk, a file to write to it, and who serves it.
struct Bench<'a> {
    desk: &'a Desk<'a>,
    driver: &'a Path,
    servers: &'a Servers,
    server: Server,
    /// Held so that the files are there.
    _scratch: Scratch,
    image: PathBuf,
    other: PathBuf,
    copy: PathBuf,
    socket: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(
        desk: &'a Desk<'a>,
        driver: &'a Path,
        servers: &'a Servers,
        server: Server,
    ) -> Result<Self> {
        let scratch = Scratch::new("drive")?;
        let path = |name| scratch.path().join(name);
        let (image, other) = (path("disk.img"), path("other.img"));
        pattern::write(&other, AFTER, DISK).map_err(Failure::io("write", &other))?;
        Ok(Self {
            desk,
            driver,
            servers,
            server,
            image,
            other,
            copy: path("copy.img"),
            socket: path("disk.sock"),
            _scratch: scratch,
        })
    }

    /// Reads, writes and compares the whole disk, which is looked at from outside, too.
    fn use_whole(&self) -> Result<String> {
        self.lay()?;
        let backend = self.serve()?;
        let used = self.read_write_verify();
        used.map_err(|e| backend.explain(e))?;
        backend.finish()?;
        Ok("read, written and verified".to_owned())
    }

    fn read_write_verify(&self) -> Result<()> {
        self.drive(&["read"], &self.copy, 0)?;
        self.must_hold(&self.copy, BEFORE)?;
        self.drive(&["verify"], &self.copy, 0)?;
        self.drive(&["verify"], &self.other, DIFFERS)?;
        let (copy, other) = (&self.copy, &self.other);
        for (depth, file, seed, before) in [("1", other, AFTER, copy), ("64", copy, BEFORE, other)]
        {
            self.drive(&["write", "--depth", depth], file, 0)?;
            self.must_hold(&self.image, seed)?;
            self.drive(&["verify", "--depth", depth], file, 0)?;
            self.drive(&["verify", "--depth", depth], before, DIFFERS)?;
        }
        Ok(())
    }

    /// Kills the back-end while the disk is being written, and starts another: the driver must not
    /// notice.
    fn kill(&self) -> Result<String> {
        self.lay()?;
        let first = self.serve()?;
        let mut writing = self.command(&["write", "--depth", "64"], &self.other);
        let writing = self.desk.run.start(&mut writing)?;
        let begun = self.wait_for_first();
        first.stop();
        let rest = self.is_written_at(DISK - SECTOR as u64);
        begun.map_err(|e| first.explain(writing.failed(e.what)))?;
        if rest.map_err(Failure::io("read", &self.image))? {
            return Err(Failure::new("the disk was written before it was looked at"));
        }
        first.kill();

        let second = self.serve()?;
        let done = writing.finish(LIMIT).map_err(|e| second.explain(e))?;
        if !done.status.success() {
            return Err(second.explain(Failure {
                what: format!("the driver ended with {}", done.status),
                output: done.log,
            }));
        }
        second.finish()?;
        self.must_hold(&self.image, AFTER)?;
        Ok("written to the end".to_owned())
    }

    /// Puts the bytes on the disk that are there before it is written.
    fn lay(&self) -> Result<()> {
        let laid = pattern::write(&self.image, BEFORE, DISK);
        laid.map_err(Failure::io("write", &self.image))
    }

    fn serve(&self) -> Result<Backend> {
        let served = Served::Block { queues: QUEUES };
        self.servers
            .start(self.desk, self.server, served, &self.image, &self.socket)
    }

    fn command(&self, what: &[&str], file: &Path) -> Command {
        let mut command = Command::new(self.driver);
        command.arg("drive").arg(&self.socket).args(what).arg(file);
        command
    }

    /// Runs the driver, which must end with `status`.
    fn drive(&self, what: &[&str], file: &Path, status: i32) -> Result<()> {
        let mut command = self.command(what, file);
        let done = self.desk.run.run(&mut command, LIMIT)?;
        if done.status.code() == Some(status) {
            return Ok(());
        }
        Err(Failure {
            what: format!("`{}` ended with {}", what.join(" "), done.status),
            output: done.log,
        })
    }

    fn must_hold(&self, file: &Path, seed: u64) -> Result<()> {
        match pattern::holds(file, seed, DISK) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::new(format!(
                "{} holds other bytes",
                file.display()
            ))),
            Err(e) => Err(Failure::io("read", file)(e)),
        }
    }

    /// Waits until the first sector is written, from outside.
    fn wait_for_first(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < BEGIN {
            let written = self.is_written_at(0);
            if written.map_err(Failure::io("read", &self.image))? {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err(Failure::new("writes nothing"))
    }

    /// Whether a sector of the image is what it is in the file to be written.
    fn is_written_at(&self, at: u64) -> io::Result<bool> {
        let (mut is, mut will_be) = ([0; SECTOR], [0; SECTOR]);
        File::open(&self.image)?.read_exact_at(&mut is, at)?;
        File::open(&self.other)?.read_exact_at(&mut will_be, at)?;
        Ok(is == will_be)
    }
}
