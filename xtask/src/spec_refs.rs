//! References to the specification, checked against its table of contents.
//!
//! A comment refers to a section as `§`, its number and, where it says what a
//! file implements, its title in quotes. The number must exist and the title
//! must be its own. A section of another document is written with the
//! document's name and edition before the sign, and is not looked up.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::source::{self, Line};

/// The specification whose sections the table lists.
const NAME: &str = "VIRTIO";
/// Its edition.
const EDITION: &str = "1.4";
/// Number, tab, title; a line for each section.
const SECTIONS: &str = include_str!("spec_sections.tsv");
/// No title is longer, in bytes: a quote that is still open then was no title.
const LONGEST: usize = 160;

/// Checks every reference under `root`, and returns how many there are.
///
/// # Errors
///
/// A section does not exist, or has another title.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let sections = sections();
    let mut wrong = Vec::new();
    let mut count = 0;
    for file in source::files(root)? {
        let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
        for reference in references(&source::lines(&text)) {
            count += 1;
            if let Some(why) = fault(&reference, &sections) {
                let path = source::relative(root, &file);
                wrong.push(format!("{path}:{}: {why}", reference.line));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(vec![format!("{count} references to sections, all right")]);
    }
    Err(Failure::new(wrong.join("\n")))
}

/// One reference to a section.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    /// The line it stands on, from 1.
    line: usize,
    /// Name and edition of the document, where they are given.
    document: Option<(String, String)>,
    /// The section's number, without the sign.
    number: String,
    /// The title that follows it in quotes.
    title: Option<String>,
}

fn sections() -> HashMap<&'static str, &'static str> {
    SECTIONS
        .lines()
        .filter_map(|l| l.split_once('\t'))
        .collect()
}

/// What is wrong with `reference`, if anything.
fn fault(reference: &Reference, sections: &HashMap<&str, &str>) -> Option<String> {
    let number = reference.number.as_str();
    if let Some((name, edition)) = &reference.document {
        if name != NAME {
            return None;
        }
        if edition != EDITION {
            return Some(format!("§{number} is of {NAME} {edition}, not {EDITION}"));
        }
    }
    match (sections.get(number), &reference.title) {
        (None, _) => Some(format!("{NAME} {EDITION} has no §{number}")),
        (Some(is), Some(said)) if is != said => {
            Some(format!("§{number} is \"{is}\", not \"{said}\""))
        }
        _ => None,
    }
}

/// Finds the references in the comments of a file. A comment that goes on over
/// several lines is read as one text.
fn references(lines: &[Line]) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut text = String::new();
    let mut starts = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match &line.comment {
            Some(comment) => {
                starts.push((text.len(), index + 1));
                text.push_str(comment);
                text.push(' ');
            }
            None => {
                found.extend(in_text(&text, &starts));
                text.clear();
                starts.clear();
            }
        }
    }
    found.extend(in_text(&text, &starts));
    found
}

/// The references in one text, given the offset at which each line starts.
fn in_text(text: &str, starts: &[(usize, usize)]) -> Vec<Reference> {
    text.match_indices('§')
        .filter_map(|(at, sign)| {
            let (before, after) = (text.get(..at)?, text.get(at + sign.len()..)?);
            let number = number(after)?;
            let line = starts.iter().rev().find(|(start, _)| *start <= at)?.1;
            Some(Reference {
                line,
                document: document(before),
                number: number.to_owned(),
                title: title(after.get(number.len()..)?),
            })
        })
        .collect()
}

/// The section number that `text` begins with: `2.7.8`, or `B.2`.
fn number(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .unwrap_or(text.len());
    let number = text.get(..end)?.trim_end_matches('.');
    let (first, rest) = match number.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (number, None),
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let letter = matches!(first.as_bytes(), [b'A'..=b'Z']);
    let whole = (digits(first) || letter) && rest.is_none_or(|r| r.split('.').all(digits));
    whole.then_some(number)
}

/// The title in quotes that follows a number, if one does.
fn title(text: &str) -> Option<String> {
    let body = text.trim_start().strip_prefix('"')?;
    let end = body.find('"').filter(|end| *end <= LONGEST)?;
    body.get(..end).map(str::to_owned)
}

/// The name and edition that stand right before a section sign.
fn document(before: &str) -> Option<(String, String)> {
    let mut words = before.split_whitespace().rev();
    let edition = words.next()?;
    let mut parts = edition.split('.');
    let is_edition = before.ends_with(' ')
        && parts.all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let name = words.next()?.trim_start_matches(['(', '"', '`']);
    is_edition.then(|| (name.to_owned(), edition.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let sections = sections();
        references(&source::lines(text))
            .iter()
            .filter_map(|r| fault(r, &sections))
            .collect()
    }

    #[test]
    fn the_table_lists_each_section_once_and_in_order() {
        let rows: Vec<_> = SECTIONS.lines().collect();

        assert_eq!(sections().len(), rows.len());
        assert_eq!(sections().get("5.2"), Some(&"Block Device"));
        assert_eq!(sections().get("2.7.8"), Some(&"The Virtqueue Used Ring"));
        assert!(
            rows.iter()
                .all(|row| number(row).is_some_and(|n| !n.is_empty()))
        );
    }

    #[test]
    fn a_right_title_passes_and_a_wrong_one_is_corrected() {
        let right = "//! Spec: VIRTIO 1.4 §5.2 \"Block Device\".";
        let wrong = "//! Spec: VIRTIO 1.4 §5.9 \"Block Device\".";

        assert!(faults(right).is_empty());
        assert_eq!(
            faults(wrong),
            [r#"§5.9 is "Crypto Device", not "Block Device""#]
        );
    }

    #[test]
    fn a_title_may_stand_on_the_next_line() {
        let text = "//! Spec: VIRTIO 1.4 §4.2.2\n//! \"MMIO Device\n//! Register Layout\"";

        let found = references(&source::lines(text));

        let title = found.first().and_then(|r| r.title.as_deref());
        assert_eq!(title, Some("MMIO Device Register Layout"));
        assert!(faults(text).is_empty());
    }

    #[test]
    fn a_bare_number_must_exist() {
        let text = "/// Read once (§2.7.8).\nfn f() {}\n// (§2.99) and §3.1.1 step 6.";

        assert_eq!(faults(text), ["VIRTIO 1.4 has no §2.99"]);
        assert_eq!(
            references(&source::lines(text)).get(1).map(|r| r.line),
            Some(3)
        );
    }

    #[test]
    fn another_edition_is_refused_and_another_document_is_left_alone() {
        let old = "// VIRTIO 1.2 §5.2 says so.";
        let other = "// (PCIe 5.0 §99.9.2 \"Vectors\") and RFC 2119 §6.";

        assert_eq!(faults(old), ["§5.2 is of VIRTIO 1.2, not 1.4"]);
        assert!(faults(other).is_empty());
    }

    #[test]
    fn a_sign_without_a_number_is_no_reference() {
        let text = "// Write `§n.n.n` or a lone § sign.";

        assert!(references(&source::lines(text)).is_empty());
    }

    #[test]
    fn code_and_literals_hold_no_references() {
        let text = "let s = \"§99.9\"; // §5.2";

        let found = references(&source::lines(text));

        assert_eq!(found.len(), 1);
    }
}
