//! What was said to a card, and what it agreed to.

use alloc::vec::Vec;

use ringway_spec::net::{Mac, Statistics};

use super::answer::{Answer, Effect};
use super::command::Kind;
use crate::dma::Token;

/// What was said to a card, and what it agreed to.
#[derive(Debug)]
pub(super) struct Books {
    /// How many pairs of queues are set up.
    pub(super) pairs: u16,
    /// Which groups of counters the device has, once it has said so.
    pub(super) statistics: Option<Statistics>,
    /// The address that it was given last.
    pub(super) mac: Option<Mac>,
    kinds: [bool; Kind::COUNT],
    /// What follows from commands that were not answered yet: no more than the queue has room for.
    open: Vec<(Token, Effect)>,
}

impl Books {
    /// Those of a card of which `pairs` pairs of queues are set up.
    pub(super) fn new(pairs: u16) -> Self {
        Self {
            pairs,
            statistics: None,
            mac: None,
            kinds: [false; Kind::COUNT],
            open: Vec::new(),
        }
    }

    /// Whether the card receives a kind of packets because it was told to.
    pub(super) fn receives(&self, kind: Kind) -> bool {
        self.kinds[kind as usize]
    }

    /// A command was sent.
    pub(super) fn sent(&mut self, token: Token, effect: Effect) {
        if effect != Effect::None {
            self.open.push((token, effect));
        }
    }

    /// What follows from a command that is answered.
    pub(super) fn take(&mut self, token: Token) -> Effect {
        let at = self.open.iter().position(|(open, _)| *open == token);
        at.map_or(Effect::None, |at| self.open.swap_remove(at).1)
    }

    /// A command was done.
    pub(super) fn done(&mut self, effect: Effect, answer: &Answer) {
        match (effect, answer) {
            (Effect::Mac(mac), _) => self.mac = Some(mac),
            (Effect::Receive(kind, on), _) => self.kinds[kind as usize] = on,
            (_, Answer::Statistics(statistics)) => self.statistics = Some(*statistics),
            _ => {}
        }
    }
}
