//! A kernel for virtual machines, and where its modules are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Found, Version};
use crate::failure::{Failure, Result};

/// Where a system keeps its kernels, and what their names begin with.
const BOOT: &str = "boot";
const IMAGE: &str = "vmlinuz-";

/// Finds the newest kernel below `root` that has its modules there.
pub(super) fn newest(root: &Path) -> Result<Found> {
    let boot = root.join(BOOT);
    let entries = fs::read_dir(&boot).map_err(Failure::io("list", &boot))?;
    let found = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let release = name.to_str()?.strip_prefix(IMAGE)?;
        let path = entry.path();
        // Some systems let nobody read their own.
        (File::open(&path).is_ok() && root.join("lib/modules").join(release).is_dir())
            .then_some(())?;
        Some(Found {
            version: Version::after("", release)?,
            program: path.clone(),
            path,
        })
    });
    let newest = found.max_by_key(|found| (found.version, found.path.clone()));
    newest.ok_or_else(|| {
        Failure::new(format!(
            "{} has no kernel that can be read and has its modules",
            boot.display()
        ))
    })
}

/// The folder with the modules of the kernel at `image`.
pub(crate) fn modules(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let release = name.strip_prefix(IMAGE).unwrap_or(&name);
    let root = image.parent().and_then(Path::parent);
    root.unwrap_or(image).join("lib/modules").join(release)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_newest_kernel_with_modules_is_taken() {
        let scratch = Scratch::new("kernels").unwrap();
        let root = scratch.path();
        fs::create_dir(root.join("boot")).unwrap();
        for release in ["6.9.1-a", "6.12.3-a", "7.1.0-a"] {
            fs::write(root.join("boot").join(format!("vmlinuz-{release}")), "").unwrap();
        }
        for release in ["6.9.1-a", "6.12.3-a"] {
            fs::create_dir_all(root.join("lib/modules").join(release)).unwrap();
        }

        let found = newest(root).unwrap();

        assert_eq!(found.path, root.join("boot/vmlinuz-6.12.3-a"));
        assert_eq!(modules(&found.path), root.join("lib/modules/6.12.3-a"));
    }

    #[test]
    fn a_root_without_a_kernel_says_so() {
        let scratch = Scratch::new("no-kernels").unwrap();
        fs::create_dir(scratch.path().join("boot")).unwrap();

        let missing = newest(scratch.path()).err();

        assert!(missing.unwrap().what.contains("no kernel"));
    }
}
