//! The clauses of the specification, from the tables of `docs/conformance`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};

/// Where everything about conformance is kept.
pub(super) const FOLDER: &str = "docs/conformance";
/// The tables: what conformance sections say, what sections about legacy interfaces say, and what
/// other text says.
const TABLES: [&str; 3] = ["clauses.tsv", "legacy.tsv", "text.tsv"];
/// Clauses that nothing of Ringway's can obey or break, and why.
const NOT_OURS: &str = "not-ours.tsv";

/// One clause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clause {
    /// `drv:basic/feature-bits:1`.
    pub(super) id: String,
    /// `driver`, `device`, `legacy` or `text`.
    pub(super) role: String,
    /// Where it stands, as the specification calls the place.
    pub(super) label: String,
    /// `MUST`, `SHOULD+MUST`.
    pub(super) level: String,
    /// What it says, in other words; empty if the table has none.
    pub(super) paraphrase: String,
}

impl Clause {
    /// The first part of the id after the role: `pci` of `drv:pci/init:1`.
    pub(super) fn section(&self) -> &str {
        let place = self.id.split(':').nth(1).unwrap_or_default();
        place.split('/').next().unwrap_or_default()
    }

    /// Whether it says what must, or must not, be.
    pub(super) fn is_must(&self) -> bool {
        self.level.contains("MUST")
    }

    /// What it says, or where it stands if the table does not have that.
    pub(super) fn says(&self) -> &str {
        if self.paraphrase.is_empty() {
            &self.label
        } else {
            &self.paraphrase
        }
    }
}

/// All clauses, in the order of the tables.
pub(super) struct Clauses {
    all: Vec<Clause>,
    places: HashMap<String, usize>,
}

impl Clauses {
    /// Reads the tables of the repository `root`.
    ///
    /// # Errors
    ///
    /// A table is not there, or has a row that cannot be.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut all = Vec::new();
        for table in TABLES {
            let path = root.join(FOLDER).join(table);
            let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
            all.extend(parse(&text).map_err(|e| e.of(table))?);
        }
        Self::new(all)
    }

    /// These.
    ///
    /// # Errors
    ///
    /// Two have the same id.
    pub(super) fn new(all: Vec<Clause>) -> Result<Self> {
        let mut places = HashMap::new();
        for (place, clause) in all.iter().enumerate() {
            if places.insert(clause.id.clone(), place).is_some() {
                return Err(Failure::new(format!("two clauses are {}", clause.id)));
            }
        }
        Ok(Self { all, places })
    }

    /// The clause that is called `id`.
    pub(super) fn find(&self, id: &str) -> Option<&Clause> {
        self.places.get(id).and_then(|&place| self.all.get(place))
    }

    /// Those that say what must, or must not, be.
    pub(super) fn musts(&self) -> impl Iterator<Item = &Clause> {
        self.all.iter().filter(|clause| clause.is_must())
    }
}

/// The rows of a table. The first line names its columns.
fn parse(text: &str) -> Result<Vec<Clause>> {
    let clause = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [id, role, label, level, paraphrase] = cells.as_slice() else {
            let len = cells.len();
            return Err(Failure::new(format!("`{line}` has {len} columns, not 5")));
        };
        Ok(Clause {
            id: (*id).to_owned(),
            role: (*role).to_owned(),
            label: (*label).to_owned(),
            level: (*level).to_owned(),
            paraphrase: (*paraphrase).to_owned(),
        })
    };
    text.lines().skip(1).map(clause).collect()
}

/// Reads which clauses are not ours to obey, and why.
///
/// # Errors
///
/// The list is not there, or names a clause that is not there.
pub(super) fn not_ours(root: &Path, clauses: &Clauses) -> Result<Vec<(String, String)>> {
    let path = root.join(FOLDER).join(NOT_OURS);
    let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let row = |line: &str| match line.split_once('\t') {
        Some((id, reason)) if clauses.find(id).is_some() && !reason.is_empty() => {
            Ok((id.to_owned(), reason.to_owned()))
        }
        _ => Err(Failure::new(format!(
            "{NOT_OURS}: `{line}` is not the id of a clause, a tab and a reason"
        ))),
    };
    text.lines().skip(1).map(row).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table of clauses with these ids and levels.
    pub(in crate::conformance) fn table(rows: &[(&str, &str)]) -> Clauses {
        let mut text = "id\trole\tlabel\tlevel\tparaphrase\n".to_owned();
        for (id, level) in rows {
            let role = if id.starts_with("drv") {
                "driver"
            } else {
                "device"
            };
            text += &format!("{id}\t{role}\tSome Section\t{level}\tdo {id}\n");
        }
        Clauses::new(parse(&text).unwrap()).unwrap()
    }

    #[test]
    fn a_section_is_the_first_part_after_the_role() {
        let clauses = table(&[("drv:pci/init/x:1", "MUST"), ("dev:packed:2", "MUST")]);

        let sections: Vec<_> = clauses.musts().map(Clause::section).collect();

        assert_eq!(sections, ["pci", "packed"]);
    }

    #[test]
    fn a_level_counts_if_there_is_a_must_in_it() {
        let clauses = table(&[
            ("drv:a:1", "SHOULD"),
            ("drv:a:2", "MAY+MUST NOT"),
            ("drv:a:3", "MUST"),
        ]);

        let ids: Vec<_> = clauses.musts().map(|clause| &clause.id).collect();

        assert_eq!(ids, ["drv:a:2", "drv:a:3"]);
        assert_eq!(clauses.find("drv:a:1").unwrap().level, "SHOULD");
    }

    #[test]
    fn a_row_without_its_columns_and_an_id_twice_are_refused() {
        let short = parse("id\nx\ty\n").err().unwrap();
        let row = "id\ndrv:a:1\tdriver\tA\tMUST\t\n";
        let twice = parse(&format!("{row}drv:a:1\tdriver\tB\tMUST\t\n")).unwrap();

        assert!(short.what.contains("2 columns"), "{short}");
        assert_eq!(parse(row).unwrap()[0].says(), "A");
        assert!(Clauses::new(twice).is_err());
    }
}
