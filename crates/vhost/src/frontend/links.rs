//! The connections of a platform, as one descriptor to wait for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io;

use super::link::Link;
use crate::sync::lock;

/// The connections of a platform.
#[derive(Debug)]
pub(crate) struct Links {
    /// Readable when one of them has something to say.
    epoll: OwnedFd,
    all: Mutex<Vec<Weak<Link>>>,
}

impl Links {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            all: Mutex::default(),
        })
    }

    /// Looks after `link`, too, for as long as it is there.
    pub(crate) fn add(&self, link: &Arc<Link>) {
        let mut all = lock(&self.all);
        all.retain(|link| link.strong_count() != 0);
        all.push(Arc::downgrade(link));
    }

    /// Says when there is something to be read from `descriptor`, until it is closed.
    pub(crate) fn watch(&self, descriptor: impl AsFd) -> io::Result<()> {
        self.add_for(descriptor, EventFlags::IN)
    }

    /// Says when the peer at `socket` hangs up. Answers that come there are nobody's concern but
    /// of those who asked.
    pub(crate) fn watch_hang_up(&self, socket: impl AsFd) -> io::Result<()> {
        self.add_for(socket, EventFlags::RDHUP)
    }

    /// Says nothing of `descriptor` any more.
    pub(crate) fn forget(&self, descriptor: impl AsFd) {
        // It fails if it was never watched.
        let _ = epoll::delete(&self.epoll, descriptor);
    }

    /// Looks after all of them.
    pub(crate) fn look_after(&self) {
        // Not with the list locked: whoever is told of it may make another connection.
        let all = lock(&self.all).clone();
        for link in all.iter().filter_map(Weak::upgrade) {
            link.look_after();
        }
    }

    /// How long until one of them is to be looked after in any case, at `now` of the platform's
    /// time.
    pub(crate) fn due_in(&self, now: impl Fn() -> Duration) -> Option<Duration> {
        let all = lock(&self.all);
        let links = all.iter().filter_map(Weak::upgrade);
        links.filter_map(|link| link.due_in(&now)).min()
    }

    fn add_for(&self, descriptor: impl AsFd, what: EventFlags) -> io::Result<()> {
        epoll::add(&self.epoll, descriptor, EventData::new_u64(0), what)
    }
}

impl AsFd for Links {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
