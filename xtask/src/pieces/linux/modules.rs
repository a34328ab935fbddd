//! The modules of a kernel, with those that they need, in the order in which
//! they must be loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Runner;
use crate::failure::{Failure, Result};

/// Most time to unpack one.
const LIMIT: Duration = Duration::from_secs(60);
/// What its own description says before the names of those that it needs.
const NEEDS: &[u8] = b"\0depends=";
/// How a file of one ends, and how one ends that is packed.
const ENDS: [&str; 2] = [".ko", ".ko.xz"];

/// A module, unpacked.
pub(in crate::pieces) struct Module {
    /// Its name, with underscores.
    pub(in crate::pieces) name: String,
    /// What is loaded.
    pub(in crate::pieces) bytes: Vec<u8>,
}

/// Reads `wanted`, and what they need, from the folder of a kernel's modules.
///
/// # Errors
///
/// One is not there, or cannot be unpacked.
pub(in crate::pieces) fn load(
    run: &Runner,
    folder: &Path,
    busybox: &Path,
    wanted: &[&str],
) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    list(folder, &mut files)?;
    in_order(wanted, |name| {
        let missing = || Failure::new(format!("{} has no module {name}", folder.display()));
        let file = files.get(name).ok_or_else(missing)?;
        unpack(run, file, busybox)
    })
}

/// Puts each after those that it needs, which are read too.
fn in_order(wanted: &[&str], read: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Vec<Module>> {
    let mut loaded: Vec<Module> = Vec::new();
    let mut stack: Vec<(String, Option<Vec<u8>>)> = wanted
        .iter()
        .rev()
        .map(|name| (canonical(name), None))
        .collect();
    while let Some((name, bytes)) = stack.pop() {
        if loaded.iter().any(|module| module.name == name) {
            continue;
        }
        if let Some(bytes) = bytes {
            loaded.push(Module { name, bytes });
            continue;
        }
        let bytes = read(&name)?;
        let needs = needs(&bytes);
        stack.push((name, Some(bytes)));
        // One that needs itself, by whatever way, is loaded when it comes up again.
        let open = |need: &String| !stack.iter().any(|(name, b)| name == need && b.is_some());
        let next: Vec<_> = needs.into_iter().filter(open).map(|n| (n, None)).collect();
        stack.extend(next);
    }
    Ok(loaded)
}

/// The modules that `module` says it needs.
fn needs(module: &[u8]) -> Vec<String> {
    let at = module.windows(NEEDS.len()).position(|bytes| bytes == NEEDS);
    let names = at.and_then(|at| module[at + NEEDS.len()..].split(|byte| *byte == 0).next());
    String::from_utf8_lossy(names.unwrap_or_default())
        .split(',')
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect()
}

/// Files write some names with dashes.
fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Adds the modules below `folder`, by name.
fn list(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Failure::io("list", folder))? {
        let path = entry.map_err(Failure::io("list", folder))?.path();
        if path.is_dir() && !path.is_symlink() {
            list(&path, files)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = ENDS.iter().find_map(|end| name.strip_suffix(end)) {
            files.insert(canonical(name), path.clone());
        }
    }
    Ok(())
}

fn unpack(run: &Runner, file: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|end| end == "ko") {
        return fs::read(file).map_err(Failure::io("read", file));
    }
    // What a program prints is kept as it came, though in pieces that end like lines.
    let done = run.succeed(Command::new(busybox).arg("xzcat").arg(file), LIMIT)?;
    Ok(done.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(needs: &str) -> Vec<u8> {
        format!("\x7fELF\0license=GPL\0depends={needs}\0name=x\0").into_bytes()
    }

    fn order(wanted: &[&str]) -> Result<Vec<String>> {
        let loaded = in_order(wanted, |name| match name {
            "ext4" => Ok(module("jbd2,crc-16")),
            "jbd2" => Ok(module("crc_16")),
            "crc_16" | "virtio_rng" => Ok(module("")),
            "round" => Ok(module("robin")),
            "robin" => Ok(module("round")),
            _ => Err(Failure::new(format!("no {name}"))),
        });
        Ok(loaded?.into_iter().map(|module| module.name).collect())
    }

    #[test]
    fn each_comes_after_what_it_needs_and_once() {
        let order = order(&["ext4", "virtio-rng", "jbd2"]).unwrap();

        assert_eq!(order, ["crc_16", "jbd2", "ext4", "virtio_rng"]);
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        assert_eq!(order(&["ext4", "ext5"]).unwrap_err().what, "no ext5");
    }

    #[test]
    fn modules_that_need_each_other_are_no_endless_loop() {
        assert_eq!(order(&["round"]).unwrap(), ["robin", "round"]);
    }

    #[test]
    fn bytes_without_a_description_need_nothing() {
        assert!(needs(b"").is_empty());
        assert!(needs(b"depends=jbd2").is_empty());
    }
}
