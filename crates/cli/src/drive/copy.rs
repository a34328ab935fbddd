//! Moving bytes between a disk and files.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;

use ringway_driver::Error;
use ringway_driver::dma::{DmaBuffer, Rejected, Token};

use ringway_vhost::frontend::Platform;

use super::args::{Drive, Pace, Range};
use super::device::{self, Disk};
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Sectors, in requests of a size, a number of them at a time.
struct Course {
    disk: Disk,
    platform: Platform,
    /// The sector of the next request, and the one after the last.
    next: u64,
    end: u64,
    /// Sectors of a request.
    step: u64,
    depth: u16,
    free: Vec<DmaBuffer>,
    in_flight: HashMap<Token, u64>,
    /// Requests that are done, and wait for one before them.
    done: BTreeMap<u64, DmaBuffer>,
}

pub(super) fn read(args: &Drive, file: Option<&Path>, range: Range, pace: Pace) -> Result<bool> {
    let progress = Progress::new();
    if file.is_none() && io::stdout().is_terminal() {
        return Err(Refusal::new(
            "a disk is not for a terminal: name a file, or send standard output to one",
        ));
    }
    let mut course = Course::begin(args, range, pace, None, &progress)?;
    let mut to: Box<dyn Write> = match file {
        Some(path) => Box::new(File::create(path).map_err(Refusal::io("make", path))?),
        None => Box::new(io::stdout().lock()),
    };
    let done = course.read(&progress, "reading", |bytes| {
        to.write_all(bytes).map(|()| true)
    });
    let flushed = to.flush();
    progress.end();
    Ok(match done {
        Ok(_) => match flushed {
            Ok(()) => true,
            Err(error) => super::failed(error),
        },
        Err(why) => super::failed(why),
    })
}

pub(super) fn verify(args: &Drive, path: &Path, range: Range, pace: Pace) -> Result<bool> {
    let progress = Progress::new();
    let (mut file, sectors) = open(path)?;
    let mut course = Course::begin(args, range, pace, Some(sectors), &progress)?;
    let first = course.next;
    let (mut expected, mut at, mut differs) = (Vec::new(), 0_u64, None);
    let done = course.read(&progress, "comparing", |bytes| {
        expected.resize(bytes.len(), 0);
        file.read_exact(&mut expected)?;
        let place = bytes.iter().zip(&expected).position(|(a, b)| a != b);
        differs = place.map(|place| at + place as u64);
        at += bytes.len() as u64;
        Ok(differs.is_none())
    });
    progress.end();
    Ok(match (done, differs) {
        (Err(why), _) => super::failed(why),
        (Ok(_), Some(at)) => super::failed(format_args!(
            "the disk differs from {} first at its byte {at}, sector {}",
            path.display(),
            first + at / SECTOR
        )),
        (Ok(_), None) => true,
    })
}

pub(super) fn write(args: &Drive, path: &Path, range: Range, pace: Pace) -> Result<bool> {
    let progress = Progress::new();
    let (mut file, sectors) = open(path)?;
    let mut course = Course::begin(args, range, pace, Some(sectors), &progress)?;
    if course.disk.disk().read_only {
        return Err(Refusal::new("the disk is read-only"));
    }
    let done = course.write(&mut file, &progress);
    progress.end();
    Ok(done.map_or_else(super::failed, |()| true))
}

/// A file of whole sectors, and how many it has.
fn open(path: &Path) -> Result<(File, u64)> {
    let mut file = File::open(path).map_err(Refusal::io("open", path))?;
    // Of a block device, too.
    let bytes = file
        .seek(SeekFrom::End(0))
        .map_err(Refusal::io("measure", path))?;
    file.rewind().map_err(Refusal::io("read", path))?;
    if !bytes.is_multiple_of(SECTOR) {
        return Err(Refusal::new(format_args!(
            "{} has {bytes} bytes, which are no whole sectors of {SECTOR}",
            path.display()
        )));
    }
    Ok((file, bytes / SECTOR))
}

impl Course {
    /// Brings the disk up. `most` is how many sectors there are at the other side.
    fn begin(
        args: &Drive,
        range: Range,
        pace: Pace,
        most: Option<u64>,
        progress: &Progress,
    ) -> Result<Self> {
        let room = usize::from(pace.depth) * pace.size.next_multiple_of(4096);
        let (platform, transport) = device::connect(args, room, progress)?;
        let disk = device::disk(transport)?;
        let has = disk.disk().sectors;
        let Range { sector, count } = range;
        let left = has.saturating_sub(sector);
        let count = count.or(most).unwrap_or(left);
        if let Some(most) = most.filter(|most| *most < count) {
            return Err(Refusal::new(format_args!(
                "the file has {most} sectors, and --count asks for {count}"
            )));
        }
        if sector > has || count > left {
            return Err(Refusal::new(format_args!(
                "{count} sectors from {sector} on pass the end of the disk, which has {has}"
            )));
        }
        Ok(Self {
            disk,
            platform,
            next: sector,
            end: sector + count,
            step: pace.size as u64 / SECTOR,
            depth: pace.depth,
            free: Vec::new(),
            in_flight: HashMap::new(),
            done: BTreeMap::new(),
        })
    }

