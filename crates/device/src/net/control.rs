//! Serves the queue of commands. Spec: VIRTIO 1.4 §5.1.9.5 "Control Virtqueue".

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_packet::Toeplitz;
use ringway_ring::device::{Batch, Readable, Violation, Writable};
use ringway_spec::Features;
use ringway_spec::le::{U16, U32, U64};
use ringway_spec::net::{
    Ack, Control, F, HashConfig, HashTypes, KEY_MIN, Mac, Offloads, PAIRS_MIN, SteeringHead,
    SteeringTail,
};
use spin::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use super::counts::{CommandCounts, TransmitCounts};
use super::inlet::Shared;
use super::rules::{ADDRESSES_MAX, Hashing, Rules, Steering, TABLE_MAX};
use crate::model::Worker;

mod coalesce;
mod statistics;

/// Most bytes of a command: two full tables of addresses, and no driver makes the device grow.
const COMMAND_BYTES_MAX: u64 = 16 * 1024;

/// Longest key of hashes, in bytes.
pub(super) const KEY_MAX: u8 = KEY_MIN;

/// The worker of the queue of commands.
pub(super) struct Commands {
    pub(super) features: Features,
    pub(super) pairs: u16,
    pub(super) shared: Arc<Shared>,
    pub(super) transmitted: Vec<Arc<Mutex<TransmitCounts>>>,
    pub(super) counts: CommandCounts,
}

/// A command that is not done: the driver is told no more than that.
struct Refused;

/// What a driver reads when a command went well, behind its [`Ack`].
type Answer = Result<Vec<u8>, Refused>;

/// What is left of a command's data.
struct Data<'d>(&'d [u8]);

impl Worker for Commands {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.counts.came();
            let answer = self.execute(batch.readable(&chain));
            if answer.is_ok() {
                self.counts.done();
            }
            let written = give(batch.writable(&chain), answer);
            batch.complete(chain, written);
        }
        Ok(())
    }
}

/// Writes an answer, as much as there is room for, and says how many bytes.
fn give(mut to: Writable<'_>, answer: Answer) -> u32 {
    let (ack, result) = match answer {
        Ok(result) => (Ack::OK, result),
        Err(Refused) => (Ack::ERR, Vec::new()),
    };
    if to.write(ack.as_bytes()).is_err() {
        return 0;
    }
    let room = to.remaining().min(result.len() as u64) as usize;
    let result = result.get(..room).unwrap_or_default();
    match to.write(result) {
        // No more than some kilobytes.
        Ok(()) => (result.len() as u32).saturating_add(1),
        Err(_) => 1,
    }
}

impl Commands {
    fn execute(&mut self, mut readable: Readable<'_>) -> Answer {
        let control: Control = readable.read_value().map_err(|_| Refused)?;
        let len = readable.remaining();
        if len > COMMAND_BYTES_MAX {
            return Err(Refused);
        }
        let mut bytes = alloc::vec![0; len as usize];
        readable.read(&mut bytes).map_err(|_| Refused)?;
        let mut data = Data(&bytes);
        let nothing = |()| Vec::new();
        match control {
            Control::STATS_QUERY => {
                self.needs(F::DEVICE_STATS)?;
                data.end()?;
                Ok(U64::new(self.statistics().bits()).as_bytes().to_vec())
            }
            Control::STATS_GET => {
                self.needs(F::DEVICE_STATS)?;
                self.count(&mut data)
            }
            Control {
                class: 0,
                command: kind,
            } => self.receive(kind, &mut data).map(nothing),
            Control::MAC_TABLE_SET => {
                self.needs(F::CTRL_RX)?;
                let (unicast, multicast) = (data.addresses()?, data.addresses()?);
                data.end()?;
                self.change(|rules| {
                    rules.unicast = unicast;
                    rules.multicast = multicast;
                    Ok(())
                })
                .map(nothing)
            }
            Control::MAC_ADDR_SET => {
                self.needs(F::CTRL_MAC_ADDR)?;
                let mac: Mac = data.value()?;
                data.end()?;
                self.change(|rules| {
                    rules.mac = mac;
                    Ok(())
                })
                .map(nothing)
            }
            Control::VLAN_ADD | Control::VLAN_DEL => {
                self.needs(F::CTRL_VLAN)?;
                let id: U16 = data.value()?;
                data.end()?;
                let on = control == Control::VLAN_ADD;
                self.change(|rules| match rules.set_lan(id.get(), on) {
                    true => Ok(()),
                    false => Err(Refused),
                })
                .map(nothing)
            }
            Control::ANNOUNCE_ACK => {
                self.needs(F::GUEST_ANNOUNCE)?;
                data.end()?;
                // Before the driver sees that the command is done (§5.1.9.5.4.2).
                self.shared.link.announced();
                Ok(Vec::new())
            }
            Control::MQ_VQ_PAIRS_SET => {
                self.needs(F::MQ)?;
                let pairs = self.pair_count(data.value()?)?;
                data.end()?;
                self.change(|rules| {
                    rules.pairs = pairs;
                    // The last command says how packets are steered (§5.1.9.5.5).
                    if let Some(hashing) = &mut rules.hashing {
                        hashing.steering = None;
                    }
                    Ok(())
                })
                .map(nothing)
            }
            Control::MQ_RSS_CONFIG => {
                self.needs(F::RSS)?;
                self.steer(&mut data).map(nothing)
            }
            Control::MQ_HASH_CONFIG => {
                self.needs(F::HASH_REPORT)?;
                let config: HashConfig = data.value()?;
                let types = hash_types(config.hash_types)?;
                let key = data.key(config.hash_key_length)?;
                self.change(|rules| {
                    let steering = rules.hashing.take().and_then(|hashing| hashing.steering);
                    rules.hashing = Some(Hashing {
                        types,
                        key,
                        steering,
                    });
                    Ok(())
                })
                .map(nothing)
            }
            Control::GUEST_OFFLOADS_SET => {
                self.needs(F::CTRL_GUEST_OFFLOADS)?;
                let bits: U64 = data.value()?;
                data.end()?;
                let offloads = Offloads::from_bits_retain(bits.get());
                if !Offloads::of(self.features).contains(offloads) {
                    return Err(Refused);
                }
                self.change(|rules| {
                    rules.offloads = offloads;
                    Ok(())
                })
                .map(nothing)
            }
            control => self.coalesce(control, &mut data),
        }
    }

