//! Tools that Ringway's checks need beyond Rust: taken from the system where
//! it has them, else unpacked below `target/tools`. Nothing is installed.

mod apt;
mod kernel;
mod program;
mod sources;
mod tools;
mod version;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::child::Runner;
use crate::failure::{Failure, Result};
pub(crate) use kernel::modules;
use program::Program;
pub(crate) use program::executable;
pub(crate) use tools::{BUSYBOX, DPDK, E2FSPROGS, IPERF3, LINUX, QEMU, STORAGE_DAEMON, TOOLS, UML};
pub(crate) use version::Version;

/// Where what was fetched is kept, below the repository.
const PLACE: &str = "target/tools";

/// A tool that can be fetched.
pub(crate) struct Tool {
    /// What people type, and the folder that it is unpacked in.
    pub(crate) name: &'static str,
    /// What people call it.
    pub(crate) title: &'static str,
    /// The environment variable that may name another.
    variable: &'static str,
    /// The package that has it. A suite that is ahead of the release is used if `ahead`.
    package: &'static str,
    ahead: bool,
    /// The oldest that will do.
    oldest: Version,
    /// How else to come by it.
    elsewhere: &'static str,
    /// What it is made of.
    kind: Kind,
}

/// What a tool is made of.
enum Kind {
    /// Something to start.
    Program(Program),
    /// A kernel for virtual machines, with its modules.
    Kernel,
}

/// A tool that was tried out and is new enough.
pub(crate) struct Found {
    /// What to start: the program, or the script that starts it. The image, if it is a kernel.
    pub(crate) path: PathBuf,
    /// The program itself. What was packed with it is found from here.
    pub(crate) program: PathBuf,
    /// What it says it is.
    pub(crate) version: Version,
}

impl Tool {
    /// Finds it in the system or among the tools, or fetches it.
    ///
    /// # Errors
    ///
    /// There is none and none could be fetched; the text says what to install.
    pub(crate) fn find(&self, run: &Runner, repo: &Path) -> Result<Found> {
        if let Some(found) = self.at_hand(run, repo) {
            return Ok(found);
        }
        let tools = repo.join(PLACE);
        fs::create_dir_all(&tools).map_err(Failure::io("make", &tools))?;
        let lock = tools.join("lock");
        let lock = File::create(&lock).map_err(Failure::io("make", &lock))?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another fetch");
            lock.lock()
                .map_err(|e| Failure::new(format!("cannot lock {}: {e}", tools.display())))?;
        }
        // Whoever had the lock may have brought it.
        if let Some(found) = self.at_hand(run, repo) {
            return Ok(found);
        }
        let place = self.place(repo);
        let made = place.with_extension("new");
        let fetched = self.fetch(run, &made, &place);
        if fetched.is_err() {
            // The next fetch removes it if this one cannot.
            let _ = remove(&made);
        }
        let Self {
            title,
            oldest,
            elsewhere,
            variable,
            ..
        } = self;
        fetched.map_err(|e| Failure {
            what: format!(
                "no {title} {oldest} or newer here, and it could not be fetched: {e}\n\
                 Install it ({elsewhere}), or name one in {variable}."
            ),
            output: e.output,
        })
    }

    /// Where a fetched one is.
    fn place(&self, repo: &Path) -> PathBuf {
        repo.join(PLACE).join(self.name)
    }

    /// The first of the one that the environment names, the system's and the fetched one that is
    /// new enough.
    fn at_hand(&self, run: &Runner, repo: &Path) -> Option<Found> {
        let named = std::env::var_os(self.variable).map(PathBuf::from);
        let system = match &self.kind {
            Kind::Program(program) => program.in_system(),
            Kind::Kernel => vec![PathBuf::from("/")],
        };
        named
            .into_iter()
            .chain(system)
            .chain([self.entry(&self.place(repo))])
            .find_map(|path| self.try_out(run, path).ok())
    }

    /// Asks the one at `path` for its version: a program, or the root that a kernel is below.
    fn try_out(&self, run: &Runner, path: PathBuf) -> Result<Found> {
        let shown = path.display().to_string();
        let found = match &self.kind {
            Kind::Program(program) => program.try_out(run, path),
            Kind::Kernel => kernel::newest(&path),
        }?;
        let (title, oldest) = (self.title, self.oldest);
        if found.version < oldest {
            let version = found.version;
            return Err(Failure::new(format!(
                "{shown} is {title} {version}, older than {oldest}"
            )));
        }
        Ok(found)
    }

    /// Brings the tool and what it needs to `place`: made at `made`, and renamed when it works, so
    /// that what has the name is whole.
    fn fetch(&self, run: &Runner, made: &Path, place: &Path) -> Result<Found> {
        remove(made)?;
        let root = made.join("root");
        fs::create_dir_all(&root).map_err(Failure::io("make", &root))?;
        apt::unpack(run, self.package, self.ahead, &made.join("apt"), &root)?;
        remove(&made.join("apt"))?;
        if let Kind::Program(program) = &self.kind {
            program.wrap(made)?;
        }
        self.try_out(run, self.entry(made))?;

        remove(place)?;
        fs::rename(made, place).map_err(Failure::io("rename", made))?;
        self.try_out(run, self.entry(place))
    }

    /// What of a fetched one is tried out.
    fn entry(&self, place: &Path) -> PathBuf {
        match &self.kind {
            Kind::Program(program) => program.script(place),
            Kind::Kernel => place.join("root"),
        }
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Failure::io("remove", folder)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn a_qemu_that_is_too_old_is_not_taken() {
        let scratch = Scratch::new("old").unwrap();
        let old = scratch.path().join("qemu-system-x86_64");
        fs::write(&old, "#!/bin/sh\necho QEMU emulator version 6.2.0\n").unwrap();
        executable(&old).unwrap();

        let refused = QEMU.try_out(&Runner::TEST, old).err();

        assert!(refused.unwrap().what.contains("QEMU 6.2, older than 7.2"));
    }
}
