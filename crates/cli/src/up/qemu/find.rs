//! Where QEMU is, and the image to run in it.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

/// The program.
const PROGRAM: &str = "qemu-system-x86_64";

/// The variable that names one.
const VARIABLE: &str = "RINGWAY_QEMU";

/// Where a checkout has its tools, and the image's manifest and the image.
const TOOLS: &str = "target/tools/qemu";
const MANIFEST: &str = "guest/Cargo.toml";
const TARGET: &str = "guest/target";
const IMAGE: &str = "guest/target/release/ringway-guest";

/// What an executable begins with.
const ELF: [u8; 4] = *b"\x7fELF";

/// The QEMU at `named`, or else one that is found.
pub(super) fn program(named: Option<&Path>) -> Result<PathBuf> {
    let named = named.map(Path::to_path_buf);
    let variable = || env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let program = named
        .or_else(|| variable().map(PathBuf::from))
        .or_else(|| search(env::var_os("PATH"), checkout()))
        .ok_or_else(|| {
            Refusal::new(format_args!(
                "there is no QEMU: install {PROGRAM}, name it with --qemu FILE or in {VARIABLE}, or run `cargo xtask fetch qemu` in the checkout"
            ))
        })?;
    try_out(&program)?;
    Ok(program)
}

/// The image at `named`, or else one that is built.
pub(super) fn image(named: Option<&Path>, progress: &Progress) -> Result<PathBuf> {
    if let Some(path) = named {
        return check(path).map(|()| path.to_path_buf());
    }
    let checkout = checkout().ok_or_else(|| {
        Refusal::new(
            "there is no image to run: name it with --image FILE, or run in a checkout of Ringway, where it is built",
        )
    })?;
    build(&checkout, progress)?;
    let image = checkout.join(IMAGE);
    check(&image).map(|()| image)
}

/// The checkout around the current directory.
fn checkout() -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    let around = here
        .ancestors()
        .find(|folder| folder.join(MANIFEST).is_file());
    around.map(Path::to_path_buf)
}

/// Looks for QEMU on the path, and then among the tools of a checkout.
fn search(path: Option<OsString>, checkout: Option<PathBuf>) -> Option<PathBuf> {
    env::split_paths(&path.unwrap_or_default())
        .filter(|folder| !folder.as_os_str().is_empty())
        .chain(checkout.map(|checkout| checkout.join(TOOLS)))
        .map(|folder| folder.join(PROGRAM))
        .find(|program| program.is_file())
}

/// Has QEMU say that it is QEMU.
fn try_out(program: &Path) -> Result<()> {
    let said = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output();
    let why = match said {
        Ok(said) if said.status.success() && said.stdout.starts_with(b"QEMU emulator") => {
            return Ok(());
        }
        Ok(said) if said.status.success() => "it does not say that it is QEMU".to_owned(),
        Ok(said) => format!("it ends with {}", said.status),
        Err(error) => error.to_string(),
    };
    Err(Refusal::new(format_args!(
        "{} cannot be run: {why}: name {PROGRAM} with --qemu FILE or in {VARIABLE}",
        program.display()
    )))
}

/// Finds that an image is an executable.
fn check(path: &Path) -> Result<()> {
    let mut start = [0; ELF.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let why = match read {
        Ok(()) if start == ELF => return Ok(()),
        Ok(()) => "it is no ELF executable".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it is no ELF executable".to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(Refusal::new(format_args!(
        "{} cannot be used as the image: {why}: build it with `cargo build --release --manifest-path {MANIFEST}`",
        path.display()
    )))
}

/// Builds the image. Cargo shows how it goes, where somebody looks.
fn build(checkout: &Path, progress: &Progress) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--manifest-path", MANIFEST])
        .args(["--target-dir", TARGET])
        .current_dir(checkout)
        .stdin(Stdio::null());
    progress.begin("building the bare-metal image".to_owned());
    let built = if io::stderr().is_terminal() {
        command.stdout(io::stderr()).stderr(Stdio::inherit());
        progress.pause(|| command.status().map(|status| (status, Vec::new())))
    } else {
        command.output().map(|done| (done.status, done.stderr))
    };
    let why = match built {
        Ok((status, _)) if status.success() => return Ok(()),
        Ok((status, said)) => first_error(&said).unwrap_or_else(|| status.to_string()),
        Err(error) => error.to_string(),
    };
    Err(Refusal::new(format_args!(
        "the image cannot be built: {why}: see `cargo build --release --manifest-path {MANIFEST}`"
    )))
}

/// The first line of what cargo says that is about an error.
fn first_error(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let error = said.lines().find(|line| line.starts_with("error"));
    error.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refusal(result: Result<()>) -> String {
        let line = result.unwrap_err().to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }

    #[test]
    fn the_path_is_searched_before_the_tools_of_the_checkout() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, tools) = (folder.path().join("bin"), folder.path().join(TOOLS));
        for place in [&bin, &tools] {
            fs::create_dir_all(place).unwrap();
        }
        let path = || Some(bin.clone().into_os_string());
        let checkout = || Some(folder.path().to_path_buf());

        assert_eq!(search(path(), checkout()), None);
        fs::write(tools.join(PROGRAM), "").unwrap();
        assert_eq!(search(path(), checkout()), Some(tools.join(PROGRAM)));
        assert_eq!(search(path(), None), None);
        fs::write(bin.join(PROGRAM), "").unwrap();
        assert_eq!(search(path(), checkout()), Some(bin.join(PROGRAM)));
        assert_eq!(search(None, None), None);
    }

    #[test]
    fn a_program_that_is_no_qemu_is_refused() {
        let absent = refusal(try_out(Path::new("/no/such/qemu")));
        let other = refusal(try_out(Path::new("true")));

        assert!(absent.contains("/no/such/qemu") && absent.contains("--qemu"));
        assert!(other.contains("does not say that it is QEMU"), "{other}");
    }

    #[test]
    fn an_image_that_is_no_executable_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");

        let absent = refusal(check(&path));
        fs::write(&path, "x").unwrap();
        let short = refusal(check(&path));
        fs::write(&path, "#!/bin/sh").unwrap();
        let other = refusal(check(&path));
        fs::write(&path, b"\x7fELF\x02").unwrap();

        assert!(absent.contains("No such file") && absent.contains("cargo build"));
        assert!(short.contains("no ELF") && other.contains("no ELF"));
        assert!(check(&path).is_ok());
    }

    #[test]
    fn of_what_cargo_says_the_first_error_is_told() {
        let said = b"   Compiling x\nerror[E0425]: cannot find y\nerror: could not compile\n";

        assert_eq!(
            first_error(said).as_deref(),
            Some("error[E0425]: cannot find y")
        );
        assert_eq!(first_error(b"   Compiling x\n"), None);
    }
}
