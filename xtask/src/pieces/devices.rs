//! QEMU's devices in all the ways that they can be presented, under the drivers of the bare-metal
//! image: each row of a table is a disk and an entropy device, and what both must have been driven
//! by. Many rows share a machine, since starting one takes longer than a row.
//!
//! | file | |
//! | --- | --- |
//! | [`product`] | every interface, with every shortage of messages, ring format and feature of rings |
//! | [`declined`] | what the driver and its machine do without, though it is offered |
//! | [`special`] | switches that stand for themselves |
//! | [`row`] | a row, and what is demanded of it |
//! | [`boot`] | the machines that rows share |

mod boot;
mod declined;
pub(super) mod product;
pub(super) mod row;
mod special;

use super::{Desk, cargo};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;
use row::Row;

/// Every way in which devices are presented, and those in which one does without.
pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let rows = [product::rows(), special::rows(), declined::few()].concat();
    run_rows(desk, &rows)
}

/// What is declined, in every combination.
pub(super) fn run_long(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_rows(desk, &declined::rows())
}

fn run_rows(desk: &Desk<'_>, rows: &[Row]) -> Result<Vec<String>> {
    cargo::guest(desk)?;
    let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
    let scratch = Scratch::new("devices")?;
    let (mut wrong, mut output) = (Vec::new(), Vec::new());
    let boots = boot::share(rows);
    for boot in &boots {
        let (faults, log) = boot.run(desk, &qemu.path, scratch.path())?;
        if !faults.is_empty() {
            output.extend(log);
        }
        wrong.extend(faults);
    }
    if wrong.is_empty() {
        return Ok(vec![format!(
            "{} rows in {} machines, a disk and an entropy device each, on QEMU {}",
            rows.len(),
            boots.len(),
            qemu.version,
        )]);
    }
    Err(Failure {
        what: wrong.join("\n"),
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_share_a_name() {
        let rows = [product::rows(), special::rows(), declined::rows()].concat();
        let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), rows.len());
    }
}
