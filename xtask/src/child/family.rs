//! A child and everything that it started.

use std::io;
use std::process::{Child, Command, Stdio};

/// Ends `child` and everything that it started: cargo does not end the test
/// that hangs when it is ended itself.
pub(super) fn end(child: &mut Child) -> io::Result<()> {
    let family = descendants(child.id(), &parents());
    child.kill()?;
    child.wait()?;
    signal("-KILL", &family);
    Ok(())
}

/// Sends what `kill` calls `name` to those that are still there.
pub(super) fn signal(name: &str, to: &[u32]) {
    if !to.is_empty() {
        // Those that have ended meanwhile are no failure.
        let _ = Command::new("kill")
            .arg(name)
            .args(to.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }
}

/// Each process and its parent, where the system lists them in `/proc`.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in parentheses, may itself hold spaces and parentheses.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((pid, parent.parse().ok()?))
        })
        .collect()
}

/// The children of `of`, and theirs, and so on.
fn descendants(of: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut family = Vec::new();
    let mut from = vec![of];
    while let Some(parent) = from.pop() {
        let children = parents.iter().filter(|(_, p)| *p == parent);
        for (child, _) in children.filter(|(c, _)| *c != parent) {
            if !family.contains(child) {
                family.push(*child);
                from.push(*child);
            }
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_found_through_its_parents() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (1, 0)];

        let family = descendants(2, &parents);

        assert_eq!(family, [3, 4]);
    }
}
