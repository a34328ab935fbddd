//! The machine's own package sources, with one suite added.
//!
//! Both formats of apt: stanzas of fields (`*.sources`), and one line for each
//! source (`sources.list`, `*.list`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// Where the machine keeps them.
const HOME: &str = "/etc/apt";

/// Copies the machine's sources into `folder`. Where they name the suite
/// `release`, they name `release-added` too, if `added` is given.
pub(super) fn copy(folder: &Path, release: &str, added: Option<&str>) -> Result<()> {
    let mut copied = 0;
    for (file, name) in listed()? {
        let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
        let text = match added {
            None => text,
            Some(added) if name.ends_with(".sources") => in_stanzas(&text, release, added),
            Some(added) => in_lines(&text, release, added),
        };
        let to = folder.join(&name);
        fs::write(&to, text).map_err(Failure::io("write", &to))?;
        copied += 1;
    }
    if copied == 0 {
        return Err(Failure::new("this machine has no package sources"));
    }
    Ok(())
}

/// A field of `/etc/os-release`.
pub(super) fn release_field(text: &str, field: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The files apt reads, with the names they get in the copy.
fn listed() -> Result<Vec<(PathBuf, String)>> {
    let home = Path::new(HOME);
    let mut files = Vec::new();
    let one = home.join("sources.list");
    if one.is_file() {
        files.push((one, "sources.list".to_owned()));
    }
    let parts = home.join("sources.list.d");
    let Ok(entries) = fs::read_dir(&parts) else {
        return Ok(files);
    };
    for entry in entries {
        let path = entry.map_err(Failure::io("list", &parts))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".sources") || name.ends_with(".list") {
            files.push((path.clone(), name.into_owned()));
        }
    }
    files.sort();
    Ok(files)
}

/// Adds `added` to each `Suites:` field that has `release`. The field may go on
/// over indented lines.
fn in_stanzas(text: &str, release: &str, added: &str) -> String {
    let mut out = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((field, value)) = line.split_once(':') else {
            out.push(line.to_owned());
            continue;
        };
        if !field.eq_ignore_ascii_case("suites") {
            out.push(line.to_owned());
            continue;
        }
        let mut suites: Vec<&str> = value.split_whitespace().collect();
        while let Some(more) = lines.next_if(|l| l.starts_with([' ', '\t', '#'])) {
            if !more.starts_with('#') {
                suites.extend(more.split_whitespace());
            }
        }
        if suites.contains(&release) && !suites.contains(&added) {
            suites.push(added);
        }
        out.push(format!("Suites: {}", suites.join(" ")));
    }
    out.push(String::new());
    out.join("\n")
}

/// Repeats each line of binary packages whose suite is `release`, for `added`.
fn in_lines(text: &str, release: &str, added: &str) -> String {
    let has = |uri| {
        let mut lines = text.lines().filter_map(words);
        lines.any(|[kind, _, u, suite, _]| kind == "deb" && u == uri && suite == added)
    };
    let mut out = String::new();
    for line in text.lines() {
        out.extend([line, "\n"]);
        let Some([kind, options, uri, suite, components]) = words(line) else {
            continue;
        };
        if kind == "deb" && suite == release && !has(uri) {
            let space = if options.is_empty() { "" } else { " " };
            out.extend([
                kind, " ", options, space, uri, " ", added, " ", components, "\n",
            ]);
        }
    }
    out
}

/// Kind, options in brackets, address, suite and components of one line.
fn words(line: &str) -> Option<[&str; 5]> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let (options, rest) = if rest.starts_with('[') {
        rest.split_at(rest.find(']')? + 1)
    } else {
        ("", rest)
    };
    let (uri, rest) = rest.trim_start().split_once(char::is_whitespace)?;
    let (suite, components) = rest.trim_start().split_once(char::is_whitespace)?;
    Some([kind, options, uri, suite, components.trim()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stanza_gets_the_suite_and_another_does_not() {
        let text = "Types: deb\nURIs: mirror:/a\nSuites: old old-updates\n\n\
                    Types: deb\nURIs: mirror:/b\nSuites: old-security\n";

        let new = in_stanzas(text, "old", "old-backports");

        assert_eq!(
            new,
            "Types: deb\nURIs: mirror:/a\nSuites: old old-updates old-backports\n\n\
             Types: deb\nURIs: mirror:/b\nSuites: old-security\n"
        );
    }

    #[test]
    fn suites_that_go_on_over_lines_are_one_field() {
        let text = "Suites: old\n old-updates\n# not now\n\told-proposed\nComponents: main\n";

        let new = in_stanzas(text, "old", "new");

        assert_eq!(
            new,
            "Suites: old old-updates old-proposed new\nComponents: main\n"
        );
    }

    #[test]
    fn a_suite_that_is_there_is_not_added_again() {
        let stanza = "Suites: old old-backports\n";
        let lines = "deb mirror:/a old main\ndeb mirror:/a old-backports main\n";

        assert_eq!(in_stanzas(stanza, "old", "old-backports"), stanza);
        assert_eq!(in_lines(lines, "old", "old-backports"), lines);
    }

    #[test]
    fn a_line_is_repeated_with_its_options() {
        let text = "# ours\ndeb [signed-by=/k arch=amd64] mirror:/a old main extra # c\n\
                    deb-src mirror:/a old main\ndeb mirror:/a old-security main\n";

        let new = in_lines(text, "old", "new");

        assert_eq!(
            new,
            "# ours\ndeb [signed-by=/k arch=amd64] mirror:/a old main extra # c\n\
             deb [signed-by=/k arch=amd64] mirror:/a new main extra\n\
             deb-src mirror:/a old main\ndeb mirror:/a old-security main\n"
        );
    }

    #[test]
    fn lines_that_are_cut_short_are_left_as_they_are() {
        let text = "deb\ndeb mirror:/a\ndeb [open mirror:/a old main\ndeb mirror:/a old\n";

        assert_eq!(in_lines(text, "old", "new"), text);
    }

    #[test]
    fn a_release_is_named_with_or_without_quotes() {
        let text = "ID=debian\nVERSION_CODENAME=\"old\"\n";

        assert_eq!(release_field(text, "ID").as_deref(), Some("debian"));
        assert_eq!(
            release_field(text, "VERSION_CODENAME").as_deref(),
            Some("old")
        );
        assert_eq!(release_field(text, "VERSION"), None);
    }
}