    /// Reads all of it. `take` is given the bytes in their order, and says whether it wants more.
    fn read(
        &mut self,
        progress: &Progress,
        what: &str,
        mut take: impl FnMut(&[u8]) -> io::Result<bool>,
    ) -> Result<bool, Refusal> {
        let (mut due, first, end) = (self.next, self.next, self.end);
        progress.begin(what.to_owned());
        let mut bytes = Vec::new();
        while due < end {
            while self.next < end && self.has_room() {
                let buffer = self.buffer()?;
                let rejected = self.disk.read(self.next, buffer);
                if !self.sent(rejected)? {
                    break;
                }
            }
            let (sector, buffer) = self.finish_one()?;
            self.done.insert(sector, buffer);
            while let Some(buffer) = self.done.remove(&due) {
                bytes.resize(buffer.len(), 0);
                // All of it, and no more.
                buffer.read(0, &mut bytes).map_err(Refusal::new)?;
                due += buffer.len() as u64 / SECTOR;
                self.keep(buffer);
                progress.at((due - first) * SECTOR, (end - first) * SECTOR);
                if !take(&bytes).map_err(Refusal::new)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn write(&mut self, file: &mut File, progress: &Progress) -> Result<()> {
        let (first, end) = (self.next, self.end);
        progress.begin("writing".to_owned());
        let (mut bytes, mut written) = (Vec::new(), 0);
        while self.next < end || !self.in_flight.is_empty() {
            while self.next < end && self.has_room() {
                let mut buffer = self.buffer()?;
                bytes.resize(buffer.len(), 0);
                file.read_exact(&mut bytes).map_err(Refusal::new)?;
                buffer.write(0, &bytes).map_err(Refusal::new)?;
                let rejected = self.disk.write(self.next, buffer);
                if !self.sent(rejected)? {
                    let back = bytes.len() as i64;
                    file.seek(SeekFrom::Current(-back)).map_err(Refusal::new)?;
                    break;
                }
            }
            let (_, buffer) = self.finish_one()?;
            written += buffer.len() as u64;
            self.keep(buffer);
            progress.at(written, (end - first) * SECTOR);
        }
        if self.disk.disk().can_flush {
            self.disk
                .flush()
                .map_err(|rejected| Refusal::new(rejected.why))?;
            let done = device::wait(&mut self.disk).map_err(Refusal::new)?;
            done.result.map_err(Refusal::new)?;
        }
        Ok(())
    }

    /// Whether another request may be on its way.
    fn has_room(&self) -> bool {
        self.in_flight.len() + self.done.len() < usize::from(self.depth)
    }

    /// A buffer for the next request.
    fn buffer(&mut self) -> Result<DmaBuffer> {
        let bytes = self.step.min(self.end - self.next) * SECTOR;
        // No more than a request may have.
        let bytes = bytes as usize;
        let kept = self.free.pop().filter(|kept| kept.len() == bytes);
        match kept {
            Some(kept) => Ok(kept),
            None => DmaBuffer::new(&self.platform, bytes).map_err(Refusal::new),
        }
    }

    fn keep(&mut self, buffer: DmaBuffer) {
        self.free.push(buffer);
    }

    /// Goes on to the next request, if this one was taken. A full queue is no error.
    fn sent(&mut self, sent: Result<Token, Rejected<DmaBuffer>>) -> Result<bool> {
        let rejected = match sent {
            Ok(token) => {
                self.in_flight.insert(token, self.next);
                self.next = self.end.min(self.next + self.step);
                return Ok(true);
            }
            Err(rejected) => rejected,
        };
        if rejected.why == Error::QueueFull && !self.in_flight.is_empty() {
            self.free.extend(rejected.data.buffer());
            return Ok(false);
        }
        Err(Refusal::new(rejected.why))
    }

    /// Waits for one request. Its first sector, and its buffer.
    fn finish_one(&mut self) -> Result<(u64, DmaBuffer)> {
        let done = device::wait(&mut self.disk).map_err(Refusal::new)?;
        let sector = self.in_flight.remove(&done.token);
        if let Err(failure) = done.result {
            let sector = sector.unwrap_or_default();
            return Err(Refusal::new(format_args!("sector {sector}: {failure}")));
        }
        // Every request has a buffer, and is known.
        sector
            .zip(done.buffer)
            .ok_or_else(|| Refusal::new("a request was completed that nobody made"))
    }
}
