//! Children: started without input, unless they are told what to do, watched, kept quiet unless they fail, and
//! ended if they outlive their time.

mod family;
mod heard;
mod running;

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::failure::{Failure, Result};
pub(crate) use running::{Running, Signal};

/// Starts children and shows how they get on.
#[derive(Clone, Copy)]
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
        self.start(command)?.finish(limit)
    }

    /// Starts `command`, and lets it run.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Running> {
        Running::start(*self, command, Stdio::null())
    }

    /// Starts `command`, which is [told](Running::tell) what to do while it runs.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub(crate) fn start_told(&self, command: &mut Command) -> Result<Running> {
        Running::start(*self, command, Stdio::piped())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const QUIETLY: Runner = Runner::TEST;
    const SOON: Duration = Duration::from_secs(30);
    /// Before the pipes are given up.
    const AT_ONCE: Duration = Duration::from_secs(5);

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
        assert!(start.elapsed() < AT_ONCE, "the pipes were closed");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failed = QUIETLY
            .run(&mut Command::new("no-such-program"), SOON)
            .err();

        assert!(failed.unwrap().what.contains("no-such-program"));
    }
}
