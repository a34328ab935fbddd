//! Exercises a disk: reads it whole, writes here and there, and reads that back.
//!
//! Spec: VIRTIO 1.4 §5.2 "Block Device".

mod jobs;
mod others;
mod reads;
mod session;

use alloc::format;
use alloc::string::{String, ToString};

use ringway_driver::blk::{Blk, Failure};
use ringway_driver::bringup::Interrupts;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::{Error, RequestError};
use ringway_driver::transport::Transport;
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};

use super::Reads;
use super::admin;
use super::bench::{Bench, Finding, RESIZED, can_resize, note_counts, note_up, probe, smaller};
use super::plan::ranges;
use super::way::Way;
use crate::report::{DeviceReport, DiskReport};
use jobs::{ReadAll, ReadBack, Write};
use reads::ReadAgain;
use session::Session;

/// Exercises the disk.
pub(super) fn exercise<T: Transport>(
    transport: T,
    bench: Bench<'_, '_>,
    report: &mut DeviceReport,
) {
    let platform = transport.platform().clone();
    let attached = probe(transport).and_then(|probed| {
        let options = bench.options;
        let (wanted, queues) = (options.wanted(), options.queues());
        Blk::<T, DmaBuffer>::open_with(probed, &wanted, queues, |index| {
            options.request_queue(index)
        })
    });
    report.check("comes up", attached.as_ref().map(drop));
    let Ok(mut blk) = attached else {
        return;
    };
    note_up(report, blk.queue_size(), blk.device());
    admin::exercise(blk.device(), report);
    let mut session = Session::new(blk, platform, bench);
    let began = session.now();
    match session.bench.options.reads {
        Some(reads) => read(&mut session, reads, report),
        None => report.disk = Some(look(&mut session, report)),
    }
    report.microseconds = session.now().saturating_sub(began).as_micros() as u64;
    report.bytes = session.bytes;
    report.in_flight = session.deepest;
    note_counts(report, session.blk.counts());
    let mut tally = session.tally;

    let (reset, mut queue) = session.blk.reset();
    report.check("lets go when it is reset", reset.map(drop));
    while let Ok(Some(_)) = queue.reclaim() {
        tally.back += 1;
    }
    report.check("gives every buffer back", tally.finding());
}

/// Reads a disk as often as was asked for.
fn read<T: Transport>(session: &mut Session<'_, '_, T>, reads: Reads, report: &mut DeviceReport) {
    let mut again = ReadAgain::new(session, reads.count);
    let read = session.run_by_halves(reads.way, &mut again);
    report.check("can be read again and again", read);
}

/// Does all that is done with a disk.
fn look<T: Transport>(session: &mut Session<'_, '_, T>, report: &mut DeviceReport) -> DiskReport {
    let disk = *session.blk.disk();
    let mut about = DiskReport {
        sectors: disk.sectors,
        block_size: disk.block_size,
        read_only: disk.read_only,
        ..DiskReport::default()
    };
    let id = tell_id(session);
    report.check("tells its name", id.as_ref().map(drop));
    about.id = id.ok().flatten();

    let mut read = ReadAll::new(session);
    let all = session.run(Way::Polled, &mut read);
    if report.check("can be read whole", all.and(whole_blocks(session))) {
        about.sha256 = Some(read.sha256());
    }
    report.check("refuses what is beyond its end", refuses_beyond(session));
    report.check("refuses parts of blocks", refuses_parts(session));

    let size = session.blk.queue_size();
    let resizes = can_resize(session.blk.device());
    let shrunk = if resizes {
        session.resize(smaller(size))
    } else {
        Ok(())
    };
    if disk.read_only {
        report.check("refuses to be written", refuses_writes(session));
    } else {
        change(session, report);
    }
    if resizes {
        report.check(RESIZED, shrunk.and_then(|()| session.resize(size)));
    }
    let others = session.blk.take_others();
    if session.blk.device().interrupts() != Interrupts::Polled && disk.sectors != 0 {
        let interrupts = interrupts(session);
        report.check("interrupts whoever waits for it", interrupts);
        if !others.is_empty() {
            let heard = others::all_interrupt(session, others);
            report.check("interrupts whoever waits for another queue", heard);
        }
    }
    about
}

