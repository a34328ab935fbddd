//! A folder of one's own that goes when its owner does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::failure::{Failure, Result};

/// A fresh folder outside the repository, removed on drop.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder. `name` is for people who find it.
    pub(crate) fn new(name: &str) -> Result<Self> {
        Self::below(&std::env::temp_dir(), name)
    }

    /// Makes the folder in `parent`.
    pub(crate) fn below(parent: &Path, name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("ringway-{name}-{}-{unique}", process::id()));
        fs::create_dir(&path).map_err(Failure::io("make", &path))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the temporary folder's to clean.
        let _ = fs::remove_dir_all(&self.path);
    }
}
