//! The commands that people type when they work on Ringway: `cargo xtask`.

mod bench;
mod child;
mod conformance;
mod defects;
mod failure;
mod fetch;
mod pieces;
mod scratch;
mod source;
mod spec_refs;
mod test;
mod unsafe_use;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};

use child::Runner;
use failure::Result;
use fetch::Tool;

/// The commands that people type when they work on Ringway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    /// Run what CI runs, or the pieces that are named.
    Test {
        /// Pieces to run; `--list` names them.
        #[arg(value_name = "PIECE")]
        pieces: Vec<String>,
        /// Name the pieces, and run none.
        #[arg(long)]
        list: bool,
        /// Run the long pieces too.
        #[arg(long, conflicts_with = "pieces")]
        all: bool,
        /// Show everything the pieces print, as they print it.
        #[arg(long)]
        verbose: bool,
    },
    /// Run what CI runs.
    Ci,
    /// Count unsafe code, and fail where it may not stand.
    Unsafe,
    /// Check every reference to a section of the specification.
    SpecRefs,
    /// Say which clauses of the specification tests show, or prove that they do.
    Conformance(conformance::Asked),
    /// Measure Ringway beside its peers.
    #[command(after_help = BENCH_RING)]
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Bring tools that the system lacks, installing nothing.
    Fetch {
        /// Which tools; `all` is every one, and `--list` names them.
        #[arg(value_name = "TOOL", required_unless_present = "list", value_parser = tool_names())]
        tools: Vec<String>,
        /// Name the tools, and bring none.
        #[arg(long)]
        list: bool,
        /// Show everything that is printed meanwhile.
        #[arg(long)]
        verbose: bool,
    },
}

/// What can be measured.
#[derive(Subcommand)]
enum Bench {
    /// Both ends of a queue beside virtio-drivers, virtio-queue, DPDK and a floor.
    #[command(after_help = BENCH_RING)]
    Ring {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Show everything that is printed meanwhile.
        #[arg(long)]
        verbose: bool,
    },
    /// Packets through a network card, beside DPDK.
    #[command(after_help = BENCH_NET)]
    Net {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Measure this case alone; may be given several times.
        #[arg(long, value_name = "CASE")]
        only: Vec<String>,
        /// Show everything that is printed meanwhile.
        #[arg(long)]
        verbose: bool,
    },
    /// Notifications and accesses to registers of reads in QEMU, beside Linux.
    #[command(after_help = BENCH_NOTIFY)]
    Notify {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Show everything that is printed meanwhile.
        #[arg(long)]
        verbose: bool,
    },
    /// Block requests over vhost-user, beside libblkio and qemu-storage-daemon.
    #[command(after_help = BENCH_VHOST)]
    Vhost {
        /// Print one JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Measure this case alone; may be given several times.
        #[arg(long, value_name = "CASE")]
        only: Vec<String>,
        /// Show everything that is printed meanwhile.
        #[arg(long)]
        verbose: bool,
    },
}

/// What the help of `bench net` ends with.
const BENCH_NET: &str = "\
`cargo xtask bench net` takes some minutes; `--only net-split --only net-inorder`
one, most of it building. DPDK is fetched the first time (`cargo xtask fetch dpdk`).

Cases are net-split and net-inorder (packed, with IN_ORDER). A packet of 64 bytes
goes from our driver of a network card to the card, over a port that returns it,
and back to the driver, which sends it again: the drivers and devices that users
have, on one processor. Peer: DPDK's virtio-user and vhost in testpmd.

Numbers are millions of packets, or of bytes, a second: a ratio above 1 means that
we do more. docs/bench.md says how it is measured.";

/// What the help of `bench notify` ends with.
const BENCH_NOTIFY: &str = "\
`cargo xtask bench notify` takes about two minutes. QEMU, Linux and BusyBox are
taken from the system, or fetched the first time.

1000 reads of 4 KiB from QEMU's disk, by our driver on bare metal and by Linux,
counted by QEMU. A case is notify-REACH[-packed][-flags][-polled]-depthN, such as
notify-pci-depth32: REACH is pci (a message for each queue), intx or mmio;
-packed a packed ring instead of a split one, -flags without EVENT_IDX, -polled
without waiting for interrupts. Then follow -interrupts, and accesses to registers
for one -kick, -interrupt or -completion; and -linux, where Linux is theirs.

A ratio below 1 means that we need less.
docs/bench.md says how it is counted.";

/// What the help of `bench vhost` ends with.
const BENCH_VHOST: &str = "\
`cargo xtask bench vhost` takes about three minutes, without building.
qemu-storage-daemon is taken from the system, or fetched the first time
(`cargo xtask fetch storage-daemon`).

