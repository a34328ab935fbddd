//! Tools that are programs: where they are looked for, what they answer, and
//! the script that starts an unpacked one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Found, Version};
use crate::child::Runner;
use crate::failure::{Failure, Result};

/// Most time to print a version in.
const VERSION_LIMIT: Duration = Duration::from_secs(60);
/// Where programs of a system are that a user's path need not have.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Where a package has its programs.
const IN_PACKAGE: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// Something to start.
pub(super) struct Program {
    /// What it is called. Those after the first come in the same package, and stand beside it.
    pub(super) programs: &'static [&'static str],
    /// What makes the first say its version, and what it says before that.
    pub(super) ask: &'static [&'static str],
    pub(super) before_version: &'static str,
    /// Folders below its root that it is told of with `-L`.
    pub(super) data: &'static [&'static str],
    /// How it must be linked.
    pub(super) linking: Linking,
}

/// How a program must be linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linking {
    /// In any way.
    Any,
    /// With nothing outside of it: it is put where no library is.
    Static,
}

impl Program {
    /// Where the system may have it.
    pub(super) fn in_system(&self) -> Vec<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(SYSTEM.map(PathBuf::from))
            .map(|folder| folder.join(self.name()))
            .filter(|program| program.is_file())
            .collect()
    }

    /// The script that starts the one that was unpacked at `place`.
    pub(super) fn script(&self, place: &Path) -> PathBuf {
        place.join(self.name())
    }

    /// Runs the one at `path` and asks for its version.
    pub(super) fn try_out(&self, run: &Runner, path: PathBuf) -> Result<Found> {
        let done = run.succeed(Command::new(&path).args(self.ask), VERSION_LIMIT)?;
        let said = String::from_utf8_lossy(&done.log);
        let version = Version::after(self.before_version, &said)
            .ok_or_else(|| Failure::new(format!("{} gives no version", path.display())))?;
        let beside = path.parent().map(|place| place.join("root"));
        let program = beside
            .and_then(|root| unpacked(&root, self.name()))
            .unwrap_or_else(|| path.clone());
        if self.linking == Linking::Static {
            let bytes = fs::read(&program).map_err(Failure::io("read", &program))?;
            if interpreted(&bytes) != Some(false) {
                let program = program.display();
                return Err(Failure::new(format!("{program} is not linked statically")));
            }
        }
        Ok(Found {
            path,
            program,
            version,
        })
    }

    /// Writes the scripts that start the unpacked tool, wherever `made` is moved.
    pub(super) fn wrap(&self, made: &Path) -> Result<()> {
        let root = made.join("root");
        let mut libraries = Vec::new();
        for top in ["usr/lib", "lib"] {
            library_folders(&root.join(top), &mut libraries);
        }
        let libraries: Vec<String> = libraries
            .iter()
            .filter_map(|folder| folder.strip_prefix(made).ok())
            .map(|folder| format!("$here/{}", folder.display()))
            .collect();
        let libraries = libraries.join(":");
        let data = self.data.iter();
        let data: String = data
            .map(|folder| format!("-L \"$here/root/{folder}\" "))
            .collect();
        for name in self.programs {
            let program = unpacked(&root, name)
                .ok_or_else(|| Failure::new(format!("the package has no {name}")))?;
            let program = program.strip_prefix(made).unwrap_or(&program).display();
            let script = format!(
                "#!/bin/sh\n\
                 # Starts the {name} unpacked beside this script.\n\
                 here=$(cd \"${{0%/*}}\" && pwd)\n\
                 LD_LIBRARY_PATH=\"{libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"\n\
                 export LD_LIBRARY_PATH\n\
                 exec \"$here/{program}\" {data}\"$@\"\n",
            );
            let path = made.join(name);
            fs::write(&path, script).map_err(Failure::io("write", &path))?;
            executable(&path)?;
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        self.programs[0]
    }
}

/// Lets everybody start what is at `path`.
#[cfg(unix)]
pub(crate) fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Failure::io("make executable", path))
}

