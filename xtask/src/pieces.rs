//! The pieces of a test run: what each is called, what it shows, and which of
//! them a run takes.

mod bad_input;
pub(crate) mod cargo;
mod devices;
mod dpdk_net;
mod drive;
mod faults;
mod fuzz;
mod hotplug;
mod image;
mod linux;
mod linux_guest;
mod net;
mod notify;
mod own_type;
mod pattern;
mod report;
mod tap;
mod uml;
mod up;

use std::path::Path;

use crate::child::Runner;
use crate::failure::Result;
use crate::{bench, conformance, defects, spec_refs, unsafe_use};
pub(crate) use linux::backend::ringway;
#[cfg(test)]
pub(crate) use notify::Target;
pub(crate) use notify::{Counted, Measured, READS, measure as notifications};

/// What every piece works with.
pub(crate) struct Desk<'a> {
    /// The repository.
    pub(crate) repo: &'a Path,
    /// Starts children.
    pub(crate) run: Runner,
}

/// When a piece runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// Always.
    Default,
    /// With `--all`, or by name.
    All,
}

/// One piece.
pub(crate) struct Piece {
    /// What people type.
    pub(crate) name: &'static str,
    /// What it shows, in a line.
    pub(crate) about: &'static str,
    /// When it runs.
    pub(crate) set: Set,
    /// Does it; what it returns is shown beside the result.
    pub(crate) run: fn(&Desk<'_>) -> Result<Vec<String>>,
}

/// All pieces, in the order in which they run: the quick ones first.
pub(crate) const PIECES: &[Piece] = &[
    piece("format", "sources are formatted", cargo::format),
    piece("unsafe", "unsafe stands only where it may", |desk| {
        unsafe_use::check(desk.repo)
    }),
    piece(
        "spec-refs",
        "section numbers and titles are the specification's",
        |desk| spec_refs::check(desk.repo),
    ),
    piece(
        "defects",
        "every test that docs/defects.md names is there",
        |desk| defects::check(desk.repo),
    ),
    piece(
        "conformance",
        "tests that show clauses of the specification are there, and no fewer than were",
        |desk| conformance::check(desk.repo),
    ),
    piece("clippy", "no lint has anything to say", cargo::clippy),
    piece(
        "no-std",
        "the crates for kernels build without std and default features",
        cargo::no_std,
    ),
    piece("unit", "unit and loopback tests", cargo::unit),
    piece(
        "hostile",
        "rings against peers that act between any reads, devices killed between any stores",
        cargo::hostile,
    ),
    piece(
        "models",
        "memory order of both ends: nothing is lost or torn, and each fence is needed",
        cargo::models,
    ),
    piece("doctests", "the examples in the documents", cargo::doctests),
    piece("docs", "the documents build without a warning", cargo::docs),
    piece(
        "fuzz",
        "strangers at every boundary: the kept corpus, then chance",
        fuzz::run,
    ),
    piece(
        "own-type",
        "a device type of one's own: its example works, is short, and is in the manual",
        own_type::run,
    ),
    piece("guest", "the bare-metal image builds", cargo::guest),
    piece(
        "guest-faults",
        "a panic, an exception or a hang of the image is a failed report",
        faults::run,
    ),
    piece(
        "guest-devices",
        "our drivers against QEMU's devices: every interface, interrupt, ring and switch",
        devices::run,
    ),
    piece(
        "guest-hotplug",
        "devices that come to QEMU's slots, go with requests in flight, and come again",
        hotplug::run,
    ),
    piece(
        "guest-net",
        "our driver's packets under QEMU's card: every interface, a network, another machine",
        net::run,
    ),
    piece(
        "guest-notify",
        "reads take no more notifications and registers than they may, counted by QEMU",
        notify::short,
    ),
    piece(
        "up",
        "our drivers against our devices, in process",
        up::here,
    ),
    piece("up-qemu", "our drivers against QEMU's devices", up::qemu),
    piece(
        "drive",
        "our driver in a plain process over vhost-user back-ends, others' and ours",
        drive::run,
    ),
    piece(
        "dpdk-net",
        "our network driver over DPDK's vhost, which counts packets and returns them",
        dpdk_net::run,
    ),
    piece(
        "uml",
        "Linux's drivers over our vhost-user back-ends, as a process",
        uml::run,
    ),
    piece(
        "tap",
        "our card on a TAP interface: Linux's own network pings it, and moves bytes over TCP",
        tap::run,
    ),
    piece(
        "uml-net",
        "Linux's network driver over our cards, as a process, beside our own driver",
        uml::net::run,
    ),
    piece(
        "linux-guest",
        "Linux on QEMU over our back-ends: used, killed under load, migrated",
        linux_guest::run,
    ),
    piece(
        "linux-guest-net",
        "Linux's network driver in QEMU over our cards, beside our own driver",
        linux_guest::net::run,
    ),
    piece(
        "linux-ls",
        "`ringway ls` in Linux on QEMU: names and features are what both of them say",
        linux_guest::ls::run,
    ),
    piece(
        "bad-input",
        "bad input is one clear line and a non-zero exit",
        bad_input::run,
    ),
    long(
        "conformance-proof",
        "each test that shows a clause fails when the code that obeys it is taken out",
        |desk| conformance::prove_all(desk.repo, &desk.run),
    ),
    long(
        "bench-smoke",
        "every case of the benchmarks runs, beside every peer",
        bench::smoke,
    ),
    long(
        "bench-vhost-smoke",
        "every case of `bench vhost` runs, beside every peer",
        bench::vhost_smoke,
    ),
    long(
        "guest-devices-2",
        "`guest-devices` with every combination of what is offered and not taken",
        devices::run_long,
    ),
    long(
        "dpdk-net-2",
        "`dpdk-net` with every ring, more pairs, and all sizes of packets",
        dpdk_net::run_long,
    ),
    long(
        "guest-net-all",
        "`guest-net` with every combination of interface, interrupts, ring and buffers",
        net::run_long,
    ),
    long(
        "linux-guest-2",
        "`linux-guest` in more ways, and over qemu-storage-daemon",
        linux_guest::run_long,
    ),
    long(
        "linux-guest-net-2",
        "`linux-guest-net` in more ways",
        linux_guest::net::run_long,
    ),
    long(
        "linux-guest-forgotten",
        "`linux-guest` finds back-ends that forget the log, or what is in flight",
        linux_guest::run_forgotten,
    ),
    long("up-1g", "`up` with a disk of 1 GiB", up::here_large),
    long(
        "up-qemu-1g",
        "`up-qemu` with a disk of 1 GiB",
        up::qemu_large,
    ),
];

/// Chooses pieces: those named, or the default set, or all. They come in the
/// order of the table, each once.
///
/// # Errors
///
/// The first name that is no piece's.
pub(crate) fn choose(names: &[String], all: bool) -> Result<Vec<&'static Piece>, String> {
    let known = |name: &&String| PIECES.iter().any(|piece| piece.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        return Err(unknown.clone());
    }
    let chosen = |piece: &&Piece| {
        if names.is_empty() {
            all || piece.set == Set::Default
        } else {
            names.iter().any(|name| name == piece.name)
        }
    };
    Ok(PIECES.iter().filter(chosen).collect())
}

