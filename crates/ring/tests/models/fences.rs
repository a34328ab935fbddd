//! Each fence of the rings is needed: a scenario fails without it.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe, Location};
use std::path::Path;

use ringway_ring::model::{crossed, without};

use crate::ends::{Kind, explore};
use crate::scenarios::SCENARIOS;

/// How a fence is asked for, in the sources.
const CALLS: [&str; 3] = ["order.publish()", "order.consume()", "order.store_load()"];

/// A scenario on a ring of some kind, and the fences that it crosses.
struct Run {
    name: &'static str,
    scenario: fn(Kind),
    kind: Kind,
    fences: BTreeSet<Location<'static>>,
}

#[test]
fn every_fence_is_needed() {
    let runs = runs();
    let fences: BTreeSet<_> = runs.iter().flat_map(|run| run.fences.clone()).collect();
    hush();

    let mut missed = Vec::new();
    for fence in &fences {
        let found = runs
            .iter()
            .filter(|run| run.fences.contains(fence))
            .find_map(|run| Some((run, failure(run, *fence)?)));
        match found {
            Some((run, why)) => println!("{fence}: {} on {}: {why}", run.name, run.kind),
            None => missed.push(fence.to_string()),
        }
    }

    assert!(
        missed.is_empty(),
        "no scenario fails without the fences at {missed:#?}"
    );
    let crossed: BTreeSet<_> = fences
        .iter()
        .map(|at| (at.file().to_owned(), at.line()))
        .collect();
    assert_eq!(
        crossed,
        written(),
        "fences that scenarios cross, and those in the sources"
    );
}

fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for (name, scenario) in SCENARIOS {
        for kind in Kind::all() {
            let fences = crossed(|| explore(kind, scenario));
            runs.push(Run {
                name,
                scenario,
                kind,
                fences,
            });
        }
    }
    runs
}

/// How `run` fails without `fence`, if it does.
fn failure(run: &Run, fence: Location<'static>) -> Option<String> {
    let run = AssertUnwindSafe(|| explore(run.kind, run.scenario));
    HUSHED.set(true);
    let result = without(fence, || panic::catch_unwind(run));
    HUSHED.set(false);
    result.err().map(|panic| text(&*panic))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words")
        .trim()
        .replace('\n', " ")
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
