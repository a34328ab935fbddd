//! `ringway drive`: our drivers in this process, and a device behind a vhost-user socket.

pub(crate) mod args;
mod bench;
mod copy;
mod device;
mod info;
mod net;

use args::{Drive, What};

use crate::refusal::Result;

/// Does what `ringway drive` does. Says whether the device did as it was told.
pub(crate) fn drive(args: &Drive) -> Result<bool> {
    match &args.what {
        What::Info { json } => info::info(args, *json),
        What::Read { file, range, pace } => copy::read(args, file.as_deref(), *range, *pace),
        What::Write { file, range, pace } => copy::write(args, file, *range, *pace),
        What::Verify { file, range, pace } => copy::verify(args, file, *range, *pace),
        What::Bench(bench) => bench::bench(args, bench),
        What::Packets(packets) => net::packets(args, packets),
    }
}

/// Tells what went wrong with a device, and that it did.
fn failed(why: impl std::fmt::Display) -> bool {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{style}failed:{style:#} {why}");
    false
}
