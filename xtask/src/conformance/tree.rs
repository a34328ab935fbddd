//! A copy of the sources that may be spoilt.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::taken_out::Entry;
use crate::child::Runner;
use crate::failure::{Failure, Result};

/// Where copy and builds are, below the repository. Both stay, so that little is built the next time.
const FOLDER: &str = "target/conformance";
/// Most time for listing files.
const LIMIT: Duration = Duration::from_secs(60);

/// The copy. Nobody else has it meanwhile.
pub(super) struct Tree {
    root: PathBuf,
    builds: PathBuf,
    _lock: File,
}

impl Tree {
    /// Makes the copy what `repo` is now, with what is not committed. Files that have not changed are
    /// not written again, or cargo would build them again.
    ///
    /// # Errors
    ///
    /// Another process has the copy, git cannot list the files, or one cannot be copied.
    pub(super) fn new(repo: &Path, run: &Runner) -> Result<Self> {
        let folder = repo.join(FOLDER);
        let root = folder.join("tree");
        fs::create_dir_all(&root).map_err(Failure::io("make", &root))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(Failure::io("make", &path))?;
        if lock.try_lock().is_err() {
            let folder = folder.display();
            return Err(Failure::new(format!("another proof goes on in {folder}")));
        }
        let tree = Self {
            root,
            builds: folder.join("builds"),
            _lock: lock,
        };
        tree.copy(repo, &listed(repo, run)?)?;
        Ok(tree)
    }

    /// Where `file` of the repository is in the copy.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.root.join(file)
    }

    /// Where builds with `cfg` are.
    pub(super) fn builds(&self, cfg: Option<&str>) -> PathBuf {
        self.builds.join(cfg.unwrap_or("plain"))
    }

    /// Takes out what `entry` says, until the result is dropped.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub(super) fn spoil(&self, entry: &Entry) -> Result<Spoilt> {
        let path = self.path(&entry.file);
        let was = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
        let spoilt = was.replace(&entry.there, &entry.instead);
        fs::write(&path, spoilt).map_err(Failure::io("write", &path))?;
        Ok(Spoilt { path, was })
    }

    fn copy(&self, repo: &Path, files: &[String]) -> Result<()> {
        for file in files {
            let (from, to) = (repo.join(file), self.path(file));
            // One that was removed, and is listed until that is committed.
            let Ok(new) = fs::read(&from) else {
                continue;
            };
            if fs::read(&to).is_ok_and(|old| old == new) {
                continue;
            }
            let folder = to.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
            fs::copy(&from, &to).map_err(Failure::io("write", &to))?;
        }
        let kept: HashSet<PathBuf> = files
            .iter()
            .filter(|file| repo.join(file).exists())
            .map(|file| self.path(file))
            .collect();
        remove_others(&self.root, &kept)?;
        Ok(())
    }
}

/// A file that is not as it was. It is again when this is dropped.
pub(super) struct Spoilt {
    path: PathBuf,
    was: String,
}

impl Drop for Spoilt {
    fn drop(&mut self) {
        // What cannot be written now is the next time: the copy is compared with the repository.
        let _ = fs::write(&self.path, &self.was);
    }
}

/// Removes every file below `folder` that is not among `kept`, and folders that are then empty: what
/// is left of a package would still be one. Says whether `folder` is.
fn remove_others(folder: &Path, kept: &HashSet<PathBuf>) -> Result<bool> {
    let mut is_empty = true;
    for entry in fs::read_dir(folder).map_err(Failure::io("list", folder))? {
        let path = entry.map_err(Failure::io("list", folder))?.path();
        if path.is_dir() && !path.is_symlink() {
            if remove_others(&path, kept)? {
                fs::remove_dir(&path).map_err(Failure::io("remove", &path))?;
            } else {
                is_empty = false;
            }
        } else if kept.contains(&path) {
            is_empty = false;
        } else {
            fs::remove_file(&path).map_err(Failure::io("remove", &path))?;
        }
    }
    Ok(is_empty)
}

/// The files of the repository: those that git knows, and those that it would take.
fn listed(repo: &Path, run: &Runner) -> Result<Vec<String>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(repo);
    let done = run.succeed(&mut list, LIMIT)?;
    let names = String::from_utf8_lossy(&done.stdout);
    let names = names.split('\0').filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A repository with these files, and nothing committed.
    fn repo(files: &[(&str, &str)]) -> Scratch {
        let scratch = Scratch::new("tree").unwrap();
        for (file, text) in files {
            write(scratch.path(), file, text);
        }
        let mut init = Command::new("git");
        init.args(["init", "-q"]).current_dir(scratch.path());
        Runner::TEST.succeed(&mut init, LIMIT).unwrap();
        scratch
    }

    #[test]
    fn the_copy_follows_the_repository_and_writes_only_what_changed() {
        let repo = repo(&[(".gitignore", "target\n"), ("a.rs", "a"), ("b/c.rs", "c")]);
        let written = |tree: &Tree| fs::metadata(tree.path("a.rs")).unwrap().modified().unwrap();
        let first = Tree::new(repo.path(), &Runner::TEST).unwrap();
        let before = written(&first);
        drop(first);

        fs::remove_file(repo.path().join("b/c.rs")).unwrap();
        write(repo.path(), "d/e.rs", "e");
        let second = Tree::new(repo.path(), &Runner::TEST).unwrap();

        assert_eq!(written(&second), before);
        assert!(!second.path("b").exists());
        assert_eq!(fs::read(second.path("d/e.rs")).unwrap(), b"e");
    }

    #[test]
    fn what_was_taken_out_is_put_back() {
        let repo = repo(&[("a.rs", "one two three")]);
        let tree = Tree::new(repo.path(), &Runner::TEST).unwrap();
        let entry = Entry {
            clauses: Vec::new(),
            file: "a.rs".to_owned(),
            there: " two".to_owned(),
            instead: String::new(),
            tests: Vec::new(),
            cfg: None,
            limit: None,
        };
        let text = || fs::read_to_string(tree.path("a.rs")).unwrap();

        let spoilt = tree.spoil(&entry).unwrap();

        assert_eq!(text(), "one three");
        drop(spoilt);
        assert_eq!(text(), "one two three");
    }

    #[test]
    fn two_proofs_do_not_share_a_copy() {
        let repo = repo(&[("a.rs", "")]);
        let _first = Tree::new(repo.path(), &Runner::TEST).unwrap();

        let second = Tree::new(repo.path(), &Runner::TEST).err();

        assert!(second.unwrap().what.contains("another proof"));
    }
}
