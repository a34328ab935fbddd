//! What a card is told by whoever presents it, beside its driver.

use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::net::{Header, MTU_MIN, Mac};

use super::Net;
use super::packet::Packet;

/// A network card, to a carrier that knows more of the driver's machine than the driver says.
pub trait Network {
    /// Tells the network that `mac` is reached through the card now: the driver's machine came from
    /// elsewhere, and does not say so itself.
    fn announce(&mut self, mac: Mac);

    /// The driver was told to send no packet longer than `mtu` bytes after its Ethernet header. Says
    /// whether that can be: no more than the card is made for. Holds until the next reset.
    fn limit(&mut self, mtu: u16) -> bool;
}

impl Network for Net {
    fn announce(&mut self, mac: Mac) {
        let packet = Packet::new(Header::default(), &rarp(mac));
        self.port.send(&mut vec![packet]);
    }

    fn limit(&mut self, mtu: u16) -> bool {
        let most = self.options.mtu.unwrap_or(u16::MAX);
        let can = (MTU_MIN..=most).contains(&mtu);
        if can {
            self.limit = Some(mtu);
        }
        can
    }
}

/// A question to everybody which address of IP `mac` has (RFC 903), whose answer nobody waits for: all
/// switches learn from it.
fn rarp(mac: Mac) -> Vec<u8> {
    /// Bytes of the shortest packet on a wire, without its checksum.
    const SHORTEST: usize = 60;
    // Ethernet, addresses of 6 bytes; IP, of 4; a question.
    const KINDS: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 3];
    let mut bytes = Vec::with_capacity(SHORTEST);
    bytes.extend([0xff; 6]);
    bytes.extend(mac);
    bytes.extend([0x80, 0x35]);
    bytes.extend(KINDS);
    for _ in ["sender", "target"] {
        bytes.extend(mac);
        bytes.extend([0; 4]);
    }
    bytes.resize(SHORTEST, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use ringway_spec::Features;
    use spin::Mutex;

    use super::*;
    use crate::model::Device;
    use crate::net::{Inlet, Options, Port};

    #[derive(Default)]
    struct Seen(Mutex<Vec<Packet>>);

    impl Port for Seen {
        fn connect(&self, _card: Inlet) {}

        fn send(&self, packets: &mut Vec<Packet>) {
            self.0.lock().append(packets);
        }
    }

    fn card(mtu: Option<u16>) -> (Net, Arc<Seen>) {
        let port = Arc::<Seen>::default();
        let options = Options {
            mac: [2, 0, 0, 0, 0, 1],
            mtu,
            pairs: 1,
            without: Features::NONE,
        };
        (Net::new(port.clone(), options), port)
    }

    #[test]
    fn an_announcement_is_a_packet_from_that_address_to_everybody() {
        let (mut net, port) = card(None);
        let mac = [2, 0, 0, 0, 0, 9];

        net.announce(mac);

        let sent = port.0.lock();
        let bytes = &sent[0].bytes;
        assert_eq!((sent.len(), bytes.len()), (1, 60));
        assert_eq!((&bytes[..6], &bytes[6..12]), (&[0xff; 6][..], &mac[..]));
        assert_eq!(
            (&bytes[12..14], &bytes[22..28]),
            (&[0x80, 0x35][..], &mac[..])
        );
    }

    #[test]
    fn a_limit_is_no_more_than_the_card_is_made_for_and_ends_with_a_reset() {
        let (mut made_for, _) = card(Some(9000));
        let (mut for_all, _) = card(None);
        let limits = [67, 68, 9000, 9001, u16::MAX];

        let of_one = limits.map(|mtu| made_for.limit(mtu));
        let of_other = limits.map(|mtu| for_all.limit(mtu));
        let before = made_for.limit;
        made_for.reset();

        assert_eq!(of_one, [false, true, true, false, false]);
        assert_eq!(of_other, [false, true, true, true, true]);
        assert_eq!((before, made_for.limit), (Some(9000), None));
    }
}
