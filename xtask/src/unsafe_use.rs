//! Where `unsafe` stands, how often, and whether it may.
//!
//! The compiler already refuses it in a file that does not ask for it; this
//! holds the list of files that may ask, and prints the count that reviewers
//! watch.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::source;

/// The files that may hold unsafe code. `*` is one name, and a path that ends
/// in `/` is everything below it.
const ALLOWED: &[&str] = &[
    // Memory that the peer writes, and the order of writes to it.
    "crates/ring/src/barrier.rs",
    "crates/ring/src/shared.rs",
    "crates/ring/src/shared/",
    // The atomics of that memory in models: none of it is reached.
    "crates/ring/src/model.rs",
    // What a platform promises, and the three platforms that promise it.
    "crates/driver/src/platform.rs",
    "crates/driver/src/testing.rs",
    "crates/machine/src/platform.rs",
    "crates/vhost/src/frontend/platform.rs",
    // Memory lent to a device, and device registers.
    "crates/driver/src/dma/",
    "crates/driver/src/registers/ports.rs",
    "crates/driver/src/registers/window.rs",
    "crates/driver/src/pci/",
    // Files that are mapped, and what happens when they lose what was.
    "crates/mapping/src/",
    // Calls of the operating system.
    "crates/*/src/sys.rs",
    // Memory shared with other people's rings, in tests.
    "tests/rings/peers.rs",
    // The image: the processor, its tables, its memory and its ports.
    "guest/src/boot.rs",
    "guest/src/bring_up.rs",
    "guest/src/compiler.rs",
    "guest/src/cpu.rs",
    "guest/src/exit.rs",
    "guest/src/interrupts.rs",
    "guest/src/interrupts/",
    "guest/src/layout.rs",
    "guest/src/lock.rs",
    "guest/src/memory.rs",
    "guest/src/paging.rs",
    "guest/src/pci.rs",
    "guest/src/pit.rs",
    "guest/src/platform.rs",
    "guest/src/selftest/raw.rs",
    "guest/src/serial.rs",
    // The benchmarks: a floor that checks nothing, memory and the processor's cycle counter, and
    // three peers whose interfaces or memory ask for it.
    "bench/src/floor/packed.rs",
    "bench/src/floor/split.rs",
    "bench/src/packet/system.rs",
    "bench/src/rust_vmm.rs",
    "bench/src/vdrivers.rs",
    "bench/src/vhost/libblkio.rs",
];

/// Counts every use of `unsafe` under `root`, and returns the count as lines.
///
/// # Errors
///
/// `unsafe` stands in a file that may not have it.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut out = Vec::new();
    let mut strays = Vec::new();
    let mut total = Count::default();
    for file in source::files(root)? {
        let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
        let count = Count::of(&text);
        if count == Count::default() {
            continue;
        }
        let path = source::relative(root, &file);
        let line = format!("{:>5} {:>5}  {path}", count.blocks, count.items);
        if !allowed(&path) {
            strays.push(line.clone());
        }
        out.push(line);
        total.blocks += count.blocks;
        total.items += count.items;
    }
    if !strays.is_empty() {
        return Err(Failure::new(format!(
            "unsafe stands in files that may not have it (blocks, items, file):\n{}\n\
             Write it safely, on top of the files that xtask/src/unsafe_use.rs lists.",
            strays.join("\n"),
        )));
    }
    out.insert(0, "blocks items  file".to_owned());
    out.push(format!("{:>5} {:>5}  in all", total.blocks, total.items));
    Ok(out)
}

/// How often `unsafe` is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// `unsafe { … }`.
    blocks: usize,
    /// Functions, traits, implementations and attributes.
    items: usize,
}

impl Count {
    fn of(text: &str) -> Self {
        let code: Vec<String> = source::lines(text).into_iter().map(|l| l.code).collect();
        let code = code.join("\n");
        let mut count = Self::default();
        let mut from = 0;
        while let Some(at) = code.get(from..).and_then(|tail| tail.find("unsafe")) {
            let (start, end) = (from + at, from + at + "unsafe".len());
            let before = code.get(..start).and_then(|s| s.chars().next_back());
            let after = code.get(end..).unwrap_or_default();
            from = end;
            if before.is_some_and(of_a_word) || after.starts_with(of_a_word) {
                continue;
            }
            if after.trim_start().starts_with('{') {
                count.blocks += 1;
            } else {
                count.items += 1;
            }
        }
        count
    }
}

fn of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '#'
}

fn allowed(path: &str) -> bool {
    ALLOWED.iter().any(|pattern| matches(pattern, path))
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut names = path.split('/');
    for part in pattern.split('/') {
        match (part, names.next()) {
            ("", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(name)) if part == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_counted_apart_from_items() {
        let text = "unsafe impl Send for X {}\n\
                    unsafe fn f() { unsafe { g() }; unsafe\n{ h() } }\n\
                    #[unsafe(no_mangle)]\nfn k() {}";

        let count = Count::of(text);

        assert_eq!((count.blocks, count.items), (2, 3));
    }

    #[test]
    fn the_word_elsewhere_is_not_counted() {
        let text = "#![expect(unsafe_code, reason = \"unsafe {\")]\n\
                    // unsafe { not here }\n\
                    /* unsafe { nor here } */\n\
                    let not_unsafe = r\"unsafe {\";";

        assert_eq!(Count::of(text), Count::default());
    }

    #[test]
    fn only_the_listed_files_may_have_it() {
        let may = [
            "crates/host/src/sys.rs",
            "crates/ring/src/shared.rs",
            "crates/driver/src/pci/bar.rs",
        ];
        let may_not = [
            "crates/host/src/sys/more.rs",
            "crates/ring/src/split.rs",
            "crates/driver/src/pci.rs",
            "crates/a/b/src/sys.rs",
        ];

        assert!(may.iter().all(|path| allowed(path)));
        assert!(!may_not.iter().any(|path| allowed(path)));
    }

    #[test]
    fn a_stray_file_is_named() {
        let root = crate::scratch::Scratch::new("stray").unwrap();
        fs::write(root.path().join("stray.rs"), "fn f() { unsafe { g() } }").unwrap();

        let failed = check(root.path()).err();

        assert!(failed.unwrap().what.contains("stray.rs"));
    }
}
