use std::vec;

use ringway_spec::F as RING;

use super::*;
use crate::bringup::Acknowledged;
use crate::dialect::{Dialect, LegacyRings, RingSize};
use crate::platform::Trust;
use crate::scripted::Scripted;

/// §5.1.9.8: what stands before a packet, and the parts of a command, are in one buffer here, which such
/// devices do not take unless they say so.
///
/// Clauses: leg:net/legacy-interface-framing-requireme:1,
/// leg:net/legacy-interface-framing-requireme:2,
/// leg:net/legacy-interface-framing-requireme:3
#[test]
fn a_legacy_card_that_wants_its_headers_apart_is_refused() {
    let open = |offered| {
        let device = Scripted::new(Trust::Trusted, ID, Features::NONE, vec![0; 8]);
        {
            let mut script = device.script();
            script.dialect = Dialect::Legacy(LegacyRings {
                align: 4096,
                size: RingSize::Fixed,
                last: (1 << 44) - 1,
            });
            script.offered = offered;
        }
        let device = Acknowledged::new(device)?.driver()?;
        Card::open(device, &Wanted::default()).map(|card| card.facts().header_len)
    };

    let apart = open(F::MAC | F::CTRL_VQ);
    let together = open(F::MAC | F::CTRL_VQ | RING::ANY_LAYOUT);

    assert_eq!(apart, Err(Error::FeaturesMissing(RING::ANY_LAYOUT)));
    assert_eq!(together, Ok(10));
}
