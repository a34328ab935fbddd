//! What devices are to offer of rings, as it is typed, and whether a place has devices that can.

use std::fmt;

use clap::ValueEnum;
use ringway_device::Offer;
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::backend::DeviceCarrier;

use crate::args::On;
use crate::refusal::{Refusal, Result};

/// Formats of rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Three areas, each written by one side
    Split,
    /// One ring of descriptors, written by both
    Packed,
    /// Packed, and buffers are used in the order in which they were made available
    InOrder,
}

/// One word of a list: something else than usual is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing, but what words to come say.
    Nothing,
    /// This, too.
    With(Features),
    /// This not.
    Without(Features),
}

/// The features that have a name here.
const NAMED: Features = Features(
    F::INDIRECT_DESC.0
        | F::EVENT_IDX.0
        | F::ACCESS_PLATFORM.0
        | F::RING_PACKED.0
        | F::IN_ORDER.0
        | F::ORDER_PLATFORM.0
        | F::NOTIFICATION_DATA.0
        | F::RING_RESET.0,
);

/// What QEMU's devices can be told to offer or not.
const QEMU: Features = Features(
    F::INDIRECT_DESC.0
        | F::EVENT_IDX.0
        | F::ACCESS_PLATFORM.0
        | F::RING_PACKED.0
        | F::IN_ORDER.0
        | F::RING_RESET.0,
);

/// Where devices are, as far as it matters to their rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a machine.
    On(On),
    /// Behind a vhost-user socket.
    Socket,
}

impl From<On> for Place {
    fn from(on: On) -> Self {
        Self::On(on)
    }
}

/// The features that devices at this place are to offer: the usual ones, in the `format`, if one is
/// asked for, but for the `changes`, which are made in their order.
pub(crate) fn offer(place: Place, format: Option<Format>, changes: &[Change]) -> Result<Features> {
    let can = possible(place);
    let (formed, excluded) = match format {
        None => (Features::NONE, Features::NONE),
        Some(Format::Split) => (Features::NONE, F::RING_PACKED),
        Some(Format::Packed) => (F::RING_PACKED, Features::NONE),
        Some(Format::InOrder) => (F::RING_PACKED | F::IN_ORDER, Features::NONE),
    };
    let usual = match place {
        Place::On(_) => Offer::default(),
        Place::Socket => DeviceCarrier::default_offer(),
    };
    let usual = (usual.features() & can) - excluded;
    let mut offer = usual | formed;
    for change in changes {
        offer = match *change {
            Change::Nothing => formed,
            Change::With(feature) => offer | feature,
            Change::Without(feature) => offer - feature,
        };
    }
    agreed(format, (formed - offer) | (excluded & offer))?;
    let beyond = offer - can;
    if !beyond.is_empty() {
        let (whose, elsewhere) = match place {
            Place::On(On::Here) => ("our", Some(On::Qemu)),
            Place::On(On::Qemu) => ("QEMU's", Some(On::Here)),
            Place::Socket => ("vhost-user", None),
        };
        let elsewhere = elsewhere.filter(|&on| possible(on.into()).contains(beyond));
        let hint = elsewhere.map_or_else(String::new, |on| {
            let place = on.to_possible_value().unwrap_or_default();
            format!(", or use --on {}", place.get_name())
        });
        return Err(Refusal::new(format_args!(
            "{whose} devices cannot offer {}: choose from {}{hint}",
            List(beyond),
            List(can),
        )));
    }
    Ok(offer)
}

/// The ring features that a driver is to agree to, and those that it is not to, though they be offered:
/// it takes what it is offered, but for the `format`, if one is asked for, and the `changes`, which are
/// made in their order.
pub(crate) fn take(format: Option<Format>, changes: &[Change]) -> Result<(Features, Features)> {
    let (formed, excluded) = match format {
        None => (Features::NONE, Features::NONE),
        Some(Format::Split) => (Features::NONE, F::RING_PACKED),
        Some(Format::Packed) => (F::RING_PACKED, Features::NONE),
        Some(Format::InOrder) => (F::RING_PACKED | F::IN_ORDER, Features::NONE),
    };
    let (mut taken, mut left) = (formed, excluded);
    for change in changes {
        (taken, left) = match *change {
            Change::Nothing => (formed, NAMED - formed),
            Change::With(feature) => (taken | feature, left - feature),
            Change::Without(feature) => (taken - feature, left | feature),
        };
    }
    agreed(format, (formed & left) | (excluded & taken))?;
    Ok((taken, left))
}

/// What of an `offer` devices have that are reached over `transport`.
pub(crate) fn presented(on: On, transport: &str, offer: Features) -> Features {
    match (on, transport) {
        // QEMU would offer it, without having the register for it.
        (On::Qemu, "mmio") => offer - F::RING_RESET,
        _ => offer,
    }
}

/// Finds that `agreed`, the names of the features that a driver and its device agreed to, has of
/// ring features what the device was to offer, and no other.
pub(crate) fn agrees(agreed: &[String], offer: Features) -> Result<(), String> {
    let has = |bit: &Features| {
        let mut names = bit.names(DeviceId::INVALID).map(|name| name.to_string());
        names.any(|name| agreed.contains(&name))
    };
    let bits = NAMED.bits().map(Features::bit).filter(has);
    let found = bits.fold(Features::NONE, Features::union);
    if found == offer {
        return Ok(());
    }
    let (offer, found) = (List(offer), List(found));
    Err(format!("offered were [{offer}], agreed to [{found}]"))
}