/// Writes here and there, and reads that back.
fn change<T: Transport>(session: &mut Session<'_, '_, T>, report: &mut DeviceReport) {
    let disk = *session.blk.disk();
    let ranges = ranges(disk.sectors, disk.block_size, session.bench.seed);
    let mut write = Write::new(ranges);
    let wrote = session.run(Way::Blocking, &mut write);
    report.check("can be written", wrote);
    if disk.can_flush {
        report.check("can be flushed", flush(session));
    }
    let written = write.written();
    let read_back = session.run(Way::Async, &mut ReadBack::new(&written));
    report.check("holds what was written", read_back);
}

/// Asks for the disk's name. `None` if it has none to give.
fn tell_id<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding<Option<String>> {
    let buffer = session.buffer(ID_BYTES)?;
    let asked = session.blk.id(buffer);
    session.tally.given += u64::from(asked.is_ok());
    let done = session.only(asked)?;
    match done.result {
        Ok(()) => {}
        Err(Failure::Unsupported) => return Ok(None),
        Err(failure) => return Err(failure.to_string()),
    }
    let mut id = [0; ID_BYTES];
    let read = done.buffer.map(|buffer| buffer.read(0, &mut id));
    read.and_then(Result::ok).ok_or("its buffer is gone")?;
    let name = id.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

fn flush<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding {
    let asked = session.blk.flush();
    let done = session.only(asked)?;
    done.result.map_err(|failure| failure.to_string())
}

/// A disk that ends within a block has sectors that nobody can read.
fn whole_blocks<T: Transport>(session: &Session<'_, '_, T>) -> Finding {
    let disk = session.blk.disk();
    if disk.sectors.is_multiple_of(block_sectors(session)) {
        return Ok(());
    }
    let (sectors, block_size) = (disk.sectors, disk.block_size);
    Err(format!(
        "{sectors} sectors are not whole blocks of {block_size} bytes"
    ))
}

fn refuses_beyond<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding {
    let disk = *session.blk.disk();
    let block_sectors = block_sectors(session);
    let whole = disk.sectors - disk.sectors % block_sectors;
    // The block after the last whole one, and the last there could be: its end has more than 64
    // bits, in bytes.
    for sector in [whole, 0_u64.wrapping_sub(block_sectors)] {
        let buffer = session.buffer(disk.block_size as usize)?;
        let asked = session.blk.read(sector, buffer);
        session.refused(asked, |why| {
            matches!(why, Error::Request(RequestError::PastEnd { .. }))
        })?;
    }
    Ok(())
}

fn refuses_parts<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding {
    let block = session.blk.disk().block_size as usize;
    for len in [block - 1, block + 1] {
        let buffer = session.buffer(len)?;
        let asked = session.blk.read(0, buffer);
        session.refused(asked, |why| {
            matches!(why, Error::Request(RequestError::NotWholeBlocks { .. }))
        })?;
    }
    Ok(())
}

fn refuses_writes<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding {
    let buffer = session.buffer(session.blk.disk().block_size as usize)?;
    let asked = session.blk.write(0, buffer);
    session.refused(asked, |why| {
        matches!(why, Error::Request(RequestError::ReadOnly))
    })
}

/// How often a block is read until an interrupt says that it is there. A device may well be done
/// before anybody waits, but not every time.
const READS: usize = 64;

/// Reads the first block until an interrupt says that it is there.
fn interrupts<T: Transport>(session: &mut Session<'_, '_, T>) -> Finding {
    let block = session.blk.disk().block_size as usize;
    for _ in 0..READS {
        if session.blk.counts().interrupts != 0 {
            return Ok(());
        }
        let buffer = session.buffer(block)?;
        let asked = session.blk.read(0, buffer);
        session.tally.given += u64::from(asked.is_ok());
        session.only(asked)?;
    }
    Err(format!("none of {READS} reads was announced by one"))
}

/// Sectors of a block: one at least.
fn block_sectors<T: Transport>(session: &Session<'_, '_, T>) -> u64 {
    u64::from(session.blk.disk().block_size).max(SECTOR_SIZE as u64) / SECTOR_SIZE as u64
}