A case is vhost-WHAT-SIZE-dDEPTH-CORES, such as vhost-backend-raw-4k-d32-1core.
WHAT is driver (our driver beside libblkio's, both over qemu-storage-daemon),
backend-null or backend-raw (our back-end beside qemu-storage-daemon, without a
disk or with an image in memory, both under our driver); SIZE 4k or 128k; DEPTH,
requests in flight, 1, 32 or 128; CORES 1core or 2core.

Numbers are requests a second: a ratio above 1 means that we do more.
docs/bench.md says how it is measured.";

/// What the help of `cargo xtask bench` and of `bench ring` ends with.
const BENCH_RING: &str = "\
`cargo xtask bench ring` needs valgrind, and takes about a minute,
most of it building. DPDK is fetched the first time (`cargo xtask fetch dpdk`).

A case is END-FORMAT-SEGMENTS[i]-dDEPTH: `driver-split-3i-d64` is the driver's
end of a split ring, chains of 3 segments in indirect tables, 64 in flight.
Numbers are for one chain. `driver` is submit and poll; `device` is taking,
walking and completing; each with one notification question for each batch.
Peers: virtio-drivers 0.13 (driver), virtio-queue 0.18 (device), and a floor
written by hand without any check.

`packet-split`, `-packed` and `-inorder` are 64-byte packets across a virtqueue,
both ends on one processor, in cycles for each packet; peer: DPDK.

A ratio below 1 means that we need less.
docs/bench.md says how it is measured.";

/// What `fetch` takes for every tool.
const ALL: &str = "all";

fn main() -> ExitCode {
    let repo = repo();
    match Xtask::parse() {
        Xtask::Test { list: true, .. } => {
            print!("{}", test::list());
            ExitCode::SUCCESS
        }
        Xtask::Test {
            pieces,
            all,
            verbose,
            ..
        } => run(&repo, &pieces, all, verbose),
        Xtask::Ci => run(&repo, &[], false, false),
        Xtask::Unsafe => finish(unsafe_use::check(&repo)),
        Xtask::SpecRefs => finish(spec_refs::check(&repo)),
        Xtask::Conformance(asked) => finish(conformance::answer(&repo, asked)),
        Xtask::Bench {
            what: Bench::Ring { json, verbose },
        } => finish(bench::ring(verbose, &repo).map(|table| {
            if json {
                vec![table.json()]
            } else {
                table.lines(colour())
            }
        })),
        Xtask::Bench {
            what:
                Bench::Net {
                    json,
                    only,
                    verbose,
                },
        } => finish(bench::net(verbose, &repo, &only).map(|rates| {
            if json {
                vec![rates.json()]
            } else {
                rates.lines(colour())
            }
        })),
        Xtask::Bench {
            what: Bench::Notify { json, verbose },
        } => finish(bench::notify(verbose, &repo).map(|costs| {
            if json {
                vec![costs.json()]
            } else {
                costs.lines(colour())
            }
        })),
        Xtask::Bench {
            what:
                Bench::Vhost {
                    json,
                    only,
                    verbose,
                },
        } => finish(bench::vhost(verbose, &repo, &only).map(|rates| {
            if json {
                vec![rates.json()]
            } else {
                rates.lines(colour())
            }
        })),
        Xtask::Fetch { list: true, .. } => {
            for tool in fetch::TOOLS {
                println!("{:<15} {}", tool.name, tool.title);
            }
            ExitCode::SUCCESS
        }
        Xtask::Fetch { tools, verbose, .. } => finish(fetch(&repo, &tools, verbose)),
    }
}

/// Whether a table is for a terminal that shows colours.
fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// What `fetch` takes.
fn tool_names() -> PossibleValuesParser {
    let names = fetch::TOOLS.iter().map(|tool| tool.name);
    PossibleValuesParser::new(names.chain([ALL]))
}

/// Brings the tools that are called `names`, and says where each is.
fn fetch(repo: &Path, names: &[String], verbose: bool) -> Result<Vec<String>> {
    let asked = |tool: &&&Tool| names.iter().any(|name| name == tool.name || name == ALL);
    let bring = |tool: &&Tool| {
        let topic = tool.title;
        let found = tool.find(&Runner { verbose, topic }, repo)?;
        let (version, path) = (found.version, found.path.display());
        Ok(format!("{topic} {version}: {path}"))
    };
    fetch::TOOLS.iter().filter(asked).map(bring).collect()
}

/// The repository that this program was built in.
fn repo() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

fn run(repo: &Path, names: &[String], all: bool, verbose: bool) -> ExitCode {
    match pieces::choose(names, all) {
        Ok(chosen) if test::run(repo, &chosen, verbose) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(unknown) => {
            eprintln!(
                "error: no piece is called `{unknown}`; `cargo xtask test --list` names them"
            );
            ExitCode::from(2)
        }
    }
}

/// Prints what a command found, or why it failed.
fn finish(result: Result<Vec<String>>) -> ExitCode {
    match result {
        Ok(lines) => {
            for line in lines {
                println!("{line}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprint!("{}", String::from_utf8_lossy(&failure.output));
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
