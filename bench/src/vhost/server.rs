//! Back-ends: processes that end with their owners.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Programs, What};

/// Most time until one listens.
const LIMIT: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of the disk that is not there, and of the image.
const NULL_BYTES: u64 = 1 << 30;
const IMAGE_BYTES: u64 = 64 << 20;
/// The thread of qemu-storage-daemon's that serves, as its documentation has it.
const THREAD: &str = "iothread,id=thread";

/// A back-end that listens.
pub(super) struct Server {
    child: Child,
}

/// A disk behind a socket.
pub(super) struct Export {
    pub(super) socket: PathBuf,
    /// Who serves it, unless that is who serves the other one.
    pub(super) server: Option<Server>,
}

/// Starts what serves a group of cases, on the processor of this thread: for us, and for the peer.
pub(super) fn start(what: What, programs: &Programs) -> Result<(Export, Export), Box<dyn Error>> {
    let socket = |party| programs.folder.join(format!("{}-{party}", what.name()));
    let (ours, theirs) = (socket("ours"), socket("theirs"));
    let (mut ringway, mut daemon) = (
        Command::new(&programs.ringway),
        Command::new(&programs.daemon),
    );
    daemon.args(["--object", THREAD]);
    ringway.args(["serve", "blk", "--vhost-user"]).arg(&ours);
    match what {
        What::Driver => {
            for (node, socket) in [("ours", &ours), ("theirs", &theirs)] {
                null(&mut daemon, node);
                export(&mut daemon, node, socket);
            }
            let server = Server::start(&mut daemon, &[&ours, &theirs])?;
            let ours = Export {
                socket: ours,
                server: Some(server),
            };
            let theirs = Export {
                socket: theirs,
                server: None,
            };
            return Ok((ours, theirs));
        }
        What::Null => {
            ringway.arg("--null").arg(NULL_BYTES.to_string());
            null(&mut daemon, "theirs");
        }
        What::Raw => {
            let image = image(&programs.memory)?;
            // Both have it.
            ringway.arg("--no-lock").arg("--image").arg(&image);
            daemon.arg("--blockdev").arg(format!(
                "driver=file,node-name=theirs,filename={},aio=io_uring,cache.direct=off,\
                 locking=off",
                image.display()
            ));
        }
    }
    export(&mut daemon, "theirs", &theirs);
    let start = |command: &mut Command, socket: PathBuf| {
        let server = Some(Server::start(command, &[&socket])?);
        Ok::<_, Box<dyn Error>>(Export { socket, server })
    };
    Ok((start(&mut ringway, ours)?, start(&mut daemon, theirs)?))
}

fn null(daemon: &mut Command, node: &str) {
    daemon.arg("--blockdev").arg(format!(
        "driver=null-co,node-name={node},size={NULL_BYTES},read-zeroes=off"
    ));
}

fn export(daemon: &mut Command, node: &str, socket: &Path) {
    daemon.arg("--export").arg(format!(
        "type=vhost-user-blk,id={node}-export,node-name={node},iothread=thread,writable=on,\
         addr.type=unix,addr.path={}",
        socket.display()
    ));
}

/// An image whose every page is there.
fn image(memory: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = memory.join("disk.img");
    let byte = |at: u64| (at >> 9) as u8 | 1;
    fs::write(&path, (0..IMAGE_BYTES).map(byte).collect::<Vec<u8>>())?;
    Ok(path)
}

impl Server {
    /// Starts one, and waits until it listens at all `sockets`.
    fn start(command: &mut Command, sockets: &[&Path]) -> Result<Self, Box<dyn Error>> {
        for socket in sockets {
            // Left by one that was ended before.
            let _ = fs::remove_file(socket);
        }
        let log = sockets.first().map(|socket| socket.with_extension("log"));
        let log = log.ok_or("a server needs a socket")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn();
        let program = command.get_program().to_string_lossy();
        let child = child.map_err(|e| format!("cannot start {program}: {e}"))?;
        let (mut server, start) = (Self { child }, Instant::now());
        while !sockets.iter().all(|socket| socket.exists()) {
            let ended = server.child.try_wait()?;
            if ended.is_some() || start.elapsed() > LIMIT {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{program} does not listen:\n{log}").into());
            }
            thread::sleep(LOOK);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to save. One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
