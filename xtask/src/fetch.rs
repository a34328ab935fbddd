//! Tools that Ringway's checks need beyond Rust: taken from the system where
//! it has them, else unpacked below `target/tools`. Nothing is installed.

mod apt;
mod sources;
mod version;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Runner;
use crate::failure::{Failure, Result};
use version::Version;

/// A program that can be fetched.
struct Tool {
    /// What people call it.
    name: &'static str,
    /// The program, and the environment variable that may name another.
    program: &'static str,
    variable: &'static str,
    /// The package that has it. A suite that is ahead of the release is used if `ahead`.
    package: &'static str,
    ahead: bool,
    /// What makes it say its version, and what it says before that.
    ask: &'static [&'static str],
    before_version: &'static str,
    /// The oldest that will do.
    oldest: Version,
    /// Folders below its root that it is told of with `-L`.
    data: &'static [&'static str],
    /// How else to come by it.
    elsewhere: &'static str,
}

/// QEMU, of which the oldest offers the devices as we test them.
const QEMU: Tool = Tool {
    name: "QEMU",
    program: "qemu-system-x86_64",
    variable: "RINGWAY_QEMU",
    package: "qemu-system-x86",
    ahead: true,
    ask: &["--version"],
    before_version: "QEMU emulator version ",
    oldest: Version { major: 7, minor: 2 },
    data: &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"],
    elsewhere: "Debian, Ubuntu: qemu-system-x86; Fedora: qemu-system-x86-core; \
                Arch: qemu-system-x86; macOS: qemu",
};

/// DPDK's packet forwarder, of which the oldest is the one that we compare ourselves with.
const DPDK: Tool = Tool {
    name: "DPDK",
    program: "dpdk-testpmd",
    variable: "RINGWAY_TESTPMD",
    package: "dpdk-dev",
    ahead: false,
    ask: &["-v", "--help"],
    before_version: "RTE Version: 'DPDK ",
    oldest: Version {
        major: 22,
        minor: 11,
    },
    data: &[],
    elsewhere: "Debian, Ubuntu: dpdk-dev; Fedora, Arch: dpdk",
};

/// Most time to print a version in.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// A tool that was run and is new enough.
pub(crate) struct Found {
    /// The program, or the script that starts it.
    pub(crate) path: PathBuf,
    /// What it says it is.
    pub(crate) version: Version,
}

/// Finds QEMU in the system or among the tools, or fetches it.
///
/// # Errors
///
/// There is none and none could be fetched; the text says what to install.
pub(crate) fn qemu(run: &Runner, repo: &Path) -> Result<Found> {
    QEMU.find(run, repo)
}

/// Finds DPDK's packet forwarder, as [`qemu`] finds QEMU.
///
/// # Errors
///
/// As [`qemu`].
pub(crate) fn dpdk(run: &Runner, repo: &Path) -> Result<Found> {
    DPDK.find(run, repo)
}

