//! DPDK's ends: one testpmd, in which virtio-user is the driver and vhost the device, told what to
//! do through its command line.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::system::Processors;
use super::{BURST, Peer, SIZE};

/// Buffers in the pool: all that rings and caches hold, and not many more.
const BUFFERS: usize = 2048;
/// Megabytes of memory, which hold them.
const MEMORY: &str = "64";
/// Most time for testpmd to answer, on a machine that has other work too.
const LIMIT: Duration = Duration::from_secs(30);
/// Time of a sample. The two counters are read some ten microseconds apart, against which it is
/// long.
const SAMPLE_TIME: Duration = Duration::from_millis(1);
/// Packets in a sample at least: fewer, and the thread that forwards did not get its processor.
const PACKETS_MIN: u64 = 4096;
/// Samples at the beginning of a turn that are not used: caches are warmed in them.
const WARM_SAMPLES: usize = 3;
/// What the line begins with that has the counters.
const COUNTERS: &str = "CPU cycles/packet=";

/// A testpmd with both ends, which stands still between turns.
pub(super) struct Forwarder {
    child: Child,
    commands: ChildStdin,
    /// What it prints, line by line.
    lines: Receiver<String>,
    /// The last of it, for when it fails.
    heard: Vec<String>,
}

/// Its counters: cycles spent where packets moved, and packets.
#[derive(Clone, Copy, Default)]
struct Counters {
    cycles: u64,
    packets: u64,
}

impl Forwarder {
    /// Starts one whose virtio-user gets `way` as arguments.
    pub(super) fn start(
        peer: &Peer,
        processors: Processors,
        way: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = peer.folder.join(way.replace(['=', ','], "-"));
        fs::create_dir(&folder)?;
        // Relative to the folder: the address of a socket is short.
        let Processors { rest, work } = processors;
        let mut child = Command::new("stdbuf")
            .arg("-oL")
            .arg(&peer.testpmd)
            .args(["--lcores", &format!("0@{rest},1@{work}")])
            .args(["--main-lcore", "0", "--no-pci", "--no-huge", "-m", MEMORY])
            .args(["--no-shconf", "--no-telemetry", "--log-level=warning"])
            .args(["--force-max-simd-bitwidth=512"])
            .args(["-d", "librte_net_vhost.so", "-d", "librte_net_virtio.so"])
            .args(["-d", "librte_mempool_ring.so"])
            .args(["--vdev", "net_vhost0,iface=socket,queues=1"])
            .args(["--", "-i", "--nb-cores=1", "--record-core-cycles"])
            .arg(format!("--total-num-mbufs={BUFFERS}"))
            .args([format!("--txd={SIZE}"), format!("--rxd={SIZE}")])
            .arg(format!("--burst={BURST}"))
            .current_dir(&folder)
            .env("RUNTIME_DIRECTORY", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start stdbuf with testpmd: {e}"))?;
        let (Some(commands), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("testpmd has no pipes".into());
        };
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut this = Self {
            child,
            commands,
            lines,
            heard: Vec::new(),
        };
        this.tell(&format!(
            "port attach net_virtio_user0,path=socket,queues=1,queue_size={SIZE},mrg_rxbuf=0,{way}"
        ))?;
        this.tell("port start all")?;
        this.tell("set fwd io")?;
        Ok(this)
    }

    /// Moves packets for at least `samples` samples, and adds the cycles for each packet in each of
    /// them to `cycles`.
    pub(super) fn turn(
        &mut self,
        samples: usize,
        cycles: &mut Vec<f64>,
    ) -> Result<(), Box<dyn Error>> {
        // One burst from each port, which then go round.
        self.tell("start tx_first 1")?;
        let mut before = Counters::default();
        let mut taken = 0;
        while taken < samples + WARM_SAMPLES {
            thread::sleep(SAMPLE_TIME);
            self.tell("show fwd stats all")?;
            let now = self.counters()?;
            let packets = now.packets.saturating_sub(before.packets);
            let spent = now.cycles.saturating_sub(before.cycles);
            // It counts packets at once and cycles when it comes to it: on a busy machine, later.
            if packets < PACKETS_MIN || spent == 0 {
                continue;
            }
            if taken >= WARM_SAMPLES {
                cycles.push(spent as f64 / packets as f64);
            }
            taken += 1;
            before = now;
        }
        self.tell("stop")?;
        self.counters()?;
        self.wait_for("Done.")?;
        Ok(())
    }

    fn tell(&mut self, command: &str) -> io::Result<()> {
        writeln!(self.commands, "{command}")
    }

    /// The counters that it prints next.
    fn counters(&mut self) -> Result<Counters, Box<dyn Error>> {
        let line = self.wait_for(COUNTERS)?;
        counters_in(&line).ok_or_else(|| format!("testpmd printed `{line}`").into())
    }

    /// The next line that has `text`.
    fn wait_for(&mut self, text: &str) -> Result<String, Box<dyn Error>> {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                let heard = self.heard.join("\n");
                return Err(format!("testpmd ended, or hangs, before `{text}`:\n{heard}").into());
            };
            if line.contains(text) {
                self.heard.clear();
                return Ok(line);
            }
            self.heard.push(line);
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        // It has nothing to save. One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The counters in a line like `CPU cycles/packet=99.5 (total cycles=199 / total io packets=2) at …`.
fn counters_in(line: &str) -> Option<Counters> {
    let mut numbers = line.split('=').skip(2).map(|part| {
        let end = part.find(|c: char| !c.is_ascii_digit());
        part.get(..end.unwrap_or(part.len()))?.parse().ok()
    });
    Some(Counters {
        cycles: numbers.next()??,
        packets: numbers.next()??,
    })
}
