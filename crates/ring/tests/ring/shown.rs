//! A device that is shown memory bit by bit, as an IOMMU does.

use ringway_ring::device::Violation;
use ringway_ring::map::{Access, Map, Missing, Region};
use ringway_spec::{F, Features};

use crate::common::{BUFFERS, Pair, RING, segment};

/// The ring, and of the buffers what `shown` says: offset, length, and what may be done.
fn map(pair: &Pair, shown: &[(usize, usize, Access)]) -> Map {
    let ring = Region {
        start: RING,
        memory: pair.ring.clone(),
    };
    let buffers = shown.iter().map(|&(offset, len, access)| {
        let region = Region {
            start: BUFFERS + offset as u64,
            memory: pair.buffers.slice(offset, len).unwrap(),
        };
        (region, access)
    });
    Map::translated(
        [(ring, Access::ReadWrite)]
            .into_iter()
            .chain(buffers)
            .collect(),
    )
    .unwrap()
}

fn pairs(table: u16) -> [Pair; 2] {
    [Pair::new(8, table), Pair::packed(8, table)]
}

#[test]
fn a_chain_that_names_what_is_not_shown_waits_in_the_ring_until_it_is() {
    for pair in pairs(0) {
        let mut driver = pair.driver(F::EVENT_IDX, 0xfffe);
        let mut device = pair.device(F::EVENT_IDX, 0xfffe);
        let (request, answer) = ([segment(0, 16)], [segment(0x2000, 16)]);
        driver.submit(&request, &answer, 'a').unwrap();
        driver.kick_needed();
        let mut shown = vec![];

        let mut missing = || {
            let map = map(&pair, &shown);
            let taken = device.batch(&map).next_chain().unwrap();
            let missing = device.missing();
            match missing {
                Some(Missing { address, access }) => {
                    shown.push(((address - BUFFERS) as usize, 0x1000, access));
                }
                None => device.batch(&map).complete(taken.unwrap(), 4),
            }
            // No kick will come for it, and looking again does not help.
            assert!(missing.is_none() || !device.arm());
            missing.map(|missing| (missing.address - BUFFERS, missing.access))
        };

        assert_eq!(missing(), Some((0, Access::Read)));
        assert_eq!(missing(), Some((0x2000, Access::Write)));
        assert_eq!(missing(), None);
        assert_eq!(driver.poll().unwrap().unwrap().owner, 'a');
    }
}

#[test]
fn an_indirect_table_that_is_not_shown_is_waited_for() {
    for pair in pairs(4) {
        let features = F::INDIRECT_DESC;
        let mut driver = pair.driver(features, 0);
        let mut device = pair.device(features, 0);
        let [one, two] = [segment(0, 16), segment(0x1000, 16)];
        driver.submit(&[one, two], &[], ()).unwrap();
        driver.kick_needed();
        // The tables are in the ring's memory: of that, no more than the ring is shown.
        let tables = pair.geometry.bytes() - 8 * 4 * 16;
        let ring = Region {
            start: RING,
            memory: pair.ring.slice(0, tables).unwrap(),
        };
        let map = Map::translated(vec![(ring, Access::ReadWrite)]).unwrap();

        let taken = device.batch(&map).next_chain().unwrap();

        assert!(taken.is_none());
        let missing = device.missing().unwrap();
        assert_eq!(missing.address, RING + tables as u64);
        assert_eq!(missing.access, Access::Read);
    }
}

#[test]
fn what_may_only_be_read_is_not_written_and_what_may_only_be_written_is_not_read() {
    for pair in pairs(0) {
        for (access, forbidden) in [(Access::Read, Access::Write), (Access::Write, Access::Read)] {
            let mut driver = pair.driver(Features::NONE, 0);
            let mut device = pair.device(Features::NONE, 0);
            let chain = [segment(0x10, 16)];
            let (readable, writable) = match forbidden {
                Access::Read => (&chain[..], &[][..]),
                _ => (&[][..], &chain[..]),
            };
            driver.submit(readable, writable, ()).unwrap();
            driver.kick_needed();
            let map = map(&pair, &[(0, 0x1000, access)]);

            let taken = device.batch(&map).next_chain();

            let address = BUFFERS + 0x10;
            let violation = Violation::Forbidden {
                address,
                access: forbidden,
            };
            assert_eq!(taken.err(), Some(violation));
            assert_eq!(device.violation(), Some(violation));
        }
    }
}

#[test]
fn a_buffer_across_two_translations_is_both_of_them_and_waits_for_each() {
    for pair in pairs(0) {
        let mut driver = pair.driver(Features::NONE, 0);
        let mut device = pair.device(Features::NONE, 0);
        driver.submit(&[segment(0xff8, 16)], &[], ()).unwrap();
        driver.kick_needed();
        pair.buffers
            .view()
            .write(0xff8, b"across the pages")
            .unwrap();
        let (first, second) = (
            (0, 0x1000, Access::Read),
            (0x1000, 0x1000, Access::ReadWrite),
        );

        let half = device.batch(&map(&pair, &[first])).next_chain().unwrap();
        let missing = device.missing();
        let whole = map(&pair, &[first, second]);
        let batch = &mut device.batch(&whole);
        let chain = batch.next_chain().unwrap().unwrap();
        let mut bytes = [0; 16];
        batch.readable(&chain).read(&mut bytes).unwrap();

        assert!(half.is_none());
        assert_eq!(missing.unwrap().address, BUFFERS + 0x1000);
        assert_eq!(&bytes, b"across the pages");
        batch.complete(chain, 0);
    }
}

/// Devices' defect 12, of memory: regions come and go while requests are in flight.
#[test]
fn a_chain_kept_while_memory_is_added_below_still_has_its_own_bytes() {
    for pair in pairs(0) {
        let mut driver = pair.driver(Features::NONE, 0);
        let mut device = pair.device(Features::NONE, 0);
        driver
            .submit(&[segment(0x3000, 4)], &[segment(0x3010, 4)], ())
            .unwrap();
        driver.kick_needed();
        pair.buffers.view().write(0x3000, b"mine").unwrap();
        let before = map(&pair, &[(0x3000, 0x1000, Access::ReadWrite)]);
        let after = map(
            &pair,
            &[
                (0, 0x1000, Access::ReadWrite),
                (0x1000, 0x1000, Access::Read),
                (0x3000, 0x1000, Access::ReadWrite),
            ],
        );

        let chain = device.batch(&before).next_chain().unwrap().unwrap();
        let mut bytes = [0; 4];
        let mut batch = device.batch(&after);
        batch.readable(&chain).read(&mut bytes).unwrap();
        batch.writable(&chain).write(b"done").unwrap();
        batch.complete(chain, 4);
        drop(batch);

        assert_eq!(&bytes, b"mine");
        assert_eq!(
            pair.buffers.view().read_value::<[u8; 4]>(0x3010),
            Ok(*b"done")
        );
        assert_eq!(driver.poll().unwrap().unwrap().written, 4);
    }
}