#[cfg(not(unix))]
pub(crate) fn executable(_: &Path) -> Result<()> {
    Err(Failure::new("packages can only be unpacked on Unix"))
}

/// The program `name` of the packages unpacked at `root`.
fn unpacked(root: &Path, name: &str) -> Option<PathBuf> {
    let mut places = IN_PACKAGE.iter().map(|folder| root.join(folder).join(name));
    places.find(|program| program.is_file())
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

/// Whether a 64-bit ELF program asks for an interpreter, which is what loads its libraries. `None`
/// if it is no such program.
fn interpreted(elf: &[u8]) -> Option<bool> {
    /// The kind of a program header that names the interpreter.
    const INTERPRETER: u32 = 3;
    let word = |at: usize| Some(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = u64::from_le_bytes(*elf.get(32..)?.first_chunk()?);
    let table = usize::try_from(table).ok()?;
    let (size, count) = (word(54)?, word(56)?);
    for index in 0..usize::from(count) {
        let header = elf.get(table.checked_add(index * usize::from(size))?..)?;
        if u32::from_le_bytes(*header.first_chunk()?) == INTERPRETER {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const TOOL: Program = Program {
        programs: &["tool", "helper"],
        ask: &["--version"],
        before_version: "tool version ",
        data: &["usr/share/tool", "usr/lib/tool data"],
        linking: Linking::Any,
    };

    fn pretend(program: &Path, script: &str) {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(program, format!("#!/bin/sh\n{script}\n")).unwrap();
        executable(program).unwrap();
    }

    #[test]
    fn the_scripts_find_the_programs_beside_them() {
        let scratch = Scratch::new("wrap").unwrap();
        let made = scratch.path().join("a folder");
        let root = made.join("root");
        pretend(
            &root.join("usr/bin/tool"),
            "echo \"$LD_LIBRARY_PATH|$*|tool version 4.5\"",
        );
        pretend(&root.join("sbin/helper"), "echo helped");
        fs::create_dir_all(root.join("usr/lib/any-linux-gnu/deep")).unwrap();
        fs::write(root.join("usr/lib/any-linux-gnu/deep/libx.so.1"), "").unwrap();

        TOOL.wrap(&made).unwrap();
        let run = Runner::TEST;
        let mut tool = Command::new(made.join("tool"));
        tool.env_remove("LD_LIBRARY_PATH").arg("-M");
        let tool = run.succeed(&mut tool, VERSION_LIMIT).unwrap();
        let helper = run.succeed(&mut Command::new(made.join("helper")), VERSION_LIMIT);

        let said = String::from_utf8(tool.stdout).unwrap();
        let here = made.display();
        assert!(said.starts_with(&format!("{here}/root/usr/lib/any-linux-gnu/deep|-L ")));
        assert!(said.ends_with(&format!(
            "{here}/root/usr/lib/tool data -M|tool version 4.5\n"
        )));
        assert_eq!(helper.unwrap().stdout, b"helped\n");
        let found = TOOL.try_out(&run, made.join("tool")).unwrap();
        assert_eq!(found.program, root.join("usr/bin/tool"));
        assert_eq!(found.version, Version { major: 4, minor: 5 });
    }

    #[test]
    fn a_program_that_is_not_wrapped_is_its_own() {
        let scratch = Scratch::new("own").unwrap();
        let path = scratch.path().join("tool");
        pretend(&path, "echo tool version 4.5");

        let found = TOOL.try_out(&Runner::TEST, path.clone()).unwrap();

        assert_eq!((&found.path, &found.program), (&path, &path));
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let mut elf = [0; 64 + 2 * 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64] = 1;
        let alone = elf;
        elf[64 + 56] = 3;

        assert_eq!(interpreted(&alone), Some(false));
        assert_eq!(interpreted(&elf), Some(true));
        assert_eq!(interpreted(&elf[..64 + 56]), None);
        assert_eq!(interpreted(b"#!/bin/sh"), None);
    }
}
