//! DPDK's packet forwarder, behind whose vhost port our driver is: told what to do by its command line,
//! and asked what it counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::child::Running;
use crate::failure::{Failure, Result};
use crate::pieces::Desk;

/// Most time for an answer, on a machine that has other work too.
const LIMIT: Duration = Duration::from_secs(30);

/// Megabytes of memory, without huge pages, and buffers in it: many for a packet of 64 KiB.
const MEMORY: &str = "128";
const BUFFERS: &str = "16384";

/// What counters of a port end with, and those of forwarding.
const PORT_END: &str = "########################################";
const FORWARDING_END: &str = "++++++++++++++++++++++++++++++++++++++++";

/// A forwarder with one port, which returns what it receives.
pub(super) struct Testpmd {
    running: Running,
    /// How much of what it has printed is dealt with.
    read: usize,
    pub(super) socket: PathBuf,
}

/// What it counted: packets, and bytes where it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) received_bytes: u64,
    pub(super) returned: u64,
    pub(super) returned_bytes: u64,
}

impl Testpmd {
    /// Starts one in `folder`, which is its own, with so many pairs of queues. `mode` is how it returns
    /// packets.
    ///
    /// # Errors
    ///
    /// It does not come up.
    pub(super) fn start(
        desk: &Desk<'_>,
        program: &Path,
        folder: &Path,
        queues: u16,
        mode: &str,
    ) -> Result<Self> {
        let socket = folder.join("net.sock");
        // One that was killed leaves its socket behind.
        if let Err(e) = fs::remove_file(&socket)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::io("remove", &socket)(e));
        }
        let mut command = Command::new("stdbuf");
        command
            .arg("-oL")
            .arg(program)
            .args(["--lcores", &format!("(0,1)@({})", processors()?)])
            .args(["--main-lcore", "0", "--no-pci", "--no-huge", "-m", MEMORY])
            .args(["--no-shconf", "--no-telemetry"])
            // It says what it is asked for by its front-end, and what was agreed to.
            .arg("--log-level=lib.vhost.config:info")
            .args(["-d", "librte_net_vhost.so", "-d", "librte_mempool_ring.so"])
            // Relative to the folder: the address of a socket is short.
            .arg(format!("--vdev=net_vhost0,iface=net.sock,queues={queues}"))
            .args(["--", "-i", "--nb-cores=1", "--auto-start"])
            .arg(format!("--total-num-mbufs={BUFFERS}"))
            .arg(format!("--forward-mode={mode}"))
            .args([format!("--rxq={queues}"), format!("--txq={queues}")])
            .current_dir(folder)
            .env("RUNTIME_DIRECTORY", folder);
        let mut running = desk.run.start_told(&mut command)?;
        running.wait_until("listen", LIMIT, |log| {
            socket.exists() && log.contains("packet forwarding - ports=1")
        })?;
        Ok(Self {
            running,
            read: 0,
            socket,
        })
    }

    /// Forgets what was counted and said before.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.running.tell("clear fwd stats all")?;
        self.ask("clear port stats all", "cleared").map(drop)
    }

    /// What was counted since, by the port, and by who forwards.
    ///
    /// # Errors
    ///
    /// It does not answer, or says something else.
    pub(super) fn counts(&mut self) -> Result<(Counts, Counts)> {
        let port = self.ask("show port stats all", PORT_END)?;
        let forwarding = self.ask("show fwd stats all", FORWARDING_END)?;
        let of = |text: &str, bytes: bool| {
            let number = |what: &str| number_after(text, what);
            let bytes = |what: &str| if bytes { number(what) } else { Some(0) };
            Some(Counts {
                received: number("RX-packets:")?,
                received_bytes: bytes("RX-bytes:")?,
                returned: number("TX-packets:")?,
                returned_bytes: bytes("TX-bytes:")?,
            })
        };
        // What follows the counters of each pair of queues.
        let all = forwarding.split_once("Accumulated").map(|(_, all)| all);
        let counts = of(&port, true).zip(of(all.unwrap_or_default(), false));
        counts.ok_or_else(|| self.running.failed("counts in another way"))
    }

    /// What it said that its front-end has asked and agreed to since this was last called.
    pub(super) fn heard(&mut self) -> String {
        let log = self.running.log();
        let heard = log.get(self.read..).unwrap_or_default().to_owned();
        self.read = log.len();
        heard
    }

    /// Adds what it has printed to a failure of those that it served.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        let mut output = failure.output;
        output.extend_from_slice(b"\ntestpmd's log:\n");
        output.extend_from_slice(self.running.log().as_bytes());
        Failure { output, ..failure }
    }

    /// Tells it something. Its answer, as far as `end`.
    fn ask(&mut self, command: &str, end: &str) -> Result<String> {
        let from = self.running.log().len();
        self.running.tell(command)?;
        let answered = |log: &str| log.get(from..).is_some_and(|answer| answer.contains(end));
        self.running
            .wait_until(&format!("answer `{command}`"), LIMIT, answered)?;
        let log = self.running.log();
        Ok(log.get(from..).unwrap_or_default().to_owned())
    }
}

/// The number that comes after `what` in a text.
pub(super) fn number_after(text: &str, what: &str) -> Option<u64> {
    let (_, rest) = text.split_once(what)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit());
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

/// The processors that there are for us, as Linux lists them.
fn processors() -> Result<String> {
    let path = Path::new("/proc/self/status");
    let status = fs::read_to_string(path).map_err(Failure::io("read", path))?;
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or_else(|| Failure::new("Linux does not say which processors there are"))?;
    Ok(list.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_what_stands_before_them() {
        let text = "\
            ######################## NIC statistics for port 0  ########################\n  \
            RX-packets: 17021      RX-missed: 0          RX-bytes:  1346093\n  \
            TX-packets: 17020      TX-errors: 0          TX-bytes:  1346000\n";

        assert_eq!(number_after(text, "RX-packets:"), Some(17021));
        assert_eq!(number_after(text, "TX-bytes:"), Some(1_346_000));
        assert_eq!(number_after(text, "RX-dropped:"), None);
        assert_eq!(number_after("RX-packets: many", "RX-packets:"), None);
    }
}
