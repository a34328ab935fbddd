//! Our driver in a plain process, over the back-ends of others and of ours:
//! `ringway drive`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::linux::Rows;
use super::linux::backend::{Backend, Rings, Served, Server, Servers, ringway};
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
/// The exit status of `ringway drive` when a disk holds other bytes.
const DIFFERS: i32 = 1;
/// How often a disk may be written faster than we can look.
const TRIES: usize = 10;
/// Most time until a driver has written the first of its bytes, and the time between two looks.
const BEGIN: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(1);

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let driver = ringway(desk)?;
    let servers = Servers::new(desk)?;
    let scratch = Scratch::new("drive")?;
    let path = |name| scratch.path().join(name);
    let (before, after) = (path("before.img"), path("after.img"));
    for (file, seed) in [(&before, 1), (&after, 2)] {
        pattern::write(file, seed, DISK).map_err(Failure::io("write", file))?;
    }
    let mut rows = Rows::default();
    for server in [Server::StorageDaemon, Server::Ringway] {
        let bench = Bench {
            desk,
            driver: &driver,
            servers: &servers,
            server,
            before: &before,
            after: &after,
            image: path("disk.img"),
            copy: path("copy.img"),
            socket: path("disk.sock"),
        };
        let name = server.name();
        rows.add(&format!("{name}, whole"), bench.use_whole());
        rows.add(&format!("{name}, killed"), bench.kill());
    }
    rows.finish(format!("a disk of {} MiB", DISK >> 20))
}

/// A disk, what it holds before and after it was written, and who serves it.
struct Bench<'a> {
    desk: &'a Desk<'a>,
    driver: &'a Path,
    servers: &'a Servers,
    server: Server,
    before: &'a Path,
    after: &'a Path,
    image: PathBuf,
    copy: PathBuf,
    socket: PathBuf,
}

impl Bench<'_> {
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
        must_be_same(&self.copy, self.before)?;
        let (before, after) = (self.before, self.after);
        for (depth, is, will_be) in [("1", before, after), ("64", after, before)] {
            self.drive(&["verify", "--depth", depth], is, 0)?;
            self.drive(&["verify", "--depth", depth], will_be, DIFFERS)?;
            self.drive(&["write", "--depth", depth], will_be, 0)?;
            must_be_same(&self.image, will_be)?;
        }
        Ok(())
    }

    /// Kills the back-end while the disk is being written, and starts another: the driver must not
    /// notice.
    fn kill(&self) -> Result<String> {
        for _ in 0..TRIES {
            if self.kill_in_time()? {
                return Ok("written to the end".to_owned());
            }
        }
        Err(Failure::new(
            "the disk was always written before its back-end could be killed",
        ))
    }

    /// Does so, unless the disk was written before that.
    fn kill_in_time(&self) -> Result<bool> {
        self.lay()?;
        let first = self.serve()?;
        // A back-end whose successor does not know what was in flight is right one request at a time.
        let depth = match self.server {
            Server::Ringway | Server::Forgetful(_) => "64",
            Server::StorageDaemon => "1",
        };
        let mut writing = self.command(&["write", "--depth", depth], self.after);
        let writing = self.desk.run.start(&mut writing)?;
        let begun = self.wait_for_first();
        first.stop();
        begun.map_err(|e| first.explain(writing.failed(e.what)))?;
        let last = self.is_written_at(DISK - SECTOR as u64);
        let in_time = !last.map_err(Failure::io("read", &self.image))?;
        first.kill();

        let second = self.serve()?;
        let done = writing.finish(LIMIT).map_err(|e| second.explain(e))?;
        if in_time && !done.status.success() {
            return Err(second.explain(Failure {
                what: format!("the driver ended with {}", done.status),
                output: done.log,
            }));
        }
        second.finish()?;
        if in_time {
            must_be_same(&self.image, self.after)?;
        }
        Ok(in_time)
    }

    /// Puts the bytes on the disk that are there before it is written.
    fn lay(&self) -> Result<()> {
        let laid = fs::copy(self.before, &self.image);
        laid.map(drop).map_err(Failure::io("write", &self.image))
    }

    fn serve(&self) -> Result<Backend> {
        let served = Served::Block {
            queues: QUEUES,
            rings: Rings::Both,
        };
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
        File::open(self.after)?.read_exact_at(&mut will_be, at)?;
        Ok(is == will_be)
    }
}

fn must_be_same(file: &Path, other: &Path) -> Result<()> {
    let [is, must_be] = [file, other].map(|file| fs::read(file).map_err(Failure::io("read", file)));
    if is? == must_be? {
        return Ok(());
    }
    let (file, other) = (file.display(), other.display());
    Err(Failure::new(format!("{file} is not {other}")))
}
