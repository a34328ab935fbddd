//! Children: started without input, watched, kept quiet unless they fail, and
//! ended if they outlive their time.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// How often a child is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// A child that runs for longer gets a progress line.
const QUIET: Duration = Duration::from_secs(1);
/// Between progress lines where they cannot overwrite each other.
const RARE: Duration = Duration::from_secs(30);
/// How long a pipe may stay open after its child has ended, so that a
/// grandchild that kept it cannot hang us.
const PIPES_CLOSE: Duration = Duration::from_secs(5);
/// Most bytes kept of what a child prints, so that a child gone mad cannot
/// fill our memory.
const KEPT: usize = 32 << 20;

/// Starts children and shows how they get on.
pub(crate) struct Runner {
    /// Pass on everything that children print.
    pub(crate) verbose: bool,
    /// What they are started for; progress lines say it.
    pub(crate) topic: &'static str,
}

/// A child that has ended.
pub(crate) struct Finished {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to standard output.
    pub(crate) stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub(crate) stderr: Vec<u8>,
    /// Both of them, in the order they came.
    pub(crate) log: Vec<u8>,
}

impl Runner {
    /// Runs `command` to its end, however it ends.
    ///
    /// # Errors
    ///
    /// The child could not be started, or was ended after `limit`.
    pub(crate) fn run(&self, command: &mut Command, limit: Duration) -> Result<Finished> {
        let shown = show(command);
        let start = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| {
                let program = command.get_program().to_string_lossy();
                Failure::new(format!("cannot start {program}: {e}"))
            })?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let listeners = [
            child.stdout.take().map(|p| self.listen(p, &heard, false)),
            child.stderr.take().map(|p| self.listen(p, &heard, true)),
        ];

        let ended = self.watch(&mut child, start + limit, &heard);
        let closed = Instant::now() + PIPES_CLOSE;
        for listener in listeners.into_iter().flatten() {
            while !listener.is_finished() && Instant::now() < closed {
                thread::sleep(LOOK);
            }
        }

        let heard = std::mem::take(&mut *lock(&heard));
        let failed = |what: String| Failure {
            what,
            output: heard.log.clone(),
        };
        match ended {
            Err(e) => Err(failed(format!("cannot wait for `{shown}`: {e}"))),
            Ok(None) => Err(failed(format!(
                "`{shown}` did not end within {} s, and was ended",
                limit.as_secs_f32()
            ))),
            Ok(Some(status)) => Ok(Finished {
                status,
                stdout: heard.stdout,
                stderr: heard.stderr,
                log: heard.log,
            }),
        }
    }

    /// Runs `command`, which must succeed.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), or the child failed.
    pub(crate) fn succeed(&self, command: &mut Command, limit: Duration) -> Result<Finished> {
        let done = self.run(command, limit)?;
        if done.status.success() {
            return Ok(done);
        }
        Err(Failure {
            what: format!("`{}` failed: {}", show(command), done.status),
            output: done.log,
        })
    }

    /// Collects what comes out of one pipe, on a thread of its own.
    fn listen(
        &self,
        pipe: impl Read + Send + 'static,
        heard: &Arc<Mutex<Heard>>,
        error: bool,
    ) -> JoinHandle<()> {
        let heard = Arc::clone(heard);
        let verbose = self.verbose;
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                if verbose {
                    // Nothing is lost if our own standard error is gone.
                    let _ = io::stderr().write_all(&line);
                }
                lock(&heard).add(&line, error);
                line.clear();
            }
        })
    }

    /// Waits for `child` until `deadline`; ends it then, and returns `None`.
    fn watch(
        &self,
        child: &mut Child,
        deadline: Instant,
        heard: &Mutex<Heard>,
    ) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        let live = io::stderr().is_terminal();
        let every = if live { QUIET } else { RARE };
        let mut next = start + QUIET;
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            let now = Instant::now();
            if now >= deadline {
                end_family(child)?;
                break None;
            }
            if now >= next && !self.verbose {
                let last = lock(heard).last.clone();
                progress(live, self.topic, now - start, &last);
                next = now + every;
            }
            thread::sleep(LOOK);
        };
        if live && !self.verbose && start.elapsed() >= QUIET {
            eprint!("\r\x1b[2K");
        }
        Ok(ended)
    }
}

