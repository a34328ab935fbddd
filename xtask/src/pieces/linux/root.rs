//! What Linux in a virtual machine starts with: programs, drivers, and a script that is its first
//! program.

use std::fs;
use std::io;

use super::REPORT;
use super::cpio::Archive;
use super::modules::{self, Module};
use crate::child::Runner;
use crate::failure::{Failure, Result};
use crate::fetch::{self, Found};

/// The folders of a first root.
pub(in crate::pieces) const FOLDERS: [&str; 6] = ["bin", "dev", "modules", "own", "proc", "sys"];
/// What comes before every script.
const START: &str = include_str!("start.sh");

/// Programs and drivers of a first root.
pub(in crate::pieces) struct Root {
    busybox: Vec<u8>,
    modules: Vec<Module>,
}

impl Root {
    /// Reads `BusyBox`, and of the kernel's modules those that are `wanted`.
    ///
    /// # Errors
    ///
    /// One of them is not there, or cannot be unpacked.
    pub(in crate::pieces) fn read(
        run: &Runner,
        linux: &Found,
        busybox: &Found,
        wanted: &[&str],
    ) -> Result<Self> {
        let program = &busybox.program;
        Ok(Self {
            modules: modules::load(run, &fetch::modules(&linux.path), program, wanted)?,
            busybox: fs::read(program).map_err(Failure::io("read", program))?,
        })
    }

    /// An archive in which the drivers are loaded, and then `script` is run, with the variables
    /// that are `given`. It has `files`, by their names, all in [`FOLDERS`].
    ///
    /// # Errors
    ///
    /// It is too large for an archive.
    pub(in crate::pieces) fn pack(
        &self,
        files: &[(String, Vec<u8>)],
        given: &str,
        script: &str,
    ) -> io::Result<Vec<u8>> {
        let mut root = Archive::new();
        for folder in FOLDERS {
            root.folder(folder)?;
        }
        root.file("bin/busybox", &self.busybox)?;
        for module in &self.modules {
            root.file(&format!("modules/{}.ko", module.name), &module.bytes)?;
        }
        for (name, bytes) in files {
            root.file(name, bytes)?;
        }
        root.file("init", self.init(given, script).as_bytes())?;
        root.finish()
    }

    fn init(&self, given: &str, script: &str) -> String {
        let load = |Module { name, .. }: &Module| {
            format!("step 'driver {name}' insmod /modules/{name}.ko\n")
        };
        let load: String = self.modules.iter().map(load).collect();
        format!("#!/bin/busybox sh\n{START}{REPORT}{given}{load}{script}finish\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_comes_after_its_drivers_and_before_the_end() {
        let modules = ["jbd2", "ext4"].map(|name| Module {
            name: name.to_owned(),
            bytes: Vec::new(),
        });
        let root = Root {
            busybox: Vec::new(),
            modules: modules.into(),
        };

        let init = root.init("A='b'\n", "step 'work' true\n");

        let places = [
            "mount -t proc",
            "say()",
            "A='b'",
            "insmod /modules/jbd2.ko",
            "ext4.ko",
            "'work'",
        ];
        let places = places.map(|text| init.find(text).expect(text));
        assert!(places.is_sorted());
        assert!(init.ends_with("true\nfinish\n"));
    }
}
