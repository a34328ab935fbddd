//! A child that runs: watched until it says something, or ends.

use std::io::{self, IsTerminal, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::heard::{self, Heard, Stream, lock};
use super::{Finished, Runner, family, show};
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

/// A child that runs. It is ended on drop, with everything that it started.
pub(crate) struct Running {
    child: Child,
    /// Where it is told what to do, if it is.
    input: Option<ChildStdin>,
    /// How it ended, once it is known.
    status: Option<ExitStatus>,
    heard: Arc<Mutex<Heard>>,
    listeners: Vec<JoinHandle<()>>,
    shown: String,
    by: Runner,
}

/// What a child can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To end when it likes.
    Terminate,
    /// To stand still.
    Stop,
}

/// Why watching came to its end.
enum Seen {
    /// What was watched for is there.
    Holds,
    Ended(ExitStatus),
    Late,
}

impl Running {
    pub(super) fn start(by: Runner, command: &mut Command, input: Stdio) -> Result<Self> {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| {
                let program = command.get_program().to_string_lossy();
                Failure::new(format!("cannot start {program}: {e}"))
            })?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let out = out.map(|p| heard::listen(p, &heard, Stream::Output, by.verbose));
        let err = err.map(|p| heard::listen(p, &heard, Stream::Error, by.verbose));
        let input = child.stdin.take();
        Ok(Self {
            child,
            input,
            status: None,
            heard,
            listeners: out.into_iter().chain(err).collect(),
            shown: show(command),
            by,
        })
    }

    /// Waits until `holds` of the log, which is asked now and then.
    ///
    /// # Errors
    ///
    /// The child ended before that, or `limit` has passed; the text says that it did not `what`.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut(&str) -> bool,
    ) -> Result<()> {
        match self.watch(limit, &mut holds) {
            Ok(Seen::Holds) => Ok(()),
            Ok(Seen::Ended(status)) => {
                self.drain();
                if holds(&self.log()) {
                    return Ok(());
                }
                Err(self.failed(format!("did not {what}, and ended: {status}")))
            }
            Ok(Seen::Late) => {
                let limit = limit.as_secs_f32();
                Err(self.failed(format!("did not {what} within {limit} s")))
            }
            Err(e) => Err(self.failed(format!("cannot be waited for: {e}"))),
        }
    }

    /// Waits until it ends, however it ends.
    ///
    /// # Errors
    ///
    /// It was ended after `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> Result<Finished> {
        let status = match self.watch(limit, |_| false) {
            Ok(Seen::Ended(status)) => status,
            Ok(_) => {
                self.end();
                self.drain();
                let limit = limit.as_secs_f32();
                return Err(self.failed(format!("did not end within {limit} s, and was ended")));
            }
            Err(e) => return Err(self.failed(format!("cannot be waited for: {e}"))),
        };
        self.drain();
        let heard = std::mem::take(&mut *lock(&self.heard));
        Ok(Finished {
            status,
            stdout: heard.stdout,
            stderr: heard.stderr,
            log: heard.log,
        })
    }

    /// Tells it something. One that has ended hears nothing.
    pub(crate) fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Stop => "-STOP",
        };
        if self.status.is_none() {
            family::signal(name, &[self.child.id()]);
        }
    }

    /// Writes a line to its standard input.
    ///
    /// # Errors
    ///
    /// It reads none, or has ended.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let told = match &mut self.input {
            Some(input) => writeln!(input, "{line}"),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        told.map_err(|e| self.failed(format!("cannot be told `{line}`: {e}")))
    }

    /// Everything that it has printed so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&lock(&self.heard).log).into_owned()
    }

    /// Says that it did not do as it should, with its log.
    pub(crate) fn failed(&self, what: impl AsRef<str>) -> Failure {
        Failure {
            what: format!("`{}` {}", self.shown, what.as_ref()),
            output: lock(&self.heard).log.clone(),
        }
    }

    /// Watches it for at most `limit`, until `holds` of its log.
    fn watch(&mut self, limit: Duration, mut holds: impl FnMut(&str) -> bool) -> io::Result<Seen> {
        let start = Instant::now();
        let live = io::stderr().is_terminal();
        let every = if live { QUIET } else { RARE };
        let mut next = start + QUIET;
        let seen = loop {
            if let Some(status) = self.child.try_wait()? {
                self.status = Some(status);
            }
            if holds(&self.log()) {
                break Seen::Holds;
            }
            if let Some(status) = self.status {
                break Seen::Ended(status);
            }
            let now = Instant::now();
            if now >= start + limit {
                break Seen::Late;
            }
            if now >= next && !self.by.verbose {
                let last = lock(&self.heard).last.clone();
                progress(live, self.by.topic, now - start, &last);
                next = now + every;
            }
            thread::sleep(LOOK);
        };
        if live && !self.by.verbose && start.elapsed() >= QUIET {
            eprint!("\r\x1b[2K");
        }
        Ok(seen)
    }

    /// Waits for the last of what it printed.
    fn drain(&mut self) {
        let closed = Instant::now() + PIPES_CLOSE;
        for listener in self.listeners.drain(..) {
            while !listener.is_finished() && Instant::now() < closed {
                thread::sleep(LOOK);
            }
        }
    }

    fn end(&mut self) {
        if self.status.is_none() {
            // What cannot be ended has ended.
            let _ = family::end(&mut self.child);
            self.status = self.child.try_wait().ok().flatten();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Running {
        let mut command = Command::new("sh");
        Runner::TEST
            .start(command.args(["-c", script]))
            .expect("there is a shell")
    }

    #[test]
    fn a_child_is_watched_until_it_says_something() {
        let mut child = shell("echo one; echo two; tail -f /dev/null");

        let said = child.wait_until("say two", SOON, |log| log.contains("two\n"));

        said.unwrap();
        assert_eq!(child.log(), "one\ntwo\n");
    }

    #[test]
    fn a_child_that_ends_first_has_not_said_it() {
        let mut child = shell("echo one; exit 7");

        let failed = child.wait_until("say two", SOON, |log| log.contains("two"));

        let failed = failed.unwrap_err();
        assert!(
            failed
                .what
                .contains("did not say two, and ended: exit status: 7")
        );
        assert_eq!(failed.output, b"one\n");
    }

    #[test]
    fn a_child_is_told_what_to_do_line_by_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "while read line; do echo heard $line; done"]);
        let mut child = Runner::TEST.start_told(&mut command).unwrap();

        child.tell("one").unwrap();
        child
            .wait_until("answer", SOON, |log| log.contains("heard one\n"))
            .unwrap();
        let mut deaf = shell("tail -f /dev/null");

        assert!(deaf.tell("one").unwrap_err().what.contains("told `one`"));
    }

    #[test]
    fn a_child_that_is_told_to_end_ends_as_it_likes() {
        let mut child = shell("trap 'exit 5' TERM; echo up; while :; do read x </dev/null; done");
        child
            .wait_until("come up", SOON, |log| log.contains("up"))
            .unwrap();

        child.signal(Signal::Terminate);

        assert_eq!(child.finish(SOON).unwrap().status.code(), Some(5));
    }
}
