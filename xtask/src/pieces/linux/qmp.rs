//! Telling QEMU what to do while it runs, over its monitor socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{Failure, Result};

/// Most time for an answer.
const LIMIT: Duration = Duration::from_secs(60);
/// Most lines before an answer: events, which nobody asked for.
const EVENTS_MAX: usize = 10_000;

/// A monitor that is connected.
pub(in crate::pieces) struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor of a QEMU that was started with `-qmp unix:SOCKET,server=on,wait=off`.
    ///
    /// # Errors
    ///
    /// It does not answer, or is no monitor.
    pub(in crate::pieces) fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(Failure::io("connect to", socket))?;
        stream
            .set_read_timeout(Some(LIMIT))
            .map_err(Failure::io("bound", socket))?;
        let mut monitor = Self {
            lines: BufReader::new(stream),
        };
        monitor.line()?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Has a command executed, and returns what it returns.
    ///
    /// # Errors
    ///
    /// QEMU refuses, or does not answer.
    pub(in crate::pieces) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let asked = json!({"execute": command, "arguments": arguments});
        let sent = writeln!(self.lines.get_mut(), "{asked}");
        sent.map_err(|e| Failure::new(format!("QEMU's monitor takes no {command}: {e}")))?;
        for _ in 0..EVENTS_MAX {
            if let Some(answer) = answer(&self.line()?) {
                return answer.map_err(|e| e.of(command));
            }
        }
        Err(Failure::new(format!("QEMU never answers {command}")))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Err(Failure::new("QEMU's monitor was closed")),
            Ok(_) => Ok(line),
            Err(e) => Err(Failure::new(format!("QEMU's monitor says nothing: {e}"))),
        }
    }
}

/// What a line answers; `None` if it is an event.
fn answer(line: &str) -> Option<Result<Value>> {
    let Ok(line) = serde_json::from_str::<Value>(line) else {
        return Some(Err(Failure::new(format!("no JSON: {line}"))));
    };
    if let Some(value) = line.get("return") {
        return Some(Ok(value.clone()));
    }
    let error = line.get("error")?;
    let text = error["desc"].as_str().unwrap_or("no reason given");
    Some(Err(Failure::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_events() {
        let returned = answer("{\"return\": {\"status\": \"active\"}}").unwrap();
        let refused =
            answer("{\"error\": {\"class\": \"x\", \"desc\": \"no such thing\"}}").unwrap();

        assert_eq!(returned.unwrap()["status"], "active");
        assert_eq!(refused.unwrap_err().what, "no such thing");
        assert!(answer("{\"event\": \"STOP\"}").is_none());
        assert!(answer("half a li").unwrap().is_err());
    }
}
