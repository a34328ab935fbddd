//! The example of a device type of one's own: both ends over every carrier, in few lines, and quoted by
//! the manual as they are.

use std::fs;
use std::path::Path;

use super::Desk;
use super::cargo::{self, OWN_TYPE};
use crate::failure::{Failure, Result};

/// The example, below the repository.
const EXAMPLE: &str = "examples/own-type";
/// The chapter that explains it.
const CHAPTER: &str = "docs/manual/own-type.md";
/// Both ends, and what they share.
const ENDS: [&str; 3] = ["src/wire.rs", "src/device.rs", "src/driver.rs"];
/// What the chapter may quote, beside them.
const QUOTED: [&str; 2] = ["src/main.rs", "tests/own_type/served.rs"];
/// Where what its table says is said that authors are told.
const MISTAKES: &str = "tests/own_type/mistakes.rs";
/// Fewer lines than these, comments among them, are both ends: those that are blank say nothing.
const LINES_MAX: usize = 300;
/// What is shown of the example at work: its place on the bus.
const SHOWN: &str = "virtio:d0000003Fv00001AF4";

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let example = desk.repo.join(EXAMPLE);
    let mut lines = 0;
    for file in ENDS {
        lines += read(&example.join(file))?
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
    }
    if lines >= LINES_MAX {
        let what =
            format!("{EXAMPLE}: both ends are {lines} lines, which is not below {LINES_MAX}");
        return Err(Failure::new(what));
    }
    let quoted = ENDS.iter().chain(&QUOTED);
    let sources = quoted.map(|file| read(&example.join(file)));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let chapter = read(&desk.repo.join(CHAPTER))?;
    let quotes = quotes(&chapter);
    if let Some(quote) = quotes.iter().find(|quote| !is_quoted(quote, &sources)) {
        let what = format!("{CHAPTER} quotes what the example does not say:\n{quote}");
        return Err(Failure::new(what));
    }
    let mistakes = read(&example.join(MISTAKES))?;
    if let Some(untold) = told(&chapter).find(|told| !mistakes.contains(told)) {
        let what = format!("{CHAPTER}: no test in {MISTAKES} is told `{untold}`");
        return Err(Failure::new(what));
    }

    let test = ["test", "--locked", "--manifest-path", OWN_TYPE];
    let mut said = cargo::summaries(desk, &mut cargo::cargo(desk, &test))?;
    let show = ["run", "--locked", "--quiet", "--manifest-path", OWN_TYPE];
    let shown = desk
        .run
        .succeed(&mut cargo::cargo(desk, &show), cargo::LIMIT)?;
    if !String::from_utf8_lossy(&shown.stdout).contains(SHOWN) {
        return Err(Failure {
            what: format!("{EXAMPLE} does not show {SHOWN} on its bus"),
            output: shown.log,
        });
    }
    let count = quotes.len();
    said.push(format!(
        "both ends are {lines} lines, {count} quotes are theirs"
    ));
    Ok(said)
}

/// The blocks of a document that are code.
fn quotes(document: &str) -> Vec<String> {
    let mut quotes = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in document.lines() {
        match (&mut open, line) {
            (None, "```rust" | "```toml") => open = Some(Vec::new()),
            (Some(quote), "```") => {
                quotes.push(quote.join("\n"));
                open = None;
            }
            (Some(quote), line) => quote.push(line),
            (None, _) => {}
        }
    }
    quotes
}

/// What the rows of its tables say that one is told: the code that their second column begins with.
fn told(document: &str) -> impl Iterator<Item = &str> {
    let rows = document.lines().filter(|line| line.starts_with("| "));
    rows.filter_map(|row| row.split_once(" | `")?.1.split('`').next())
}

/// Whether the lines of a quote follow each other in one of the sources, wherever those are indented to.
fn is_quoted(quote: &str, sources: &[String]) -> bool {
    let words =
        |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().into()).collect() };
    let wanted = words(quote);
    let says = |source: &String| {
        words(source)
            .windows(wanted.len().max(1))
            .any(|lines| lines == wanted)
    };
    sources.iter().any(says)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Failure::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str =
        "Text\n```rust\nfn one() {\n    two();\n}\n```\nand\n```console\n$ ls\n```\n";

    #[test]
    fn a_quote_is_what_a_source_says_at_any_depth() {
        let source = "mod deeper {\n    fn one() {\n        two();\n    }\n}\n".to_owned();

        let quotes = quotes(DOCUMENT);

        assert_eq!(quotes, ["fn one() {\n    two();\n}"]);
        assert!(is_quoted(&quotes[0], &[String::new(), source]));
    }

    #[test]
    fn what_one_is_told_is_the_code_in_the_second_column() {
        let table =
            "| you | and are told |\n| --- | --- |\n| do so | `no: 7`, on PCI |\n`not this`\n";

        assert_eq!(told(table).collect::<Vec<_>>(), ["no: 7"]);
    }

    #[test]
    fn a_quote_of_what_was_changed_or_left_out_is_none() {
        let quote = &quotes(DOCUMENT)[0];

        for source in [
            "fn one() {\n    three();\n}\n",
            "fn one() {\n    let a;\n    two();\n}\n",
            "",
        ] {
            assert!(!is_quoted(quote, &[source.to_owned()]), "{source}");
        }
    }
}
