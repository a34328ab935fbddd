//! The program that a test is in: how it is built, and how one test of it is run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::marks::TestName;
use super::tree::Tree;
use crate::child::Runner;
use crate::failure::{Failure, Result};
use crate::pieces::cargo::LIMIT as BUILD_LIMIT;

/// What programs of tests are built with: they are built for one run.
const FOR_ONE_RUN: [&str; 2] = ["profile.dev.debug=0", "profile.dev.incremental=true"];
/// And those without models or hostile peers, which need not be fast either.
const SLOW: [&str; 2] = [
    "profile.dev.package.ringway-ring.opt-level=0",
    "profile.dev.package.ringway-check.opt-level=0",
];
/// Most time for listing the tests of a program.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// A program of tests, as cargo is asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Program {
    /// The folder of its package, below the repository.
    package: String,
    /// `--lib`, or `--test NAME`.
    target: Vec<String>,
    /// What it is compiled with.
    cfg: Option<String>,
}

/// A program that was built.
pub(super) struct Built {
    executable: PathBuf,
    folder: PathBuf,
    tests: Vec<String>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Passed,
    Failed,
    /// It went on for longer than it may, and was ended.
    Late,
}

impl Program {
    /// The program that `test` is in, built with `cfg`.
    ///
    /// # Errors
    ///
    /// Its file is in no package.
    pub(super) fn of(tree: &Tree, test: &TestName, cfg: Option<&str>) -> Result<Self> {
        let mut packages = Path::new(&test.file).ancestors().skip(1);
        let is_package = |path: &&Path| {
            let folder = path.to_string_lossy();
            !folder.is_empty() && tree.path(&folder).join("Cargo.toml").exists()
        };
        let package = packages
            .find(is_package)
            .ok_or_else(|| Failure::new(format!("{test}: its file is in no package")))?;
        let package = package.to_string_lossy().into_owned();
        let target = match place(&package, &test.file) {
            ("src", _) if tree.path(&package).join("src/lib.rs").exists() => vec!["--lib"],
            ("src", _) => vec!["--bins"],
            ("tests", rest) => vec!["--test", stem(first(rest))],
            _ => vec!["--tests"],
        };
        Ok(Self {
            package,
            target: target.into_iter().map(str::to_owned).collect(),
            cfg: cfg.map(str::to_owned),
        })
    }

    /// Builds it.
    ///
    /// # Errors
    ///
    /// It does not build, or not within the time that any build has.
    pub(super) fn build(&self, tree: &Tree, run: &Runner) -> Result<Built> {
        let folder = tree.path(&self.package);
        let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut cargo = Command::new(program);
        cargo
            .args(["test", "--locked", "--no-run", "--message-format=json"])
            .arg("--manifest-path")
            .arg(folder.join("Cargo.toml"))
            .args(&self.target)
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", tree.builds(self.cfg.as_deref()))
            // CI forbids it, and here it is what keeps the builds short.
            .env_remove("CARGO_INCREMENTAL")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTFLAGS");
        let slow = SLOW.iter().filter(|_| self.cfg.is_none());
        for setting in FOR_ONE_RUN.iter().chain(slow) {
            cargo.args(["--config", setting]);
        }
        if let Some(cfg) = &self.cfg {
            cargo.env("RUSTFLAGS", format!("--cfg {cfg}"));
        }
        let done = run.succeed(&mut cargo, BUILD_LIMIT)?;
        let executable = executable(&done.stdout).ok_or_else(|| {
            let (package, target) = (&self.package, self.target.join(" "));
            Failure::new(format!("cargo built no tests of {package} {target}"))
        })?;
        let mut list = Command::new(&executable);
        list.args(["--list", "--format", "terse"])
            .current_dir(&folder);
        let listed = run.succeed(&mut list, LIST_LIMIT)?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        let tests = listed.lines().filter_map(|l| l.strip_suffix(": test"));
        Ok(Built {
            tests: tests.map(str::to_owned).collect(),
            executable,
            folder,
        })
    }

    /// The module that a file of this program is.
    fn module(&self, file: &str) -> String {
        let (folder, mut rest) = place(&self.package, file);
        if folder == "tests" && rest.contains('/') {
            rest = rest.split_once('/').map_or(rest, |(_, rest)| rest);
        } else if folder == "tests" {
            return String::new();
        }
        let parts = rest.split('/').map(stem);
        let named = |part: &&str| !["lib", "main", "mod"].contains(part);
        parts.filter(named).collect::<Vec<_>>().join("::")
    }
}

impl Built {
    /// Runs `test`, which is in this program, for at most `limit`.
    ///
    /// # Errors
    ///
    /// The program has no such test, or two of them, or cannot be started.
    pub(super) fn run(
        &self,
        program: &Program,
        test: &TestName,
        run: &Runner,
        limit: Duration,
    ) -> Result<Ended> {
        let module = program.module(&test.file);
        let is_it = |path: &&String| {
            let (modules, name) = path.rsplit_once("::").unwrap_or(("", path));
            name == test.name && modules.starts_with(&module)
        };
        let found: Vec<&String> = self.tests.iter().filter(is_it).collect();
        let [path] = found.as_slice() else {
            let count = found.len();
            return Err(Failure::new(format!("the program has {count} of {test}")));
        };
        let mut command = Command::new(&self.executable);
        command
            .args(["--exact", path])
            .current_dir(&self.folder)
            // Histories that failed once are not to be kept: they are of code that nobody has.
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        let running = run.start(&mut command)?;
        Ok(match running.finish(limit) {
            Ok(done) if done.status.success() => Ended::Passed,
            Ok(_) => Ended::Failed,
            Err(_) => Ended::Late,
        })
    }
}

/// The folder of a package that `file` is in, and where in it.
fn place<'f>(package: &str, file: &'f str) -> (&'f str, &'f str) {
    let inside = file.strip_prefix(package).unwrap_or(file);
    let inside = inside.trim_start_matches('/');
    inside.split_once('/').unwrap_or(("", inside))
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".rs").unwrap_or(name)
}

/// The program of tests that cargo says it has built.
fn executable(messages: &[u8]) -> Option<PathBuf> {
    let messages = String::from_utf8_lossy(messages);
    let is_test = |message: &Value| message["profile"]["test"] == true;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(is_test)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(package: &str) -> Program {
        Program {
            package: package.to_owned(),
            target: Vec::new(),
            cfg: None,
        }
    }

    #[test]
    fn a_file_is_a_module_of_its_program() {
        let ring = program("crates/ring");

        for (file, module) in [
            ("crates/ring/src/split/driver.rs", "split::driver"),
            ("crates/ring/src/split/mod.rs", "split"),
            ("crates/ring/src/lib.rs", ""),
            ("crates/ring/tests/ring/chains.rs", "chains"),
            ("crates/ring/tests/loopback.rs", ""),
        ] {
            assert_eq!(ring.module(file), module, "{file}");
        }
        assert_eq!(
            program("tests/rings").module("tests/rings/peers.rs"),
            "peers"
        );
    }

    #[test]
    fn the_program_of_tests_is_the_one_with_the_profile_of_tests() {
        let messages = br#"
{"reason":"compiler-artifact","profile":{"test":false},"executable":"/a"}
{"reason":"compiler-artifact","profile":{"test":true},"executable":"/b"}
{"reason":"build-finished","success":true}"#;

        assert_eq!(executable(messages), Some(PathBuf::from("/b")));
        assert_eq!(executable(b"no"), None);
    }
}
