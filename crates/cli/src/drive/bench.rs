//! How many requests a second a device does.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstyle::Style;
use ringway_driver::Error;
use ringway_driver::dma::{Counts, DmaBuffer};
use ringway_vhost::frontend::Platform;
use serde_json::{Value, json};

use super::args::{self, Drive};
use super::device::{self, Disk};
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

const SECTOR: u64 = 512;

/// What was measured.
struct Row {
    size: usize,
    depth: u16,
    requests: u64,
    time: Duration,
    kicks: u64,
    interrupts: u32,
}

pub(super) fn bench(args: &Drive, bench: &args::Bench) -> Result<bool> {
    let progress = Progress::new();
    let largest = bench
        .size
        .iter()
        .max()
        .map_or(0, |size| size.next_multiple_of(4096));
    let deepest = bench
        .depth
        .iter()
        .max()
        .map_or(0, |depth| usize::from(*depth));
    let (platform, transport) = device::connect(args, largest * deepest, &progress)?;
    let mut disk = device::disk(transport)?;
    let about = *disk.disk();
    if bench.write && about.read_only {
        return Err(Refusal::new("the disk is read-only: leave --write out"));
    }
    if about.sectors * SECTOR < largest as u64 {
        return Err(Refusal::new(format_args!(
            "the disk has {} sectors, which is less than a request of {largest} bytes",
            about.sectors
        )));
    }
    let mut rows = Vec::new();
    for size in &bench.size {
        for depth in &bench.depth {
            progress.begin(format!("{size} bytes, {depth} at a time"));
            let mut run = Run {
                disk: &mut disk,
                platform: &platform,
                bench,
                sectors: about.sectors,
                size: *size,
                depth: *depth,
                next: 0,
                chance: bench.seed,
            };
            match run.measure() {
                Ok(row) => rows.push(row),
                Err(why) => {
                    progress.end();
                    return Ok(super::failed(why));
                }
            }
        }
    }
    progress.end();
    let table = Table {
        bench,
        polls: args.poll,
        rows,
    };
    // Whoever closed standard output does not want to read it.
    let _ = if bench.json {
        writeln!(io::stdout(), "{}", table.json())
    } else {
        write!(anstream::stdout(), "{table}")
    };
    Ok(true)
}

/// One row, as it is being measured.
struct Run<'r> {
    disk: &'r mut Disk,
    platform: &'r Platform,
    bench: &'r args::Bench,
    sectors: u64,
    size: usize,
    depth: u16,
    /// The next request's place, in requests from the first sector on.
    next: u64,
    chance: u64,
}

impl Run<'_> {
    fn measure(&mut self) -> Result<Row, Error> {
        let mut free = Vec::new();
        for _ in 0..self.depth {
            free.push(DmaBuffer::new(self.platform, self.size)?);
        }
        let before = self.disk.counts();
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.bench.time);
        let mut requests = 0;
        while Instant::now() < end {
            self.submit(&mut free)?;
            requests += self.complete(&mut free)?;
        }
        // What is in flight is measured, too: it was begun in time.
        while self.disk.in_flight() != 0 {
            requests += self.complete(&mut free)?;
        }
        let time = start.elapsed();
        let Counts {
            kicks, interrupts, ..
        } = self.disk.counts();
        Ok(Row {
            size: self.size,
            depth: self.depth,
            requests,
            time,
            kicks: kicks - before.kicks,
            interrupts: interrupts.wrapping_sub(before.interrupts),
        })
    }

    fn submit(&mut self, free: &mut Vec<DmaBuffer>) -> Result<(), Error> {
        while let Some(buffer) = free.pop() {
            let sector = self.sector();
            let sent = if self.bench.write {
                self.disk.write(sector, buffer)
            } else {
                self.disk.read(sector, buffer)
            };
            match sent {
                Ok(_) => {}
                Err(rejected) if rejected.why == Error::QueueFull => {
                    free.extend(rejected.data.buffer());
                    break;
                }
                Err(rejected) => return Err(rejected.why),
            }
        }
        self.disk.kick().map(drop)
    }

    /// Waits for one request, and takes what else is done by then. Says how many.
    fn complete(&mut self, free: &mut Vec<DmaBuffer>) -> Result<u64, Error> {
        let mut requests = 0;
        let mut done = Some(device::wait(self.disk)?);
        while let Some(one) = done {
            one.result.map_err(|failure| match failure {
                ringway_driver::blk::Failure::Device(violation) => Error::Device(violation),
                _ => Error::Transport(ringway_driver::error::TransportError::Os(5)),
            })?;
            free.extend(one.buffer);
            requests += 1;
            done = self.disk.poll()?;
        }
        Ok(requests)
    }

    /// Where the next request begins.
    fn sector(&mut self) -> u64 {
        let step = self.size as u64 / SECTOR;
        // At least one: looked at before.
        let places = (self.sectors / step).max(1);
        let place = if self.bench.sequential {
            self.next
        } else {
            self.chance()
        };
        self.next = self.next.wrapping_add(1);
        place % places * step
    }

    /// A number that looks like chance (xorshift).
    fn chance(&mut self) -> u64 {
        self.chance |= u64::from(self.chance == 0);
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }
}

struct Table<'t> {
    bench: &'t args::Bench,
    polls: bool,
    rows: Vec<Row>,
}

impl Row {
    fn per_second(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }

    fn per_request(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }
}

impl Table<'_> {
    fn what(&self) -> (&'static str, &'static str) {
        let order = if self.bench.sequential {
            "sequential"
        } else {
            "random"
        };
        (order, if self.bench.write { "write" } else { "read" })
    }

    fn json(&self) -> Value {
        let (order, what) = self.what();
        let rows = self.rows.iter().map(|row| {
            json!({
                "request": what,
                "order": order,
                "size": row.size,
                "depth": row.depth,
                "requests": row.requests,
                "seconds": row.time.as_secs_f64(),
                "requests_per_second": row.per_second(),
                "bytes_per_second": row.per_second() * row.size as f64,
                "kicks": row.kicks,
                "interrupts": row.interrupts,
            })
        });
        json!({
            "completions": if self.polls { "polled" } else { "signalled" },
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// The report, for people.
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STRONG: Style = Style::new().bold();
        let (order, what) = self.what();
        writeln!(
            f,
            "{STRONG}{:>9}  {:>5}  {:>12}  {:>12}  {:>9}  {:>14}{STRONG:#}",
            "SIZE", "DEPTH", "REQUESTS/S", "MIB/S", "KICKS/REQ", "INTERRUPTS/REQ"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:>9}  {:>5}  {:>12.0}  {:>12.1}  {:>9.3}  {:>14.3}",
                row.size,
                row.depth,
                row.per_second(),
                row.per_second() * row.size as f64 / f64::from(1 << 20),
                row.per_request(row.kicks),
                row.per_request(u64::from(row.interrupts)),
            )?;
        }
        let waits = if self.polls { "polled" } else { "signalled" };
        writeln!(f, "{order} {what}s, completions {waits}")
    }
}