type Run = fn(&Desk<'_>) -> Result<Vec<String>>;

const fn piece(name: &'static str, about: &'static str, run: Run) -> Piece {
    Piece {
        name,
        about,
        set: Set::Default,
        run,
    }
}

const fn long(name: &'static str, about: &'static str, run: Run) -> Piece {
    Piece {
        name,
        about,
        set: Set::All,
        run,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], all: bool) -> Result<Vec<&'static str>, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Ok(choose(&names, all)?
            .iter()
            .map(|piece| piece.name)
            .collect())
    }

    #[test]
    fn without_a_name_the_default_set_runs() {
        let names = chosen(&[], false).unwrap();

        assert!(names.contains(&"up-qemu"));
        assert!(!names.contains(&"up-qemu-1g"));
    }

    #[test]
    fn all_is_everything() {
        assert_eq!(chosen(&[], true).unwrap().len(), PIECES.len());
    }

    #[test]
    fn named_pieces_run_once_in_the_order_of_the_table() {
        let names = chosen(&["up-1g", "unit", "format", "unit"], false);

        assert_eq!(names.unwrap(), ["format", "unit", "up-1g"]);
    }

    #[test]
    fn an_unknown_piece_is_named() {
        assert_eq!(chosen(&["unit", "units"], false), Err("units".to_owned()));
    }

    #[test]
    fn no_two_pieces_share_a_name() {
        let mut names: Vec<_> = PIECES.iter().map(|piece| piece.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), PIECES.len());
    }
}
