//! The system's calls that take memory shared with a peer: reads and writes of files, at once or
//! through a ring of the kernel; those that lock bytes of files; and those for network interfaces.
//!
//! The kernel copies to and from that memory while the peer may be writing it. To this program it is
//! one more party that does: nothing here makes a reference to a byte of it.
#![expect(
    unsafe_code,
    reason = "memory shared with a peer, and what is said of locks and interfaces, goes to the kernel \
              by its address"
)]

use core::marker::PhantomData;
use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, squeue, types};
use libc::{c_int, c_uint, iovec};
use ringway_ring::shared::{Shared, View};
use rustix::fs::FallocateFlags;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, Updater, ioctl};

/// Most runs of memory that one call takes: the kernel's own limit.
const RUNS_MAX: usize = 1024;

/// Whether a call may wait for a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It says `EAGAIN` where it would, and `EOPNOTSUPP` where that cannot be said.
    Never,
    /// It does.
    Maybe,
}

/// A list for the kernel of where memory lies: addresses and lengths, of which the first are done.
#[derive(Debug, Default)]
struct List {
    runs: Vec<iovec>,
    done: usize,
}

// SAFETY: the addresses are numbers here; whoever gives them to the kernel answers for them.
unsafe impl Send for List {}

impl List {
    fn clear(&mut self) {
        self.runs.clear();
        self.done = 0;
    }

    fn push(&mut self, view: View<'_>) {
        self.runs.push(iovec {
            iov_base: view.base().as_ptr().cast(),
            iov_len: view.len(),
        });
    }

    /// As many of the runs that are left as one call takes.
    fn next(&self) -> &[iovec] {
        let left = self.runs.get(self.done..).unwrap_or_default();
        left.get(..RUNS_MAX).unwrap_or(left)
    }

    /// Takes the first `bytes` bytes off.
    fn advance(&mut self, bytes: usize) {
        let mut bytes = bytes;
        while let Some(run) = self.runs.get_mut(self.done)
            && bytes != 0
        {
            let now = bytes.min(run.iov_len);
            run.iov_base = run.iov_base.wrapping_byte_add(now);
            run.iov_len = run.iov_len.saturating_sub(now);
            bytes = bytes.saturating_sub(now);
            if run.iov_len == 0 {
                self.done = self.done.saturating_add(1);
            }
        }
    }
}

/// Room for the list of one call, kept for the next one's.
#[derive(Debug, Default)]
pub(crate) struct Room(List);

/// Memory that is lent to calls, run after run.
#[derive(Debug)]
pub(crate) struct Lent<'m, 'r> {
    list: &'r mut List,
    memory: PhantomData<View<'m>>,
}

impl Room {
    /// No memory yet.
    pub(crate) fn lend<'m>(&mut self) -> Lent<'m, '_> {
        self.0.clear();
        Lent {
            list: &mut self.0,
            memory: PhantomData,
        }
    }
}

impl<'m> Lent<'m, '_> {
    /// Adds a run of at least one byte.
    pub(crate) fn push(&mut self, view: View<'m>) {
        self.list.push(view);
    }

    /// Takes the first `bytes` bytes off.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.list.advance(bytes);
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.next().is_empty()
    }

    /// Fills the memory from `offset` of `file` on, as far as one call goes: returns how many bytes.
    pub(crate) fn read(&self, file: BorrowedFd<'_>, offset: u64, wait: Wait) -> io::Result<usize> {
        let runs = self.list.next();
        let (offset, flags) = (position(offset)?, wait.flags());
        // SAFETY: `runs` is as many vectors as are said, at most `RUNS_MAX`. Each is within a view
        // that `push` was given: live memory for `'m`, which outlives the call, and of which the
        // program has no references. `advance` only makes them smaller.
        let read = unsafe {
            libc::preadv2(
                file.as_raw_fd(),
                runs.as_ptr(),
                runs.len() as c_int,
                offset,
                flags,
            )
        };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    /// Writes the memory to `file` from `offset` on, as far as one call goes: returns how many
    /// bytes.
    pub(crate) fn write(&self, file: BorrowedFd<'_>, offset: u64, wait: Wait) -> io::Result<usize> {
        let runs = self.list.next();
        let (offset, flags) = (position(offset)?, wait.flags());
        // SAFETY: as for `read`; the kernel only reads the memory.
        let written = unsafe {
            libc::pwritev2(
                file.as_raw_fd(),
                runs.as_ptr(),
                runs.len() as c_int,
                offset,
                flags,
            )
        };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }
}

