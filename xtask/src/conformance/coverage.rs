//! How many clauses of each section the tests cover, as a table and as JSON.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::clauses::{Clause, Clauses};

/// What a report is about: all, or less.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) section: Option<String>,
    pub(super) role: Option<String>,
}

impl Filter {
    /// Whether it is about less than all.
    pub(super) fn is_narrow(&self) -> bool {
        self.section.is_some() || self.role.is_some()
    }

    fn takes(&self, clause: &Clause) -> bool {
        let is = |wanted: &Option<String>, it: &str| wanted.as_deref().is_none_or(|w| w == it);
        is(&self.section, clause.section()) && is(&self.role, &clause.role)
    }
}

/// What is covered of the clauses that say MUST, or MUST NOT.
#[derive(Debug, Serialize)]
pub(super) struct Coverage<'c> {
    pub(super) sections: Vec<Section<'c>>,
}

/// One section, as it concerns one role.
#[derive(Debug, Serialize)]
pub(super) struct Section<'c> {
    pub(super) section: &'c str,
    pub(super) role: &'c str,
    /// How many there are.
    clauses: usize,
    pub(super) covered: usize,
    /// The ids of the others.
    uncovered: Vec<&'c str>,
    #[serde(skip)]
    says: Vec<&'c str>,
}

impl<'c> Coverage<'c> {
    /// Counts what `filter` takes of `clauses`. `covered` are the ids of those that a test shows.
    pub(super) fn new(clauses: &'c Clauses, covered: &HashSet<&str>, filter: &Filter) -> Self {
        let mut sections: BTreeMap<(&str, &str), Section<'c>> = BTreeMap::new();
        for clause in clauses.musts().filter(|clause| filter.takes(clause)) {
            let (section, role) = (clause.section(), clause.role.as_str());
            let row = sections.entry((section, role)).or_insert(Section {
                section,
                role,
                clauses: 0,
                covered: 0,
                uncovered: Vec::new(),
                says: Vec::new(),
            });
            row.clauses += 1;
            if covered.contains(clause.id.as_str()) {
                row.covered += 1;
            } else {
                row.uncovered.push(&clause.id);
                row.says.push(clause.says());
            }
        }
        Self {
            sections: sections.into_values().collect(),
        }
    }

    /// A table, and below it, if `all`, each clause that is not covered with what it says.
    pub(super) fn lines(&self, all: bool) -> Vec<String> {
        let row = |section: &str, role: &str, [clauses, covered, uncovered]: [&dyn ToString; 3]| {
            let [clauses, covered, uncovered] =
                [clauses, covered, uncovered].map(ToString::to_string);
            format!("{section:<28} {role:<7} {clauses:>8} {covered:>8} {uncovered:>10}")
        };
        let counts = ["clauses", "covered", "uncovered"];
        let [a, b, c] = &counts;
        let mut lines = vec![row("section", "role", [a, b, c])];
        for it in &self.sections {
            let uncovered = it.uncovered.len();
            let counts: [&dyn ToString; 3] = [&it.clauses, &it.covered, &uncovered];
            lines.push(row(it.section, it.role, counts));
        }
        let sum = |of: fn(&Section<'_>) -> usize| self.sections.iter().map(of).sum::<usize>();
        let clauses = sum(|it| it.clauses);
        let covered = sum(|it| it.covered);
        lines.push(row("total", "", [&clauses, &covered, &(clauses - covered)]));
        if all {
            lines.push(String::new());
            for it in &self.sections {
                let rows = it.uncovered.iter().zip(&it.says);
                lines.extend(rows.map(|(id, says)| format!("{id}: {says}")));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::clauses::tests::table;

    fn clauses() -> Clauses {
        table(&[
            ("drv:b/x:1", "MUST"),
            ("drv:b/x:2", "MUST NOT"),
            ("drv:b/y:1", "SHOULD"),
            ("dev:b:1", "MUST"),
            ("drv:a:1", "MUST+MAY"),
        ])
    }

    #[test]
    fn sections_are_counted_for_each_role() {
        let clauses = clauses();
        let covered = HashSet::from(["drv:b/x:2", "drv:b/y:1"]);

        let coverage = Coverage::new(&clauses, &covered, &Filter::default());

        let json = serde_json::to_string(&coverage).unwrap();
        let a =
            r#"{"section":"a","role":"driver","clauses":1,"covered":0,"uncovered":["drv:a:1"]}"#;
        let dev =
            r#"{"section":"b","role":"device","clauses":1,"covered":0,"uncovered":["dev:b:1"]}"#;
        let drv =
            r#"{"section":"b","role":"driver","clauses":2,"covered":1,"uncovered":["drv:b/x:1"]}"#;
        assert_eq!(json, format!(r#"{{"sections":[{a},{dev},{drv}]}}"#));
    }

    #[test]
    fn a_narrow_report_says_what_is_not_covered() {
        let clauses = clauses();
        let filter = Filter {
            section: Some("b".to_owned()),
            role: Some("driver".to_owned()),
        };

        let coverage = Coverage::new(&clauses, &HashSet::from(["drv:b/x:2"]), &filter);

        let lines = coverage.lines(filter.is_narrow());
        assert_eq!(lines.len(), 5);
        assert!(lines[1].ends_with("driver         2        1          1"));
        assert_eq!(lines[4], "drv:b/x:1: do drv:b/x:1");
    }
}
