//! Our driver, as a client that keeps so many reads in flight.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use ringway_driver::Error as DriverError;
use ringway_driver::blk::{Blk, Done};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_spec::{DeviceId, F};
use ringway_vhost::frontend::{MemoryOptions, Notify, Options, Platform, Reconnect, Transport};

use super::{Cores, Places};

/// Most time for one request, on a machine that has other work too.
const LIMIT: Duration = Duration::from_secs(30);
/// Memory for rings and buffers.
const MEMORY: usize = 64 << 20;
/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Somebody who reads.
pub(super) trait Client {
    /// Keeps `depth` reads of `size` bytes in flight for `time`. Returns how many were done each
    /// second.
    fn run(&mut self, size: usize, depth: usize, time: Duration) -> Result<f64, Box<dyn Error>>;
}

/// Our driver. Its buffers are in the memory that the back-end has: nothing is copied.
pub(super) struct Ours {
    disk: Blk<Transport, DmaBuffer>,
    platform: Platform,
    places: Places,
}

impl Ours {
    /// Brings up the disk behind `socket`.
    pub(super) fn connect(socket: &Path, cores: Cores) -> Result<Self, Box<dyn Error>> {
        let platform = Platform::new(&MemoryOptions {
            bytes: MEMORY,
            ..MemoryOptions::default()
        })?;
        let options = Options {
            calls: match cores {
                Cores::One => Notify::Signal,
                Cores::Two => Notify::Poll,
            },
            reconnect: Reconnect::NEVER,
            ..Options::new(DeviceId::BLOCK)
        };
        let transport = Transport::connect(&platform, socket, options)?;
        let device = Acknowledged::new(transport)?.driver()?;
        let wanted = Wanted {
            optional: F::EVENT_IDX,
            ..Wanted::default()
        };
        Ok(Self {
            disk: Blk::open(device, &wanted, &QueueOptions::default())?,
            platform,
            places: Places::new(),
        })
    }

    fn submit(&mut self, free: &mut Vec<DmaBuffer>) -> Result<(), Box<dyn Error>> {
        let bytes = self.disk.disk().sectors * SECTOR;
        while let Some(buffer) = free.pop() {
            let place = self.places.next(buffer.len(), bytes);
            let read = self.disk.read(place / SECTOR, buffer);
            if let Err(rejected) = read {
                if rejected.why != DriverError::QueueFull {
                    return Err(rejected.why.into());
                }
                free.extend(rejected.data.buffer());
                break;
            }
        }
        self.disk.kick()?;
        Ok(())
    }

    /// Waits for one, and takes what else is done by then.
    fn complete(&mut self, free: &mut Vec<DmaBuffer>) -> Result<u64, Box<dyn Error>> {
        let (mut count, mut done) = (0, Some(self.disk.wait(LIMIT)?));
        while let Some(Done { buffer, result, .. }) = done {
            result?;
            free.extend(buffer);
            count += 1;
            done = self.disk.poll()?;
        }
        Ok(count)
    }
}

impl Client for Ours {
    fn run(&mut self, size: usize, depth: usize, time: Duration) -> Result<f64, Box<dyn Error>> {
        let buffers = (0..depth).map(|_| DmaBuffer::new(&self.platform, size));
        let free: Result<Vec<_>, _> = buffers.collect();
        let mut free = free.map_err(DriverError::from)?;
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.submit(&mut free)?;
            count += self.complete(&mut free)?;
        }
        while self.disk.in_flight() != 0 {
            count += self.complete(&mut free)?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }
}
