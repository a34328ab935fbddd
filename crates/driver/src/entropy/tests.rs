use super::*;
use crate::bus::attach;
use crate::platform::Trust;
use crate::scripted::Scripted;
use ringway_spec::Features;
use std::vec;
use std::vec::Vec;

/// §5.4.6.1.
///
/// Clauses: drv:entropy/op:1
#[test]
fn the_queue_has_buffers_to_write_and_none_to_read() {
    for trust in [Trust::Trusted, Trust::Pool, Trust::Revoked] {
        let device = Scripted::new(trust, DeviceId::ENTROPY, Features::NONE, Vec::new());
        let mut rng: Rng<_, Vec<u8>> = attach(device.clone()).unwrap();
        for len in [1, 16, 1000] {
            rng.request(vec![0; len]).unwrap();
        }
        rng.kick().unwrap();

        let map = device.platform.device_map();
        let mut queue = device.queue(0);
        let mut batch = queue.batch(&map);
        let chains = std::iter::from_fn(|| batch.next_chain().unwrap());
        let bytes = chains.map(|chain| (chain.readable_bytes(), chain.writable_bytes()));

        assert_eq!(bytes.collect::<Vec<_>>(), [(0, 1), (0, 16), (0, 1000)]);
    }
}
