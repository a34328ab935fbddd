//! What a card is told by its queue of commands, and what comes of it.
//!
//! Of what a network sends to a card, its filter lets through what the driver asked for: that is seen
//! when the stack goes by an address that is not the card's.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use ringway_driver::error::{Error, RequestError};
use ringway_driver::net::{Command, Kind};
use ringway_spec::net::{F, Mac, Offloads};
use smoltcp::wire::Ipv4Address;

use super::client::ping;
use super::station::{Finding, PATIENCE, Station};

/// Not the card's.
const OTHER: Mac = [2, 0, 0, 0x5e, 0x10, 1];
/// A group that the card is not of by itself.
const GROUP: Mac = [1, 0, 0x5e, 0, 0, 0xfb];
/// How long nothing has to come for it to be known that nothing does.
const SILENCE: Duration = Duration::from_millis(50);
/// Bytes of an echo.
const LEN: usize = 56;

/// Whether what is sent to the stack's address comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
}

/// What is done with the filter, and what is heard then by the address that is not the card's.
const STEPS: [(&str, &[Command<'_>], Heard); 9] = [
    ("alone", &[Command::Receive(Kind::Any, false)], Heard::No),
    (
        "promiscuous",
        &[Command::Receive(Kind::Any, true)],
        Heard::Yes,
    ),
    ("no more", &[Command::Receive(Kind::Any, false)], Heard::No),
    (
        "in the filter",
        &[Command::Filter {
            unicast: &[[2, 0, 0, 0, 0, 9], OTHER],
            multicast: &[GROUP],
        }],
        Heard::Yes,
    ),
    (
        "out of the filter",
        &[Command::Filter {
            unicast: &[],
            multicast: &[],
        }],
        Heard::No,
    ),
    (
        "all unicast",
        &[Command::Receive(Kind::AnyUnicast, true)],
        Heard::Yes,
    ),
    (
        "no unicast",
        &[
            Command::Receive(Kind::AnyUnicast, false),
            Command::Mac(OTHER),
            Command::Receive(Kind::NoUnicast, true),
        ],
        Heard::No,
    ),
    (
        "its own address",
        &[Command::Receive(Kind::NoUnicast, false)],
        Heard::Yes,
    ),
    (
        "another address, from here on",
        &[
            Command::Vlan(5, true),
            Command::Vlan(4095, true),
            Command::Vlan(5, false),
            Command::Receive(Kind::AnyMulticast, true),
            Command::Receive(Kind::AnyMulticast, false),
            Command::Receive(Kind::NoMulticast, true),
            Command::Receive(Kind::NoMulticast, false),
            Command::Receive(Kind::NoBroadcast, true),
            Command::Receive(Kind::NoBroadcast, false),
        ],
        Heard::Yes,
    ),
];

/// Tells the card all that it can be told, and finds that it hears what it should of `router`. Leaves it
/// with the address that it had.
pub(super) fn exercise(station: &mut Station, router: Ipv4Address) -> Finding {
    let mac = station.net.mac().ok_or("it has no address")?;
    station.rename(OTHER)?;
    for (what, commands, heard) in STEPS {
        for command in commands {
            let told = station.command(command);
            told.map_err(|why| format!("{what}, {command:?}: {why}"))?;
        }
        let limit = match heard {
            Heard::Yes => PATIENCE,
            Heard::No => SILENCE,
        };
        match (ping(station, router, LEN, limit), heard) {
            (Ok(()), Heard::No) => return Err(format!("{what}: it hears what it should not")),
            (Err(why), Heard::Yes) => return Err(format!("{what}: {why}")),
            _ => {}
        }
    }
    for command in [Command::Mac(mac), Command::Receive(Kind::Any, true)] {
        station.command(&command)?;
    }
    station.rename(mac)?;
    ping(station, router, LEN, PATIENCE)
}

/// Tells the card what it can be told only with some feature, and what it is to refuse.
pub(super) fn others(station: &mut Station) -> Finding {
    let features = station.net.facts().features;
    let offloads = Offloads::of(features);
    if features.contains(F::CTRL_GUEST_OFFLOADS) {
        let done = station.answer(&Command::Offloads(offloads))?;
        // One that has none may well refuse to be told so.
        if let Err(refused) = done
            && !offloads.is_empty()
        {
            return Err(format!("offloads: {refused}"));
        }
    }
    if features.contains(F::GUEST_ANNOUNCE) && station.answer(&Command::Announced)?.is_ok() {
        return Err("it takes an answer to what it did not ask".to_string());
    }
    // The driver's to refuse: there is one pair.
    match station.net.command(&Command::Pairs(2)) {
        Err(Error::Request(RequestError::Unsupported | RequestError::Pairs { .. })) => Ok(()),
        other => Err(format!("pairs that it does not have: {other:?}")),
    }
}
