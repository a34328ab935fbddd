//! Rust source taken apart just far enough to tell code from comments.
//!
//! Two checks stand on it: `unsafe` must be counted where it is a keyword and
//! nowhere else, and section references are read in comments only.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// One line of a source file, split in two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// What the compiler reads, with the insides of literals left out.
    pub(crate) code: String,
    /// The text of the comment on this line, without its markers.
    pub(crate) comment: Option<String>,
}

/// Splits `text` into lines of code and comment.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut out = vec![Line::default()];
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (kind, len) = token(rest);
        let (taken, after) = rest.split_at(len.max(next.len_utf8()));
        push(&mut out, kind, taken);
        rest = after;
    }
    out
}

/// Every Rust file under `root`, sorted, except those in `target` folders and
/// hidden ones.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(Failure::io("list", &folder))?;
        for entry in entries {
            let path = entry.map_err(Failure::io("list", &folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The path of `file` below `root`, with `/` between its parts.
pub(crate) fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .to_string_lossy()
        .replace('\\', "/")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Literal,
    Comment,
}

/// The kind and the length in bytes of what `rest` begins with.
fn token(rest: &str) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (Kind::Literal, quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        return match char_literal(rest) {
            Some(len) => (Kind::Literal, len),
            None => (Kind::Code, 1),
        };
    }
    let word = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    if matches!(rest.get(..word), Some("r" | "br" | "cr"))
        && let Some(len) = raw_string(rest, word)
    {
        return (Kind::Literal, len);
    }
    (Kind::Code, word)
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(tail) = rest.get(at..) {
        if tail.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            match tail.chars().next() {
                Some(c) => at += c.len_utf8(),
                None => break,
            }
        }
    }
    rest.len()
}

/// The length of a literal that ends at the next `end` with no `\` before it.
fn quoted(rest: &str, end: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == end {
            return at + c.len_utf8();
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

/// The length of a character literal, or `None` if this is a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.chars().skip(1);
    let first = chars.next()?;
    (first == '\\' || chars.next()? == '\'').then(|| quoted(rest, '\''))
}

/// The length of a raw string whose hashes or quote stand at `prefix`.
fn raw_string(rest: &str, prefix: usize) -> Option<usize> {
    let tail = rest.get(prefix..)?;
    let opened = tail.trim_start_matches('#');
    let hashes = tail.len() - opened.len();
    let body = opened.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let close = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + close)
}

/// Adds `text`, which may span lines, to the end of `out`.
fn push(out: &mut Vec<Line>, kind: Kind, text: &str) {
    for (n, part) in text.split('\n').enumerate() {
        if n > 0 {
            out.push(Line::default());
        }
        let Some(line) = out.last_mut() else { return };
        match kind {
            Kind::Code => line.code.push_str(part),
            Kind::Literal => line.code.push_str(if n == 0 { "\"\"" } else { "" }),
            Kind::Comment => {
                let bare = part.trim().trim_start_matches(['/', '*', '!']);
                let bare = bare.trim_end_matches("*/").trim();
                line.comment.get_or_insert_default().push_str(bare);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let codes: Vec<String> = lines(text).into_iter().map(|line| line.code).collect();
        codes.join("\n")
    }

    fn comments(text: &str) -> Vec<String> {
        lines(text).into_iter().filter_map(|l| l.comment).collect()
    }

    #[test]
    fn a_line_comment_ends_with_its_line() {
        let text = "a(); // one\nb();\n/// two\n";

        assert_eq!(code(text), "a(); \nb();\n\n");
        assert_eq!(comments(text), ["one", "two"]);
    }

    #[test]
    fn block_comments_nest_and_keep_their_lines() {
        let text = "a /* one /* two */\n * three */ b";

        assert_eq!(code(text), "a \n b");
        assert_eq!(comments(text), ["one /* two", "three"]);
    }

    #[test]
    fn literals_hide_what_is_in_them() {
        let text = r####"x("unsafe // \" no", r#"/* " */"#, b"\\", 'a', '"', '\'')"####;

        assert_eq!(code(text), r#"x("", "", b"", "", "", "")"#);
        assert!(comments(text).is_empty());
    }

    #[test]
    fn a_lifetime_opens_no_literal() {
        let text = "fn f<'a>(x: &'a str) {} // end";

        assert_eq!(code(text), "fn f<'a>(x: &'a str) {} ");
        assert_eq!(comments(text), ["end"]);
    }

    #[test]
    fn a_word_that_ends_in_r_is_not_a_raw_string() {
        let text = "var\"a\" /* left open";

        assert_eq!(code(text), "var\"\" ");
    }
}
