//! Requests that their channel keeps.

use alloc::vec::Vec;

use ringway_ring::device::Chain;
use ringway_ring::shared::Shared;

use super::disk::Tag;

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) chain: Chain,
    /// Where its status goes: held, for when it is done the driver's memory may be another.
    pub(super) status: Option<Shared>,
}

/// The requests of a queue that are not done, by their tags. No more than the queue has descriptors.
#[derive(Debug, Default)]
pub(super) struct Kept {
    requests: Vec<Option<Request>>,
    /// Tags that were given back.
    free: Vec<u16>,
}

impl Kept {
    /// The tag of the next request to be kept.
    pub(super) fn next_tag(&self) -> Tag {
        // As many as a queue has descriptors: they have 16 bits.
        let fresh = self.requests.len() as u16;
        Tag(self.free.last().copied().unwrap_or(fresh))
    }

    /// Keeps `request`, by the next tag.
    pub(super) fn keep(&mut self, request: Request) {
        let free = self.free.pop().map(usize::from);
        match free.and_then(|free| self.requests.get_mut(free)) {
            Some(place) => *place = Some(request),
            None => self.requests.push(Some(request)),
        }
    }

    /// Gives the request back that is kept by `tag`, if there is one.
    pub(super) fn take(&mut self, tag: Tag) -> Option<Request> {
        let request = self.requests.get_mut(usize::from(tag.0))?.take()?;
        self.free.push(tag.0);
        Some(request)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.requests.len()
    }
}
