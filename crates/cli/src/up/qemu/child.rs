//! A child process that is listened to, and never outlives whoever listens.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// How long a child that has closed its output may take to end.
const LEAVE: Duration = Duration::from_secs(10);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// Longest line, in bytes. Longer ones are cut, so that a child cannot fill our memory with one.
const LINE_MAX: u64 = 1 << 20;

/// How much is kept of what is said on standard error, in bytes: the last of it.
const COMPLAINT_MAX: usize = 4096;

/// How a child ended.
pub(super) struct Ended {
    pub(super) how: How,
    /// The last that it said on standard error.
    pub(super) complaint: String,
}

/// Whether a child ended, or was ended.
pub(super) enum How {
    /// It ended by itself.
    Left(ExitStatus),
    /// It was silent for so long, and was killed.
    Silent(Duration),
    /// It closed its output, did not end, and was killed.
    Stayed,
}

/// Runs `command`, and hands each line of its standard output to `hear`. Kills it if there is none
/// for longer than `silence`.
pub(super) fn run(
    mut command: Command,
    silence: Duration,
    hear: &mut dyn FnMut(&str),
) -> io::Result<Ended> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    sys::end_with_parent(&mut command);
    let mut child = Guard(command.spawn()?);
    let (output, errors) = (child.0.stdout.take(), child.0.stderr.take());
    let (say, said) = mpsc::sync_channel(64);
    thread::spawn(move || {
        for line in output.into_iter().flat_map(lines) {
            if say.send(line).is_err() {
                break;
            }
        }
    });
    let (complain, complaint) = mpsc::channel();
    thread::spawn(move || complain.send(errors.map(end_of)));

    let how = loop {
        match said.recv_timeout(silence) {
            Ok(line) => hear(&line),
            Err(RecvTimeoutError::Timeout) => break How::Silent(silence),
            Err(RecvTimeoutError::Disconnected) => {
                break child.leave().map_or(How::Stayed, How::Left);
            }
        }
    };
    drop(child);
    // Not waited for without end: a child's own children may have its standard error still.
    let complaint = complaint.recv_timeout(LEAVE).ok().flatten();
    Ok(Ended {
        how,
        complaint: complaint.unwrap_or_default(),
    })
}

/// A child that is killed when it is dropped.
struct Guard(Child);

impl Guard {
    /// Waits for it to end, for a while.
    fn leave(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + LEAVE;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Either fails if it has ended already, and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of `from`, without their ends.
fn lines(from: impl Read) -> impl Iterator<Item = String> {
    let mut from = BufReader::new(from);
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        let read = from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        let line = String::from_utf8_lossy(&line);
        matches!(read, Ok(1..)).then(|| line.trim_end().to_owned())
    })
}

/// Reads to the end, and keeps the last of it.
fn end_of(mut from: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; COMPLAINT_MAX]);
    while let Ok(len @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(piece.get(..len).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(COMPLAINT_MAX));
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Vec<String>, Ended) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut heard = Vec::new();
        let silence = Duration::from_secs(60);
        let ended = run(command, silence, &mut |line| heard.push(line.to_owned()));
        (heard, ended.unwrap())
    }

    #[test]
    fn lines_are_heard_and_the_end_is_told() {
        let (heard, ended) =
            shell("echo one; printf 'two\\r\\n'; echo oh >&2; printf three; exit 3");

        assert_eq!(heard, ["one", "two", "three"]);
        assert!(matches!(ended.how, How::Left(status) if status.code() == Some(3)));
        assert_eq!(ended.complaint, "oh");
    }

    #[test]
    fn a_child_that_is_silent_for_too_long_is_killed() {
        let silence = Duration::from_millis(50);
        let mut command = Command::new("sleep");
        command.arg("1000");

        let ended = run(command, silence, &mut |_| {}).unwrap();

        assert!(matches!(ended.how, How::Silent(limit) if limit == silence));
    }

    #[test]
    fn a_child_is_killed_when_nobody_listens_any_more() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = format!("/proc/{}", child.id());

        drop(Guard(child));

        assert!(!std::path::Path::new(&process).exists());
    }

    #[test]
    fn of_what_is_said_on_standard_error_the_end_is_kept() {
        let text = "a".repeat(3 * COMPLAINT_MAX) + "the end\n";

        let kept = end_of(text.as_bytes());

        assert!(kept.len() <= COMPLAINT_MAX);
        assert!(kept.ends_with("athe end"));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let command = Command::new("no-such-program");

        let error = run(command, Duration::ZERO, &mut |_| {}).err();

        assert_eq!(error.map(|it| it.kind()), Some(io::ErrorKind::NotFound));
    }
}
