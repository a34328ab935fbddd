//! Whether a judge of back-ends is one: what a machine under load finds of them is found, too, if they
//! forget what they are to write down.
//!
//! First comes one that is as slow, and forgets nothing, so that what is found is no fault of that. How
//! long it takes says how long one that forgets may take, for most of those stand still in the end.

use std::time::{Duration, Instant};

use super::{Case, Does, LIMIT, SPLIT, Tools};
use crate::failure::{Failure, Result};
use crate::pieces::linux::Rows;
use crate::pieces::linux::backend::{Forgetful, Forgets, Server};
use crate::pieces::{Desk, Set};

/// What is done, what a back-end must not forget meanwhile, and how late its requests are: where some are
/// to have been overtaken at any moment, later than most that are asked meanwhile; where memory is to be
/// written all the time, not late at all.
const PAIRS: [(Does, Forgets, u16, &str); 2] = [
    (Does::Reconnect, Forgets::Records, 150, "killed"),
    (Does::Migrate, Forgets::Log, 1, "migrated"),
];

/// Least time for a step, on a machine that has become slower meanwhile.
const LEAST: Duration = Duration::from_secs(15);

/// What is said of a machine that is not served as it should be.
const FINDINGS: [&str; 3] = ["not so: ", "did not come to round", "did not end within"];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let tools = Tools::find(desk)?.with_forgetful(desk)?;
    let mut rows = Rows::default();
    for (does, forgets, late, what) in PAIRS {
        let by = |forgets| Forgetful { forgets, late };
        let start = Instant::now();
        let slow = case(does, by(Forgets::Nothing), LIMIT).run(desk, &tools);
        let limit = start.elapsed().max(LEAST);
        let is_right = slow.is_ok();
        rows.add(&format!("{what}, slow"), slow);
        if is_right {
            let judged = case(does, by(forgets), limit).run(desk, &tools);
            rows.add(&format!("{what}, {forgets:?} forgotten"), found(judged));
        }
    }
    let (linux, qemu) = (tools.parts.linux.version, tools.parts.qemu.version);
    rows.finish(format!("on Linux {linux}, QEMU {qemu}"))
}

fn case(does: Does, by: Forgetful, limit: Duration) -> Case {
    Case {
        set: Set::All,
        server: Server::Forgetful(by),
        limit,
        ..Case::new("forgotten", does, SPLIT)
    }
}

/// Turns it round: what was wrong is right.
fn found(judged: Result<String>) -> Result<String> {
    match judged {
        Ok(did) => Err(Failure::new(format!("nothing was found: {did}"))),
        Err(failure) if FINDINGS.iter().any(|said| failure.what.contains(said)) => {
            let what = failure.what;
            // How the machine was started is said with it.
            let what = what.rsplit('`').next().unwrap_or(&what).trim();
            Ok(format!("found: {what}"))
        }
        // It says nothing of what was forgotten.
        Err(failure) => Err(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_found_and_what_is_right_or_did_not_begin_is_not() {
        let wrong = found(Err(Failure::new(
            "after 2 kills: `qemu` did not come to round 5 within 15 s",
        )));
        let right = found(Ok("4 kills".to_owned()));
        let failed = found(Err(Failure::new("cannot start qemu: no such file")));

        let said = "found: did not come to round 5 within 15 s";
        assert_eq!(wrong.ok().as_deref(), Some(said));
        assert!(right.is_err_and(|e| e.what.contains("nothing was found")));
        assert!(failed.is_err_and(|e| e.what.contains("cannot start qemu")));
    }
}
