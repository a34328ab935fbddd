//! libblkio's driver, as a client that keeps so many reads in flight.
#![expect(
    unsafe_code,
    reason = "libblkio leaves completions in memory that was not initialised"
)]

use core::mem::MaybeUninit;
use core::ptr::with_exposed_provenance_mut;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use blkio::{Blkio, Blkioq, Completion, MemoryRegion, ReqFlags};

use super::client::Client;
use super::{Cores, DEPTHS, Places, SIZES};

/// Most time for one request, as for our driver.
const LIMIT: Duration = Duration::from_secs(30);

/// Its driver. Its buffers are in a region that the back-end has, as it wants it.
pub(super) struct Libblkio {
    // Before what it belongs to.
    queue: Blkioq,
    region: MemoryRegion,
    _disk: Blkio,
    bytes: u64,
    places: Places,
    done: Vec<MaybeUninit<Completion>>,
}

impl Libblkio {
    /// Brings up the disk behind `socket`.
    pub(super) fn connect(socket: &Path, cores: Cores) -> Result<Self, Box<dyn Error>> {
        let deepest = DEPTHS.into_iter().max().unwrap_or_default();
        let largest = SIZES.into_iter().map(|(size, _)| size).max();
        let mut disk = Blkio::new("virtio-blk-vhost-user")?;
        disk.set_str("path", &socket.to_string_lossy())?;
        disk.connect()?;
        let (queues, poll_queues) = match cores {
            Cores::One => (1, 0),
            Cores::Two => (0, 1),
        };
        disk.set_i32("num-queues", queues)?;
        disk.set_i32("num-poll-queues", poll_queues)?;
        let bytes = disk.get_u64("capacity")?;
        let started = disk.start()?;
        let region = disk.alloc_mem_region(deepest * largest.unwrap_or_default())?;
        disk.map_mem_region(&region)?;
        let mut queues = started.queues.into_iter().chain(started.poll_queues);
        Ok(Self {
            queue: queues.next().ok_or("libblkio made no queue")?,
            region,
            _disk: disk,
            bytes,
            places: Places::new(),
            done: (0..deepest).map(|_| MaybeUninit::uninit()).collect(),
        })
    }

    fn submit(&mut self, size: usize, free: &mut Vec<usize>) {
        for buffer in free.drain(..) {
            let at = with_exposed_provenance_mut(self.region.addr + buffer * size);
            let place = self.places.next(size, self.bytes);
            self.queue.read(place, at, size, buffer, ReqFlags::empty());
        }
    }

    /// Waits for one, and takes what else is done by then.
    fn complete(&mut self, free: &mut Vec<usize>) -> Result<u64, Box<dyn Error>> {
        let mut limit = LIMIT;
        let count = self
            .queue
            .do_io(&mut self.done, 1, Some(&mut limit), None)?;
        for done in self.done.iter().take(count) {
            // SAFETY: `do_io` says that it has written so many.
            let done = unsafe { done.assume_init_ref() };
            if done.ret != 0 {
                return Err(format!("a request of libblkio failed: {}", done.ret).into());
            }
            free.push(done.user_data);
        }
        Ok(count as u64)
    }
}

impl Client for Libblkio {
    fn run(&mut self, size: usize, depth: usize, time: Duration) -> Result<f64, Box<dyn Error>> {
        let mut free: Vec<_> = (0..depth).collect();
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time {
            self.submit(size, &mut free);
            count += self.complete(&mut free)?;
        }
        while free.len() != depth {
            count += self.complete(&mut free)?;
        }
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }
}