impl Wait {
    fn flags(self) -> c_int {
        match self {
            Self::Never => libc::RWF_NOWAIT,
            Self::Maybe => 0,
        }
    }
}

/// Takes a shared lock on byte `byte` of `file`, which others may share. It is the open file's.
pub(crate) fn lock(file: impl AsFd, byte: u64) -> io::Result<()> {
    lock_call(file, libc::F_OFD_SETLK, libc::F_RDLCK, byte).map(drop)
}

/// Gives it back.
pub(crate) fn unlock(file: impl AsFd, byte: u64) -> io::Result<()> {
    lock_call(file, libc::F_OFD_SETLK, libc::F_UNLCK, byte).map(drop)
}

/// Whether another open file has a lock on that byte, shared or not.
pub(crate) fn is_locked(file: impl AsFd, byte: u64) -> io::Result<bool> {
    let found = lock_call(file, libc::F_OFD_GETLK, libc::F_WRLCK, byte)?;
    Ok(found != libc::F_UNLCK)
}

/// Calls the system for a lock of this kind on one byte. Returns the kind that it answers with.
fn lock_call(file: impl AsFd, call: c_int, kind: c_int, byte: u64) -> io::Result<c_int> {
    // SAFETY: all zeroes are a valid value of this C structure.
    let mut lock: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = position(byte)?;
    lock.l_len = 1;
    // SAFETY: these calls take a pointer to such a structure, which is ours, and read and write
    // nothing else.
    let done = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), call, &raw mut lock) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(lock.l_type.into())
}

