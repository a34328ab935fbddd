//! What serves a device over vhost-user, ours or another's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::{Running, Signal};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::pieces::Desk;
use crate::pieces::cargo::{self, cargo};

/// Most time until a back-end listens, and until it ends when it is told to.
const LIMIT: Duration = Duration::from_secs(30);

/// Whose back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Server {
    /// Ours.
    Ringway,
    /// QEMU's, of block devices. What it fails is no fault of ours, but may be one of the piece.
    StorageDaemon,
    /// Ours, on a disk that is slow, less what it forgets (`tests/forgetful`).
    Forgetful(Forgetful),
}

/// A back-end that is slow, and forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) struct Forgetful {
    pub(in crate::pieces) forgets: Forgets,
    /// How long every third request takes, in milliseconds.
    pub(in crate::pieces) late: u16,
}

/// What a back-end forgets to write down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Forgets {
    /// Nothing: it is there to tell what comes of being slow.
    Nothing,
    /// Which pages it has written to.
    Log,
    /// What is in flight.
    Records,
}

/// The formats of rings that a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Rings {
    /// Both, for the driver to choose.
    Both,
    /// Split ones alone, for a front-end that cannot start others.
    Split,
}

/// What is served.
#[derive(Clone, Copy, Debug)]
pub(in crate::pieces) enum Served {
    /// A disk in an image, with so many queues.
    Block { queues: u16, rings: Rings },
    /// A source of random bytes.
    Entropy,
}

/// The programs that serve.
pub(in crate::pieces) struct Servers {
    ringway: PathBuf,
    daemon: PathBuf,
    /// Absent where nothing is to be forgotten.
    forgetful: Option<PathBuf>,
}

/// A back-end that listens.
pub(in crate::pieces) struct Backend {
    running: Running,
    server: Server,
}

impl Server {
    /// What people call it.
    pub(in crate::pieces) fn name(self) -> &'static str {
        match self {
            Self::Ringway => "ringway",
            Self::StorageDaemon => "qemu-storage-daemon",
            Self::Forgetful(_) => "ringway-forgetful",
        }
    }
}

impl Servers {
    /// Builds ours, and finds the other.
    ///
    /// # Errors
    ///
    /// One of them cannot be had.
    pub(in crate::pieces) fn new(desk: &Desk<'_>) -> Result<Self> {
        Ok(Self {
            ringway: ringway(desk)?,
            daemon: fetch::STORAGE_DAEMON.find(&desk.run, desk.repo)?.path,
            forgetful: None,
        })
    }

    /// These, and the one that forgets, which is built.
    ///
    /// # Errors
    ///
    /// It does not build.
    pub(in crate::pieces) fn with_forgetful(self, desk: &Desk<'_>) -> Result<Self> {
        let name = "ringway-forgetful";
        let build = ["build", "--locked", "--release", "-p", name];
        desk.run.succeed(&mut cargo(desk, &build), cargo::LIMIT)?;
        let forgetful = Some(desk.repo.join("target/release").join(name));
        Ok(Self { forgetful, ..self })
    }