/// A word of a list: `NAME`, `no-NAME` or `none`.
pub(crate) fn change(word: &str) -> Result<Change, String> {
    let named = |name: &str| {
        let bit = NAMED.bits().map(Features::bit);
        bit.into_iter().find(|bit| List(*bit).to_string() == name)
    };
    if word == "none" {
        return Ok(Change::Nothing);
    }
    let found = match word.strip_prefix("no-") {
        Some(name) => named(name).map(Change::Without),
        None => named(word).map(Change::With),
    };
    found.ok_or_else(|| {
        format!(
            "there is no such ring feature: choose from {}, no- before one of them, and none",
            List(NAMED)
        )
    })
}

/// Finds that a `format` and a list say the same of every feature.
fn agreed(format: Option<Format>, contradicted: Features) -> Result<()> {
    let (Some(format), false) = (format, contradicted.is_empty()) else {
        return Ok(());
    };
    Err(Refusal::new(format_args!(
        "--ring {} and --ring-features contradict each other about {}: leave one of them out",
        format.to_possible_value().unwrap_or_default().get_name(),
        List(contradicted),
    )))
}

fn possible(place: Place) -> Features {
    NAMED
        & match place {
            Place::On(On::Here) => Offer::POSSIBLE,
            Place::On(On::Qemu) => QEMU,
            Place::Socket => DeviceCarrier::possible_offer().features(),
        }
}

/// Features, as they are typed.
struct List(Features);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.names(DeviceId::INVALID);
        let names: Vec<_> = names
            .map(|name| name.to_string().to_ascii_lowercase())
            .collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(on: On, format: Option<Format>, words: &[&str]) -> Result<Features, String> {
        let changes: Vec<_> = words.iter().map(|word| change(word).unwrap()).collect();
        offer(on.into(), format, &changes).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_format_and_a_list_change_what_is_usual_in_their_order() {
        let usual = Offer::default().features() & NAMED;
        let least = F::EVENT_IDX;

        for (format, words, expected) in [
            (None, &[][..], usual),
            (Some(Format::Split), &[], usual),
            (Some(Format::Packed), &[], usual | F::RING_PACKED),
            (None, &["ring_packed"], usual | F::RING_PACKED),
            (None, &["no-event_idx"], usual - F::EVENT_IDX),
            (None, &["none", "event_idx"], least),
            (None, &["event_idx", "none"], Features::NONE),
            (Some(Format::Packed), &["none"], F::RING_PACKED),
            (None, &["no-event_idx", "event_idx"], usual),
        ] {
            let offer = offered(On::Here, format, words);

            assert_eq!(offer, Ok(expected), "{format:?} {words:?}");
        }
    }

    #[test]
    fn a_driver_takes_what_is_offered_but_for_what_is_asked_of_it() {
        let none = Features::NONE;
        for (format, words, expected) in [
            (None, &[][..], (none, none)),
            (Some(Format::Split), &[], (none, F::RING_PACKED)),
            (
                Some(Format::Packed),
                &["no-in_order"],
                (F::RING_PACKED, F::IN_ORDER),
            ),
            (
                Some(Format::InOrder),
                &[],
                (F::RING_PACKED | F::IN_ORDER, none),
            ),
            (
                None,
                &["none", "in_order"],
                (F::IN_ORDER, NAMED - F::IN_ORDER),
            ),
        ] {
            let changes: Vec<_> = words.iter().map(|word| change(word).unwrap()).collect();
            let taken = take(format, &changes).map_err(|refusal| refusal.to_string());

            assert_eq!(taken, Ok(expected), "{format:?} {words:?}");
        }
        let changes = [Change::Without(F::RING_PACKED)];
        let contradicted = take(Some(Format::Packed), &changes).unwrap_err();
        assert!(contradicted.to_string().contains("about ring_packed"));
    }

    #[test]
    fn what_a_place_cannot_offer_is_usual_nowhere_there() {
        let here = offered(On::Here, None, &[]).unwrap();
        let qemu = offered(On::Qemu, None, &[]).unwrap();

        assert_eq!(here & QEMU, qemu);
    }

    #[test]
    fn what_contradicts_itself_or_cannot_be_offered_is_refused_in_a_line_that_says_what_can() {
        for (format, word, says) in [
            (Some(Format::Packed), "no-ring_packed", "leave one"),
            (Some(Format::Split), "ring_packed", "--ring split"),
            (Some(Format::InOrder), "no-in_order", "about in_order"),
            (None, "order_platform", "or use --on here"),
            (None, "order_platform", "indirect_desc, event_idx"),
        ] {
            let line = offered(On::Qemu, format, &[word]).unwrap_err();

            assert!(line.contains(says) && !line.contains('\n'), "{line}");
        }
    }

    #[test]
    fn rings_that_were_not_asked_for_are_found() {
        let agreed = ["FLUSH", "EVENT_IDX", "VERSION_1"].map(str::to_owned);

        assert_eq!(agrees(&agreed, F::EVENT_IDX), Ok(()));
        for offer in [Features::NONE, F::EVENT_IDX | F::RING_PACKED] {
            let why = agrees(&agreed, offer).unwrap_err();
            assert!(why.ends_with("agreed to [event_idx]"), "{why}");
        }
    }

    #[test]
    fn a_word_that_is_none_of_the_list_is_told_what_is() {
        for word in ["", "no-", "no-none", "packed", "EVENT_IDX", "-event_idx"] {
            let why = change(word).unwrap_err();

            assert!(why.contains("event_idx, access_platform"), "{why}");
        }
    }
}