/// Makes `tun`, an open `/dev/net/tun`, a queue of the network interface `name`. Returns the name that
/// it has in truth. What is too long of one is left out.
pub(crate) fn attach(tun: BorrowedFd<'_>, name: &str, flags: c_int) -> io::Result<String> {
    const ATTACH: Opcode = libc::TUNSETIFF as Opcode;
    // SAFETY: all zeroes are a valid value of this C structure: bytes, and a union of numbers and
    // addresses.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    // The last byte stays zero.
    let room = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    for (to, from) in room.zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: the number is TUNSETIFF's, which takes a pointer to such a structure, reads it, and writes
    // it anew with the name; it touches no other memory of ours. Other files than a tun's refuse it, or
    // have another meaning for the number, of the same size and direction by the number itself.
    unsafe { ioctl(tun, Updater::<ATTACH, _>::new(&mut request)) }?;
    let name = request.ifr_name.iter().map(|&byte| byte as u8);
    let name: Vec<u8> = name.take_while(|&byte| byte != 0).collect();
    String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Has packets of an interface's queue stand behind a header of so many bytes, little-endian.
pub(crate) fn set_header(tun: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    const BYTES: Opcode = libc::TUNSETVNETHDRSZ as Opcode;
    const LITTLE: Opcode = libc::TUNSETVNETLE as Opcode;
    // SAFETY: the number is TUNSETVNETHDRSZ's, which takes a pointer to an `int`, and only reads it.
    unsafe { ioctl(tun, Setter::<BYTES, c_int>::new(bytes)) }?;
    // SAFETY: the number is TUNSETVNETLE's, which takes the same.
    unsafe { ioctl(tun, Setter::<LITTLE, c_int>::new(1)) }?;
    Ok(())
}

/// Says what the kernel may leave to do of packets that it hands over: `TUN_F_…`.
pub(crate) fn set_offloads(tun: BorrowedFd<'_>, offloads: c_uint) -> io::Result<()> {
    const OFFLOADS: Opcode = libc::TUNSETOFFLOAD as Opcode;
    // SAFETY: the number is TUNSETOFFLOAD's, which takes a number, any, and no memory.
    unsafe { ioctl(tun, IntegerSetter::<OFFLOADS>::new_usize(offloads as usize)) }?;
    Ok(())
}

/// A place in a file, as calls take it.
fn position(offset: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// What a ring is asked to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Fill the request's memory from here on.
    Read(u64),
    /// Write the request's memory from here on.
    Write(u64),
    /// The same, and have it safe from a loss of power.
    WriteStable(u64),
    /// Have what was written safe from a loss of power.
    Sync,
    /// Allocate, or free, from here on so many bytes.
    Allocate(FallocateFlags, u64, u64),
}

/// A ring of the kernel (`io_uring`), which works on requests for one file.
///
/// Dropping it waits for what is in flight.
pub(crate) struct Ring<F: AsFd> {
    ring: IoUring,
    file: F,
    /// By tag.
    slots: Vec<Slot>,
    in_flight: usize,
}

/// The memory of a request.
#[derive(Debug, Default)]
struct Slot {
    /// Where `memory` lies. Neither is touched while the kernel has the request.
    list: List,
    memory: Vec<Shared>,
    in_flight: bool,
}

impl<F: AsFd> Ring<F> {
    /// A ring for `file`, with room for `entries` requests that the kernel was not yet told of.
    pub(crate) fn new(file: F, entries: u32) -> io::Result<Self> {
        let ring = IoUring::new(entries)?;
        // Kernels whose rings do not have it let go of requests when a thread ends.
        if !ring.params().is_feature_native_workers() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        ring.submitter()
            .register_files(&[file.as_fd().as_raw_fd()])?;
        Ok(Self {
            ring,
            file,
            slots: Vec::new(),
            in_flight: 0,
        })
    }

    pub(crate) fn file(&self) -> &F {
        &self.file
    }

    /// The descriptor that becomes readable when a request is done.
    pub(crate) fn ready(&self) -> i32 {
        self.ring.as_raw_fd()
    }

    /// How many requests were begun and not taken back.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The memory of request `tag` is this, which it had not before. Does nothing while it is in
    /// flight.
    pub(crate) fn hold(&mut self, tag: u16, memory: impl Iterator<Item = Shared>) {
        let Some(slot) = self.slot(tag) else {
            return;
        };
        slot.list.clear();
        slot.memory.clear();
        slot.memory.extend(memory);
        for memory in &slot.memory {
            slot.list.push(memory.view());
        }
    }

    /// The memory of request `tag`, unless it is in flight.
    pub(crate) fn held(&self, tag: u16) -> &[Shared] {
        match self.slots.get(usize::from(tag)) {
            Some(slot) if !slot.in_flight => &slot.memory,
            _ => &[],
        }
    }

    /// Takes the first `bytes` bytes off the memory of request `tag`. Says whether any are left.
    pub(crate) fn advance(&mut self, tag: u16, bytes: usize) -> bool {
        self.slot(tag).is_some_and(|slot| {
            slot.list.advance(bytes);
            !slot.list.next().is_empty()
        })
    }

    /// Lets go of the memory of request `tag`, unless it is in flight.
    pub(crate) fn release(&mut self, tag: u16) {
        if let Some(slot) = self.slot(tag) {
            slot.list.clear();
            slot.memory.clear();
        }
    }

    /// Puts request `tag` on the ring; the kernel learns of it by [`enter`](Self::enter). Says
    /// whether there was room, and the request not in flight.
    pub(crate) fn push(&mut self, tag: u16, operation: Operation) -> bool {
        let Some(slot) = self.slot(tag) else {
            return false;
        };
        let entry = entry(slot.list.next(), operation).user_data(tag.into());
        // SAFETY: the entry names the one file that is registered, and, for reads and writes, a list
        // of as many vectors as it says. List and memory are the slot's. Marked as in flight below,
        // neither changes (`slot` gives no slot that is), and the list stays where it is on the heap,
        // until the kernel says that it is done, or for ever (`drop`). The memory is shared: live as
        // long as the slot's handles, and without references in this program.
        if unsafe { self.ring.submission().push(&entry) }.is_err() {
            return false;
        }
        if let Some(slot) = self.slots.get_mut(usize::from(tag)) {
            slot.in_flight = true;
            self.in_flight = self.in_flight.saturating_add(1);
        }
        true
    }

    /// Tells the kernel of what was pushed, and waits until `wanted` requests are done.
    pub(crate) fn enter(&mut self, wanted: usize) -> io::Result<()> {
        self.ring.submit_and_wait(wanted).map(drop)
    }

    /// Whether the kernel is yet to be told of something.
    pub(crate) fn is_unsaid(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Takes a request back that is done, with the number of bytes that were moved.
    pub(crate) fn next_done(&mut self) -> Option<(u16, io::Result<usize>)> {
        let entry = self.ring.completion().next()?;
        // As it was pushed.
        let tag = entry.user_data() as u16;
        if let Some(slot) = self.slots.get_mut(usize::from(tag))
            && slot.in_flight
        {
            slot.in_flight = false;
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        let moved = usize::try_from(entry.result());
        Some((
            tag,
            moved.map_err(|_| io::Error::from_raw_os_error(entry.result().saturating_neg())),
        ))
    }

    /// The slot of request `tag`, unless it is in flight.
    fn slot(&mut self, tag: u16) -> Option<&mut Slot> {
        let index = usize::from(tag);
        if index >= self.slots.len() {
            // Slots that are in flight move; what the kernel has of them is on the heap.
            self.slots
                .resize_with(index.saturating_add(1), Slot::default);
        }
        self.slots.get_mut(index).filter(|slot| !slot.in_flight)
    }
}

/// What the kernel is told of an operation, with memory at `runs`.
fn entry(runs: &[iovec], operation: Operation) -> squeue::Entry {
    /// The only file that is registered.
    const FILE: types::Fixed = types::Fixed(0);
    let (at, count) = (runs.as_ptr(), runs.len() as u32);
    match operation {
        Operation::Read(offset) => opcode::Readv::new(FILE, at, count).offset(offset).build(),
        Operation::Write(offset) => opcode::Writev::new(FILE, at, count).offset(offset).build(),
        Operation::WriteStable(offset) => opcode::Writev::new(FILE, at, count)
            .offset(offset)
            .rw_flags(libc::RWF_DSYNC)
            .build(),
        Operation::Sync => opcode::Fsync::new(FILE)
            .flags(types::FsyncFlags::DATASYNC)
            .build(),
        Operation::Allocate(mode, offset, len) => opcode::Fallocate::new(FILE, len)
            .offset(offset)
            .mode(mode.bits() as i32)
            .build(),
    }
}

impl<F: AsFd> Drop for Ring<F> {
    fn drop(&mut self) {
        /// Most failures to wait before memory is given up: the kernel fails so when it has no
        /// memory itself.
        const FAILURES_MAX: u32 = 1000;
        let mut failures = 0_u32;
        while self.in_flight != 0 {
            // Entries that the kernel was not told of yet are told, and done, too.
            if let Err(error) = self.enter(1)
                && error.kind() != io::ErrorKind::Interrupted
            {
                failures = failures.saturating_add(1);
                if failures == FAILURES_MAX {
                    // The kernel may still write there: nobody else ever will.
                    core::mem::forget(core::mem::take(&mut self.slots));
                    return;
                }
                std::thread::yield_now();
            }
            while self.next_done().is_some() {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::fs::File;
    use std::io::Write;

    /// A file of zeroes to nines, 100 of each.
    fn file() -> File {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..10).flat_map(|byte| [byte; 100]).collect();
        file.write_all(&bytes).unwrap();
        file
    }

    fn memory(len: usize) -> Shared {
        Shared::allocate(len, 16).unwrap()
    }

    fn bytes(memory: &Shared) -> Vec<u8> {
        let mut bytes = vec![0; memory.len()];
        memory.view().read(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn runs_are_filled_one_after_the_other_also_after_some_were_taken_off() {
        let file = file();
        let (first, second) = (memory(30), memory(80));
        let mut room = Room::default();
        let mut lent = room.lend();
        lent.push(first.view());
        lent.push(second.view());

        lent.advance(20);
        let read = lent.read(file.as_fd(), 95, Wait::Maybe).unwrap();
        lent.advance(read);

        assert_eq!(read, 90);
        assert!(lent.is_empty());
        assert_eq!(bytes(&first), [[0; 25].as_slice(), &[1; 5]].concat());
        assert_eq!(bytes(&second), [1; 80]);
    }

    #[test]
    fn a_call_takes_no_more_runs_than_the_system_does() {
        let file = file();
        let run = memory(1);
        let mut room = Room::default();
        let mut lent = room.lend();
        for _ in 0..RUNS_MAX + 1 {
            lent.push(run.view());
        }

        let written = lent.write(file.as_fd(), 0, Wait::Maybe).unwrap();
        lent.advance(written);

        assert_eq!(written, RUNS_MAX);
        assert!(!lent.is_empty());
    }

    #[test]
    fn a_place_that_no_file_has_is_refused() {
        let run = memory(1);
        let mut room = Room::default();
        let mut lent = room.lend();
        lent.push(run.view());

        let read = lent.read(file().as_fd(), u64::MAX, Wait::Maybe);

        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_file_that_is_no_tun_becomes_no_interface() {
        let file = file();

        let attached = attach(file.as_fd(), "ringway%d", libc::IFF_TAP);
        let told = set_header(file.as_fd(), 12).and(set_offloads(file.as_fd(), 0));

        for refused in [attached.map(drop), told] {
            assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        }
    }

    #[test]
    fn a_ring_is_readable_when_a_request_is_done() {
        // Where the system has no rings, there is nothing to be seen.
        let Ok(mut ring) = Ring::new(file(), 4) else {
            return;
        };
        let memory = memory(200);
        ring.hold(3, [memory.clone()].into_iter());
        // SAFETY: the descriptor is the ring's, which lives longer.
        let ready = unsafe { BorrowedFd::borrow_raw(ring.ready()) };
        let is_readable = || {
            let now = rustix::event::Timespec::default();
            poll(&mut [PollFd::new(&ready, PollFlags::IN)], Some(&now)).unwrap() != 0
        };

        let before = is_readable();
        assert!(ring.push(3, Operation::Read(100)));
        ring.enter(1).unwrap();
        let after = is_readable();
        let (tag, moved) = ring.next_done().unwrap();

        assert!(!before && after);
        assert_eq!((tag, moved.unwrap()), (3, 200));
        assert!(!is_readable());
        assert_eq!(bytes(&memory), [[1; 100], [2; 100]].concat());
    }

    #[test]
    fn the_memory_of_a_request_in_flight_stays_what_it_is() {
        let Ok(mut ring) = Ring::new(file(), 4) else {
            return;
        };
        let (given, other) = (memory(100), memory(100));
        ring.hold(0, [given.clone()].into_iter());
        assert!(ring.push(0, Operation::Read(700)));

        ring.hold(0, [other.clone()].into_iter());
        ring.release(0);
        let again = ring.push(0, Operation::Read(0));
        let advanced = ring.advance(0, 100);
        let held = ring.held(0).len();
        drop(ring);

        assert!(!again && !advanced);
        assert_eq!(held, 0);
        assert_eq!(bytes(&given), [7; 100]);
        assert_eq!(bytes(&other), [0; 100]);
    }
}