    fn needs(&self, feature: Features) -> Result<(), Refused> {
        match self.features.contains(feature) {
            true => Ok(()),
            false => Err(Refused),
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Rules) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        change(&mut self.shared.rules.lock())
    }

    /// Commands for kinds of packets (§5.1.9.5.1).
    fn receive(&self, kind: u8, data: &mut Data<'_>) -> Result<(), Refused> {
        self.needs(F::CTRL_RX)?;
        let on = match data.value::<u8>()? {
            0 => false,
            1 => true,
            _ => return Err(Refused),
        };
        data.end()?;
        if kind >= Control::RX_ALLUNI.command {
            self.needs(F::CTRL_RX_EXTRA)?;
        }
        self.change(|rules| {
            let kinds = &mut rules.kinds;
            *match Control::new(0, kind) {
                Control::RX_PROMISC => &mut kinds.any,
                Control::RX_ALLMULTI => &mut kinds.any_multicast,
                Control::RX_ALLUNI => &mut kinds.any_unicast,
                Control::RX_NOMULTI => &mut kinds.no_multicast,
                Control::RX_NOUNI => &mut kinds.no_unicast,
                Control::RX_NOBCAST => &mut kinds.no_broadcast,
                _ => return Err(Refused),
            } = on;
            Ok(())
        })
    }

    /// A number of pairs that the device has (§5.1.9.5.6).
    fn pair_count(&self, pairs: U16) -> Result<u16, Refused> {
        let pairs = pairs.get();
        match (PAIRS_MIN..=self.pairs).contains(&pairs) {
            true => Ok(pairs),
            false => Err(Refused),
        }
    }

    /// How to choose among receive queues (§5.1.9.5.7).
    fn steer(&self, data: &mut Data<'_>) -> Result<(), Refused> {
        let head: SteeringHead = data.value()?;
        let types = hash_types(head.hash_types)?;
        let len = usize::from(head.indirection_table_mask.get()) + 1;
        if !len.is_power_of_two() || len > TABLE_MAX {
            return Err(Refused);
        }
        let pair = |id: ringway_spec::net::QueueId| {
            let pair = id.pair().filter(|&pair| pair < self.pairs);
            pair.ok_or(Refused)
        };
        let unclassified = pair(head.unclassified_queue)?;
        let table = (0..len).map(|_| data.value().and_then(pair));
        let table: Vec<u16> = table.collect::<Result<_, _>>()?;
        let tail: SteeringTail = data.value()?;
        self.pair_count(tail.max_tx_vq)?;
        let key = data.key(tail.hash_key_length)?;
        self.change(|rules| {
            let steering = Some(Steering {
                table,
                unclassified,
            });
            rules.hashing = Some(Hashing {
                types,
                key,
                steering,
            });
            Ok(())
        })
    }
}

fn hash_types(types: U32) -> Result<HashTypes, Refused> {
    let types = HashTypes::from_bits_retain(types.get());
    match HashTypes::KNOWN.contains(types) {
        true => Ok(types),
        false => Err(Refused),
    }
}

impl Data<'_> {
    fn value<T: FromBytes>(&mut self) -> Result<T, Refused> {
        let (value, rest) = T::read_from_prefix(self.0).map_err(|_| Refused)?;
        self.0 = rest;
        Ok(value)
    }

    fn addresses(&mut self) -> Result<Vec<Mac>, Refused> {
        let entries: U32 = self.value()?;
        let entries = entries.get() as usize;
        if entries > ADDRESSES_MAX {
            return Err(Refused);
        }
        (0..entries).map(|_| self.value()).collect()
    }

    /// A key, with which the data ends.
    fn key(&mut self, len: u8) -> Result<Toeplitz, Refused> {
        match self.0.len() == len.into() && len <= KEY_MAX {
            true => Ok(Toeplitz::new(self.0)),
            false => Err(Refused),
        }
    }

    fn end(&self) -> Result<(), Refused> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Refused),
        }
    }
}

#[cfg(test)]
mod tests;
