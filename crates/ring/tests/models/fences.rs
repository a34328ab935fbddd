//! Each fence of the rings is needed, whatever the kind of ring: a scenario fails without it.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe, Location};
use std::path::Path;

use ringway_ring::model::{crossed, without};

use crate::ends::{Kind, explore};
use crate::scenarios::{SCENARIOS, Scenario};

/// How a fence is asked for, in the sources.
const CALLS: [&str; 3] = ["order.publish()", "order.consume()", "order.store_load()"];

/// How a scenario may fail without a fence.
const FAILURES: [&str; 3] = [
    "a kick was lost",
    "an interrupt was lost",
    // Two accesses to what is handed over, in no order.
    "Causality violation",
];
/// Most times that an end is stopped where it could go on: enough for all of these.
const PREEMPTIONS_MAX: usize = 2;

/// A scenario, and the fences that it crosses.
struct Run {
    name: &'static str,
    scenario: fn(Kind),
    fences: BTreeSet<Location<'static>>,
}

#[test]
fn every_fence_is_needed() {
    hush();

    let mut missed = Vec::new();
    let mut crossed = BTreeSet::new();
    for kind in Kind::all() {
        let runs = runs(kind);
        let fences: BTreeSet<_> = runs.iter().flat_map(|run| run.fences.clone()).collect();
        for fence in &fences {
            let mut crossing = runs.iter().filter(|run| run.fences.contains(fence));
            match crossing.find_map(|run| Some((run.name, failure(kind, run, *fence)?))) {
                Some((name, why)) => println!("{kind}, without {fence}, in {name}: {why}"),
                None => missed.push(format!("{kind}: {fence}")),
            }
        }
        crossed.extend(fences.iter().map(|at| (at.file().to_owned(), at.line())));
    }

    assert!(missed.is_empty(), "nothing fails without {missed:#?}");
    let written = written();
    assert_eq!(
        crossed, written,
        "fences crossed, and fences in the sources"
    );
}

fn runs(kind: Kind) -> Vec<Run> {
    let run = |(name, scenario): Scenario| {
        let fences = crossed(|| explore(kind, scenario, PREEMPTIONS_MAX));
        Run {
            name,
            scenario,
            fences,
        }
    };
    SCENARIOS.map(run).into()
}

/// How `run` fails without `fence`, if it does.
fn failure(kind: Kind, run: &Run, fence: Location<'static>) -> Option<&'static str> {
    let model = AssertUnwindSafe(|| explore(kind, run.scenario, PREEMPTIONS_MAX));
    HUSHED.set(true);
    let result = without(fence, || panic::catch_unwind(model));
    HUSHED.set(false);
    let panic = result.err()?;
    let text = text(&*panic);
    let known = FAILURES.into_iter().find(|failure| text.contains(failure));
    Some(known.unwrap_or_else(|| panic!("{} without {fence}: {text}", run.name)))
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words")
}

/// The fences in the sources: file and line.
fn written() -> BTreeSet<(String, u32)> {
    let mut found = BTreeSet::new();
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = crate_root.ancestors().nth(2).unwrap();
    let mut folders = vec![crate_root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let file = path.strip_prefix(repository).unwrap().to_str().unwrap();
            let calls = (1..)
                .zip(text.lines())
                .filter(|(_, line)| CALLS.iter().any(|call| line.contains(call)));
            found.extend(calls.map(|(number, _)| (file.to_owned(), number)));
        }
    }
    found
}

thread_local! {
    /// Whether panics of this thread are expected, and not to be printed.
    static HUSHED: Cell<bool> = const { Cell::new(false) };
}

fn hush() {
    let loud = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !HUSHED.get() {
            loud(info);
        }
    }));
}
