//! What the bus gives: cards, and what it says of their links.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_driver::bus::{Name, Parting, Sink};
use ringway_driver::net::Link;

use super::station::Card;
use crate::lock::Lock;
use crate::platform::Machine;

/// Cards that nobody has taken, and changes that nobody has heard of.
pub(super) struct Shelf {
    cards: Lock<Vec<(Name, Card)>>,
    changes: Lock<Vec<(Name, Link)>>,
}

impl Shelf {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            cards: Lock::new(Vec::new()),
            changes: Lock::new(Vec::new()),
        })
    }

    /// Takes the card of this name.
    pub(super) fn take(&self, name: Name) -> Option<Card> {
        let mut cards = self.cards.lock();
        let place = cards.iter().position(|(known, _)| *known == name)?;
        Some(cards.swap_remove(place).1)
    }

    /// What is new of the links of cards, the oldest first.
    pub(super) fn changes(&self) -> Vec<(Name, Link)> {
        core::mem::take(&mut *self.changes.lock())
    }
}

impl Sink<Machine, Card> for Shelf {
    fn added(&self, name: Name, card: Card) {
        self.cards.lock().push((name, card));
    }

    fn changed(&self, name: Name, link: Link) {
        self.changes.lock().push((name, link));
    }

    fn removed(&self, name: Name, _: Parting) {
        // Whoever has taken it has buffers to take back; nothing is in flight on what is here.
        let card = self.take(name);
        drop(card);
    }
}