impl Tool {
    fn find(&self, run: &Runner, repo: &Path) -> Result<Found> {
        if let Some(found) = self.at_hand(run, repo) {
            return Ok(found);
        }
        let tools = repo.join("target/tools");
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
            name,
            oldest,
            elsewhere,
            variable,
            ..
        } = self;
        fetched.map_err(|e| Failure {
            what: format!(
                "no {name} {oldest} or newer here, and it could not be fetched: {e}\n\
                 Install it ({elsewhere}), or name one in {variable}."
            ),
            output: e.output,
        })
    }

    /// Where a fetched one is.
    fn place(&self, repo: &Path) -> PathBuf {
        repo.join("target/tools")
            .join(self.name.to_ascii_lowercase())
    }

    /// The first of the one that the environment names, those in the path and the fetched one that
    /// is new enough.
    fn at_hand(&self, run: &Runner, repo: &Path) -> Option<Found> {
        let named = std::env::var_os(self.variable).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join(self.program));
        named
            .into_iter()
            .chain(in_path)
            .chain([self.place(repo).join(self.program)])
            .filter(|path| path.is_file())
            .find_map(|path| self.try_out(run, path).ok())
    }

    /// Runs the one at `path` and asks for its version.
    fn try_out(&self, run: &Runner, path: PathBuf) -> Result<Found> {
        let (name, oldest) = (self.name, self.oldest);
        let done = run.succeed(Command::new(&path).args(self.ask), VERSION_LIMIT)?;
        let said = String::from_utf8_lossy(&done.log);
        let version = Version::after(self.before_version, &said)
            .ok_or_else(|| Failure::new(format!("{} gives no version", path.display())))?;
        if version < oldest {
            let path = path.display();
            return Err(Failure::new(format!(
                "{path} is {name} {version}, older than {oldest}"
            )));
        }
        Ok(Found { path, version })
    }

    /// Brings the tool and what it needs to `place`: made at `made`, and renamed when it works, so
    /// that what has the name is whole.
    fn fetch(&self, run: &Runner, made: &Path, place: &Path) -> Result<Found> {
        remove(made)?;
        let root = made.join("root");
        fs::create_dir_all(&root).map_err(Failure::io("make", &root))?;
        apt::unpack(run, self.package, self.ahead, &made.join("apt"), &root)?;
        remove(&made.join("apt"))?;
        self.wrap(made, &root)?;
        self.try_out(run, made.join(self.program))?;

        remove(place)?;
        fs::rename(made, place).map_err(Failure::io("rename", made))?;
        self.try_out(run, place.join(self.program))
    }

    /// Writes the script that starts the unpacked tool, wherever it is moved.
    fn wrap(&self, made: &Path, root: &Path) -> Result<()> {
        let mut libraries = Vec::new();
        for top in ["usr/lib", "lib"] {
            library_folders(&root.join(top), &mut libraries);
        }
        let libraries: Vec<String> = libraries
            .iter()
            .filter_map(|folder| folder.strip_prefix(made).ok())
            .map(|folder| format!("$here/{}", folder.display()))
            .collect();
        let data = self.data.iter();
        let data: String = data
            .map(|folder| format!("-L \"$here/root/{folder}\" "))
            .collect();
        let (name, program) = (self.name, self.program);
        let script = format!(
            "#!/bin/sh\n\
             # Starts the {name} unpacked beside this script.\n\
             here=$(cd \"${{0%/*}}\" && pwd)\n\
             LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
             export LD_LIBRARY_PATH\n\
             exec \"$here/root/usr/bin/{program}\" {data}\"$@\"\n",
            libraries.join(":")
        );
        let path = made.join(program);
        fs::write(&path, script).map_err(Failure::io("write", &path))?;
        executable(&path)
    }
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Failure::io("make executable", path))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Err(Failure::new("packages can only be unpacked on Unix"))
}

/// Adds each folder under `top` that holds a shared library.
fn library_folders(top: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(top) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.contains(".so.") || name.ends_with(".so")
    };
    if paths.iter().any(library) {
        found.push(top.to_path_buf());
    }
    for path in paths {
        if path.is_dir() && !path.is_symlink() {
            library_folders(&path, found);
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
    fn the_script_finds_the_program_beside_it() {
        let scratch = Scratch::new("wrap").unwrap();
        let made = scratch.path().join("a folder");
        let root = made.join("root");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("usr/lib/any-linux-gnu/deep")).unwrap();
        fs::write(root.join("usr/lib/any-linux-gnu/deep/libx.so.1"), "").unwrap();
        let program = root.join("usr/bin").join(QEMU.program);
        fs::write(&program, "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$*\"\n").unwrap();
        executable(&program).unwrap();

        QEMU.wrap(&made, &root).unwrap();
        let run = Runner::TEST;
        let mut command = Command::new(made.join(QEMU.program));
        let done = run.succeed(
            command.env_remove("LD_LIBRARY_PATH").arg("-M"),
            VERSION_LIMIT,
        );

        let said = String::from_utf8(done.unwrap().stdout).unwrap();
        let here = made.display();
        assert!(said.starts_with(&format!("{here}/root/usr/lib/any-linux-gnu/deep|-L ")));
        assert!(said.ends_with(&format!("{here}/root/usr/lib/ipxe/qemu -M\n")));
    }

    #[test]
    fn a_qemu_that_is_too_old_is_not_taken() {
        let scratch = Scratch::new("old").unwrap();
        let old = scratch.path().join(QEMU.program);
        fs::write(&old, "#!/bin/sh\necho QEMU emulator version 6.2.0\n").unwrap();
        executable(&old).unwrap();

        let refused = QEMU.try_out(&Runner::TEST, old).err();

        assert!(refused.unwrap().what.contains("QEMU 6.2, older than 7.2"));
    }
}