#[cfg(test)]
impl Runner {
    /// What tests start children with.
    pub(crate) const TEST: Self = Self {
        verbose: false,
        topic: "test",
    };
}

/// The command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let words: Vec<_> = std::iter::once(program.file_name().unwrap_or_default())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    words.join(" ")
}

#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    log: Vec<u8>,
    /// The last line that says something.
    last: String,
}

impl Heard {
    fn add(&mut self, line: &[u8], error: bool) {
        if self.log.len() < KEPT {
            let own = if error {
                &mut self.stderr
            } else {
                &mut self.stdout
            };
            own.extend_from_slice(line);
            self.log.extend_from_slice(line);
        }
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            self.last = text.trim().to_owned();
        }
    }
}

/// A listener that panicked has still heard what it heard.
fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn progress(live: bool, topic: &str, elapsed: Duration, last: &str) {
    let last: String = last.chars().filter(|c| !c.is_control()).take(50).collect();
    let line = format!("{topic}: {} s  {last}", elapsed.as_secs());
    if live {
        eprint!("\r\x1b[2K{line}");
    } else {
        eprintln!("{line}");
    }
}

/// Ends `child` and everything that it started: cargo does not end the test
/// that hangs when it is ended itself.
fn end_family(child: &mut Child) -> io::Result<()> {
    let family = descendants(child.id(), &parents());
    child.kill()?;
    child.wait()?;
    if !family.is_empty() {
        // Those that have ended meanwhile are no failure.
        let _ = Command::new("kill")
            .arg("-KILL")
            .args(family.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }
    Ok(())
}

/// Each process and its parent, where the system lists them in `/proc`.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in parentheses, may itself hold spaces and parentheses.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((pid, parent.parse().ok()?))
        })
        .collect()
}

/// The children of `of`, and theirs, and so on.
fn descendants(of: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut family = Vec::new();
    let mut from = vec![of];
    while let Some(parent) = from.pop() {
        let children = parents.iter().filter(|(_, p)| *p == parent);
        for (child, _) in children.filter(|(c, _)| *c != parent) {
            if !family.contains(child) {
                family.push(*child);
                from.push(*child);
            }
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIETLY: Runner = Runner::TEST;
    const SOON: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_two_outputs_are_kept_apart_and_together() {
        let done = QUIETLY.run(&mut shell("echo out; echo err >&2; exit 3"), SOON);

        let done = done.unwrap();
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(
            (&*done.stdout, &*done.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(done.log.len(), 8);
    }

    #[test]
    fn a_child_that_fails_hands_over_what_it_printed() {
        let failed = QUIETLY.succeed(&mut shell("echo why; exit 1"), SOON).err();

        let failed = failed.unwrap();
        assert_eq!(failed.output, b"why\n");
        assert!(failed.what.contains("exit status: 1"), "{failed}");
    }

    #[test]
    fn a_child_that_never_ends_is_ended_with_its_children() {
        let mut forever = shell("tail -f /dev/null & tail -f /dev/null");

        let start = Instant::now();
        let failed = QUIETLY.run(&mut forever, Duration::from_millis(200)).err();

        assert!(failed.unwrap().what.contains("did not end within 0.2 s"));
        assert!(start.elapsed() < PIPES_CLOSE, "the pipes were closed");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failed = QUIETLY
            .run(&mut Command::new("no-such-program"), SOON)
            .err();

        assert!(failed.unwrap().what.contains("no-such-program"));
    }

    #[test]
    fn a_family_is_found_through_its_parents() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (1, 0)];

        let family = descendants(2, &parents);

        assert_eq!(family, [3, 4]);
    }
}
