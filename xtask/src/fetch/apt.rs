//! Packages without installing them: apt downloads what the system lacks into
//! folders of ours, and each package is unpacked below one root. Any user can.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sources;
use crate::child::Runner;
use crate::failure::{Failure, Result};

/// Releases whose own suites are behind, and the suite that is ahead.
const AHEAD: &[(&str, &str)] = &[("bookworm", "bookworm-backports")];
/// Most time for one step.
const LIMIT: Duration = Duration::from_secs(900);

/// Downloads `package` and what it needs, using `work`, and unpacks into `root`: from the suite
/// that is ahead of the release, where there is one, if `ahead`.
pub(super) fn unpack(
    run: &Runner,
    package: &str,
    ahead: bool,
    work: &Path,
    root: &Path,
) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = sources::release_field(&release, "VERSION_CODENAME").unwrap_or_default();
    let ahead = AHEAD.iter().find(|(name, _)| ahead && *name == release);
    let packages = match ahead {
        // A mirror need not carry the suite that is ahead.
        Some((_, suite)) => download(run, package, &release, Some(suite), work)
            .or_else(|_| download(run, package, &release, None, work)),
        None => download(run, package, &release, None, work),
    }?;
    eprintln!("unpacking {} packages", packages.len());
    for file in packages {
        run.succeed(Command::new("dpkg").arg("-x").args([&file, root]), LIMIT)?;
    }
    Ok(())
}

/// Downloads with a state of our own, and returns the packages' files.
fn download(
    run: &Runner,
    package: &str,
    release: &str,
    suite: Option<&str>,
    work: &Path,
) -> Result<Vec<PathBuf>> {
    super::remove(work)?;
    let (list, state, cache) = (work.join("sources"), work.join("lists"), work.join("cache"));
    let archives = cache.join("archives");
    for folder in [&list, &state.join("partial"), &archives.join("partial")] {
        fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
    }
    sources::copy(&list, release, suite)?;

    let apt = || {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-o", "Dir::Etc::SourceList=/dev/null"]);
        for (option, folder) in [
            ("Dir::Etc::SourceParts", &list),
            ("Dir::State::Lists", &state),
            ("Dir::Cache", &cache),
        ] {
            command
                .arg("-o")
                .arg(format!("{option}={}", folder.display()));
        }
        for option in [
            "Debug::NoLocking=1",
            "APT::Sandbox::User=root",
            "Acquire::Retries=3",
            "Acquire::http::Timeout=30",
            "Acquire::https::Timeout=30",
        ] {
            command.args(["-o", option]);
        }
        command
    };
    eprintln!("reading package lists ({})", suite.unwrap_or(release));
    run.succeed(apt().arg("update"), LIMIT)?;
    let mut install = apt();
    if let Some(suite) = suite {
        install.args(["-t", suite]);
    }
    install.args([
        "-y",
        "--no-install-recommends",
        "--download-only",
        // Even if the system has it: it is asked for when that one does not do.
        "--reinstall",
        "install",
    ]);
    eprintln!("downloading {package} and what it needs");
    run.succeed(install.arg(package), LIMIT)?;

    let entries = fs::read_dir(&archives).map_err(Failure::io("list", &archives))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "deb"));
    files.sort();
    if files.is_empty() {
        return Err(Failure::new(format!(
            "apt-get downloaded nothing for {package}"
        )));
    }
    Ok(files)
}