    /// Starts a back-end that listens at `socket`, and serves `image` if it is a disk.
    ///
    /// # Errors
    ///
    /// It does not come to listen.
    pub(in crate::pieces) fn start(
        &self,
        desk: &Desk<'_>,
        server: Server,
        served: Served,
        image: &Path,
        socket: &Path,
    ) -> Result<Backend> {
        // One that was killed leaves its socket behind.
        if let Err(e) = fs::remove_file(socket)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::io("remove", socket)(e));
        }
        let command = self.command(server, served, image, socket)?;
        Backend::listen(desk, server, command, &[socket])
    }

    fn command(
        &self,
        server: Server,
        served: Served,
        image: &Path,
        socket: &Path,
    ) -> Result<Command> {
        let (image, socket) = (image.display(), socket.display());
        let command = match (server, served) {
            (Server::Ringway, Served::Block { queues, rings }) => {
                let mut command = Command::new(&self.ringway);
                let queues = queues.to_string();
                command
                    // A machine that moves has it at both ends.
                    .args(["serve", "blk", "--no-lock", "--image", &image.to_string()])
                    .args(["--queues", &queues, "--vhost-user", &socket.to_string()]);
                if rings == Rings::Split {
                    command.args(["--ring", "split"]);
                }
                command
            }
            (Server::Ringway, Served::Entropy) => {
                let mut command = Command::new(&self.ringway);
                command.args(["serve", "entropy", "--vhost-user", &socket.to_string()]);
                command
            }
            (Server::StorageDaemon, Served::Block { queues, .. }) => {
                let mut command = Command::new(&self.daemon);
                let file = format!(
                    "driver=file,filename={image},node-name=disk,discard=unmap,locking=off"
                );
                let export = format!(
                    "type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,\
                     addr.path={socket},writable=on,num-queues={queues}"
                );
                command.args(["--blockdev", &file, "--export", &export]);
                command
            }
            // It has none: it says so, and ends.
            (Server::StorageDaemon, Served::Entropy) => {
                let mut command = Command::new(&self.daemon);
                command.args(["--export", "type=vhost-user-rng,id=export"]);
                command
            }
            (Server::Forgetful(Forgetful { forgets, late }), Served::Block { queues, .. }) => {
                let mut command = Command::new(self.forgetful()?);
                let queues = queues.to_string();
                command.args([forgets.word(), &late.to_string()]);
                command.args([&image.to_string(), &queues]);
                command.arg(socket.to_string());
                command
            }
            (Server::Forgetful(_), Served::Entropy) => {
                return Err(Failure::new(
                    "nothing of an entropy device can be forgotten",
                ));
            }
        };
        Ok(command)
    }

    fn forgetful(&self) -> Result<&Path> {
        let built = self.forgetful.as_deref();
        built.ok_or_else(|| Failure::new("the back-end that forgets was not built"))
    }
}

impl Forgets {
    fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Log => "log",
            Self::Records => "records",
        }
    }
}

impl Backend {
    /// Starts one, which is to listen at these sockets.
    ///
    /// # Errors
    ///
    /// It does not come to listen.
    pub(in crate::pieces) fn listen(
        desk: &Desk<'_>,
        server: Server,
        mut command: Command,
        sockets: &[&Path],
    ) -> Result<Self> {
        let mut running = desk.run.start(&mut command)?;
        let all = |_: &str| sockets.iter().all(|socket| socket.exists());
        running.wait_until("listen", LIMIT, all)?;
        Ok(Self { running, server })
    }

    /// What it has printed.
    pub(in crate::pieces) fn log(&self) -> String {
        self.running.log()
    }

    /// Has it stand still, so that what is in flight stays there.
    pub(in crate::pieces) fn stop(&self) {
        self.running.signal(Signal::Stop);
    }

    /// Ends it at once, with no chance to clean up.
    pub(in crate::pieces) fn kill(self) {
        drop(self);
    }

    /// Tells it to end, which it must do well.
    ///
    /// # Errors
    ///
    /// It does not end, or ended badly.
    pub(in crate::pieces) fn finish(self) -> Result<()> {
        if let Server::Forgetful(_) = self.server {
            // It serves for as long as it is let.
            self.kill();
            return Ok(());
        }
        self.running.signal(Signal::Terminate);
        let done = self.running.finish(LIMIT)?;
        if done.status.success() {
            return Ok(());
        }
        Err(Failure {
            what: format!("the back-end ended with {}", done.status),
            output: done.log,
        })
    }

    /// Adds what it has printed to a failure of those that it served.
    pub(in crate::pieces) fn explain(&self, failure: Failure) -> Failure {
        let mut output = failure.output;
        output.extend_from_slice(b"\nthe back-end's log:\n");
        output.extend_from_slice(self.running.log().as_bytes());
        Failure { output, ..failure }
    }
}

/// Builds the `ringway` command, and says where it is.
///
/// # Errors
///
/// It does not build.
pub(crate) fn ringway(desk: &Desk<'_>) -> Result<PathBuf> {
    let build = ["build", "--locked", "--release", "-p", "ringway"];
    desk.run.succeed(&mut cargo(desk, &build), cargo::LIMIT)?;
    Ok(desk.repo.join("target/release/ringway"))
}
