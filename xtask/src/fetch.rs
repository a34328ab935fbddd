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

/// The oldest QEMU that offers the devices as we test them.
const OLDEST: Version = Version { major: 7, minor: 2 };
/// The program.
const PROGRAM: &str = "qemu-system-x86_64";
/// The package that has it.
const PACKAGE: &str = "qemu-system-x86";
/// Most time to print a version in.
const VERSION_LIMIT: Duration = Duration::from_secs(60);

/// A QEMU that was run and is new enough.
pub(crate) struct Qemu {
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
pub(crate) fn qemu(run: &Runner, repo: &Path) -> Result<Qemu> {
    if let Some(found) = at_hand(run, repo) {
        return Ok(found);
    }
    let tools = repo.join("target/tools");
    fs::create_dir_all(&tools).map_err(Failure::io("make", &tools))?;
    let lock = tools.join("lock");
    let lock = File::create(&lock).map_err(Failure::io("make", &lock))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another fetch of QEMU");
        lock.lock()
            .map_err(|e| Failure::new(format!("cannot lock {}: {e}", tools.display())))?;
    }
    // Whoever had the lock may have brought it.
    if let Some(found) = at_hand(run, repo) {
        return Ok(found);
    }
    let (made, place) = (tools.join("qemu.new"), tools.join("qemu"));
    let fetched = fetch(run, &made, &place);
    if fetched.is_err() {
        // The next fetch removes it if this one cannot.
        let _ = remove(&made);
    }
    fetched.map_err(|e| Failure {
        what: format!(
            "no QEMU {OLDEST} or newer here, and it could not be fetched: {e}\n\
             Install it (Debian, Ubuntu: {PACKAGE}; Fedora: qemu-system-x86-core; \
             Arch: qemu-system-x86; macOS: qemu), or name one in RINGWAY_QEMU."
        ),
        output: e.output,
    })
}

/// The first QEMU of `RINGWAY_QEMU`, the path and the tools that is new enough.
fn at_hand(run: &Runner, repo: &Path) -> Option<Qemu> {
    let named = std::env::var_os("RINGWAY_QEMU").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    let fetched = repo.join("target/tools/qemu").join(PROGRAM);
    named
        .into_iter()
        .chain(in_path)
        .chain([fetched])
        .filter(|path| path.is_file())
        .find_map(|path| try_out(run, path).ok())
}

/// Runs the QEMU at `path` and asks for its version.
fn try_out(run: &Runner, path: PathBuf) -> Result<Qemu> {
    let done = run.succeed(Command::new(&path).arg("--version"), VERSION_LIMIT)?;
    let said = String::from_utf8_lossy(&done.stdout);
    let version = Version::of_qemu(&said)
        .ok_or_else(|| Failure::new(format!("{} gives no version", path.display())))?;
    if version < OLDEST {
        return Err(Failure::new(format!(
            "{} is QEMU {version}, older than {OLDEST}",
            path.display()
        )));
    }
    Ok(Qemu { path, version })
}

/// Brings QEMU and what it needs to `place`: made at `made`, and renamed when
/// it works, so that what has the name is whole.
fn fetch(run: &Runner, made: &Path, place: &Path) -> Result<Qemu> {
    remove(made)?;
    let root = made.join("root");
    fs::create_dir_all(&root).map_err(Failure::io("make", &root))?;
    apt::unpack(run, PACKAGE, &made.join("apt"), &root)?;
    remove(&made.join("apt"))?;
    wrap(made, &root)?;
    try_out(run, made.join(PROGRAM))?;

    remove(place)?;
    fs::rename(made, place).map_err(Failure::io("rename", made))?;
    try_out(run, place.join(PROGRAM))
}

/// Writes the script that starts the unpacked QEMU, wherever it is moved.
fn wrap(made: &Path, root: &Path) -> Result<()> {
    let mut libraries = Vec::new();
    for top in ["usr/lib", "lib"] {
        library_folders(&root.join(top), &mut libraries);
    }
    let libraries: Vec<String> = libraries
        .iter()
        .filter_map(|folder| folder.strip_prefix(made).ok())
        .map(|folder| format!("$here/{}", folder.display()))
        .collect();
    let script = format!(
        "#!/bin/sh\n\
         # Starts the QEMU unpacked beside this script.\n\
         here=$(cd \"${{0%/*}}\" && pwd)\n\
         LD_LIBRARY_PATH=\"{}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
         export LD_LIBRARY_PATH\n\
         exec \"$here/root/usr/bin/{PROGRAM}\" \\\n    \
         -L \"$here/root/usr/share/qemu\" \\\n    \
         -L \"$here/root/usr/share/seabios\" \\\n    \
         -L \"$here/root/usr/lib/ipxe/qemu\" \"$@\"\n",
        libraries.join(":")
    );
    let path = made.join(PROGRAM);
    fs::write(&path, script).map_err(Failure::io("write", &path))?;
    executable(&path)
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
        let program = root.join("usr/bin").join(PROGRAM);
        fs::write(&program, "#!/bin/sh\necho \"$LD_LIBRARY_PATH|$*\"\n").unwrap();
        executable(&program).unwrap();

        wrap(&made, &root).unwrap();
        let run = Runner::TEST;
        let mut command = Command::new(made.join(PROGRAM));
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
        let old = scratch.path().join(PROGRAM);
        fs::write(&old, "#!/bin/sh\necho QEMU emulator version 6.2.0\n").unwrap();
        executable(&old).unwrap();

        let refused = try_out(&Runner::TEST, old).err();

        assert!(refused.unwrap().what.contains("QEMU 6.2, older than 7.2"));
    }
}
