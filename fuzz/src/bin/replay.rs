//! Runs a target on its kept corpus, and then on what chance makes of it. For those without
//! cargo-fuzz.
//!
//! `replay TARGET [--seconds N] [--seed S]`, or `replay TARGET FILE…` for inputs that failed. An
//! input that fails is written below `artifacts`, and named.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ringway_fuzz::{Chance, TARGETS, Target};

/// Most bytes of an input that chance makes.
const LONGEST: usize = 1024;
/// Most time for one input. One that takes longer has no end.
const LIMIT: Duration = Duration::from_secs(20);
const USAGE: &str = "usage: replay TARGET [--seconds N] [--seed S] [FILE...]";

struct Args {
    target: &'static Target,
    seconds: u64,
    seed: u64,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let Some(args) = args() else {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        eprintln!("{USAGE}\ntargets: {}", names.join(" "));
        return ExitCode::from(2);
    };
    match replay(&args) {
        Ok(runs) => {
            println!(
                "{}: {runs} inputs, none failed (seed {})",
                args.target.name, args.seed
            );
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}: {why} (seed {})", args.target.name, args.seed);
            ExitCode::FAILURE
        }
    }
}

fn args() -> Option<Args> {
    let mut words = std::env::args().skip(1);
    let name = words.next()?;
    let mut args = Args {
        target: TARGETS.iter().find(|target| target.name == name)?,
        seconds: 0,
        seed: 1,
        files: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => args.seconds = words.next()?.parse().ok()?,
            "--seed" => args.seed = words.next()?.parse().ok()?,
            file if !file.starts_with('-') => args.files.push(file.into()),
            _ => return None,
        }
    }
    Some(args)
}

/// Runs everything. Says how many inputs there were, or which one failed.
fn replay(args: &Args) -> Result<u64, String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = if args.files.is_empty() {
        files(&home.join("corpus").join(args.target.name))?
    } else {
        args.files.clone()
    };
    let mut corpus = Vec::new();
    for file in files {
        let data = fs::read(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        corpus.push(data);
    }
    let artifacts = home.join("artifacts").join(args.target.name);
    let mut runs = 0;
    for data in &corpus {
        one(args.target, data, &artifacts)?;
        runs += 1;
    }
    let mut chance = Chance::new(args.seed);
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while args.files.is_empty() && Instant::now() < end {
        let data = mutate(&corpus, &mut chance);
        one(args.target, &data, &artifacts)?;
        runs += 1;
    }
    Ok(runs)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// Runs one input, on a thread of its own that is given up if it does not end.
fn one(target: &Target, data: &[u8], artifacts: &Path) -> Result<(), String> {
    let run = target.run;
    let input = data.to_vec();
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = panic::catch_unwind(AssertUnwindSafe(|| run(&input)));
        // Nobody listens any more if the time is over.
        let _ = done.send(result.is_ok());
    });
    let what = match ended.recv_timeout(LIMIT) {
        Ok(true) => {
            return thread.join().map_err(|_| "the runner panicked".to_owned());
        }
        Ok(false) => "failed",
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => "did not end",
    };
    // FNV-1a: a name for the input.
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = artifacts.join(format!("{hash:016x}"));
    fs::create_dir_all(artifacts)
        .and_then(|()| fs::write(&path, data))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Err(format!("an input {what}: {}", path.display()))
}

/// Makes an input from the corpus: two of it spliced, and a few places changed; or one from
/// nothing.
fn mutate(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut data = Vec::new();
    if !corpus.is_empty() && chance.below(8) != 0 {
        data.clone_from(&corpus[chance.below(corpus.len())]);
        if chance.below(3) == 0 {
            let other = &corpus[chance.below(corpus.len())];
            data.truncate(chance.below(data.len() + 1));
            data.extend_from_slice(&other[chance.below(other.len() + 1)..]);
        }
    }
    if data.is_empty() {
        let count = chance.below(LONGEST);
        data.extend((0..count).map(|_| chance.number() as u8));
    }
    for _ in 0..chance.below(12) {
        let at = chance.below(data.len());
        match chance.below(6) {
            0 if !data.is_empty() => data[at] ^= 1 << chance.below(8),
            1 if !data.is_empty() => data[at] = chance.number() as u8,
            2 if !data.is_empty() => data[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][chance.below(6)],
            3 => data.insert(at, chance.number() as u8),
            4 if !data.is_empty() => {
                data.remove(at);
            }
            _ => {
                let end = (at + 1 + chance.below(32)).min(data.len());
                let again = data[at.min(end)..end].to_vec();
                data.splice(at..at, again);
            }
        }
    }
    data.truncate(LONGEST);
    data
}
