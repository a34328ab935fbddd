//! A device's own state, on its way to another back-end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringway_device::blk::{Blk, RamDisk};
use ringway_device::entropy::Entropy;
use ringway_device::{STATE_MAX, StateError};
use ringway_spec::Features;
use ringway_spec::blk::{Config, F, WRITEBACK, WRITETHROUGH};
use ringway_vhost::backend::{Event, Refusal};
use ringway_vhost::protocol::{
    ConfigFlags, ConfigSpace, DeviceStateTransfer, ProtocolFeatures, Reply, Request,
    StateDirection, StatePhase,
};
use rustix::pipe::pipe;

use crate::front::{Front, PROTOCOL};
use crate::served::{Served, Sevens, entropy};

const MOVES: ProtocolFeatures = PROTOCOL.union(ProtocolFeatures::DEVICE_STATE);
/// In the answer: no descriptor comes with it.
const NO_DESCRIPTOR: u64 = 1 << 8;

fn disk() -> (Served, Front) {
    let served = Served::new(Blk::new(Arc::new(RamDisk::new(8)), 1));
    let features = F::FLUSH | F::CONFIG_WCE;
    let front = Front::ready(served.connect(), MOVES, features);
    (served, front)
}

fn cache(bytes: Vec<u8>) -> ConfigSpace {
    ConfigSpace {
        offset: Config::WRITEBACK.field().offset() as u32,
        flags: ConfigFlags::empty(),
        bytes,
    }
}

fn mode(front: &Front) -> u8 {
    match front.ask(Request::GetConfig(cache(vec![0]))) {
        Reply::Config(space) => space.bytes[0],
        other => panic!("{other:?} is no configuration"),
    }
}

fn begin(front: &Front, direction: StateDirection, via: OwnedFd) -> u64 {
    let transfer = DeviceStateTransfer {
        direction,
        phase: StatePhase::Stopped,
    };
    front.value(Request::SetDeviceStateFd(transfer, via))
}

fn save(front: &Front) -> Vec<u8> {
    let (from, to) = pipe().unwrap();
    assert_eq!(begin(front, StateDirection::Save, to), NO_DESCRIPTOR);
    let mut state = Vec::new();
    File::from(from).read_to_end(&mut state).unwrap();
    front.tell(Request::CheckDeviceState);
    state
}

/// What the back-end says in the end.
fn load(front: &Front, state: &[u8]) -> u64 {
    let (from, to) = pipe().unwrap();
    assert_eq!(begin(front, StateDirection::Load, from), NO_DESCRIPTOR);
    File::from(to).write_all(state).unwrap();
    front.value(Request::CheckDeviceState)
}

/// QEMU says so when a machine stands still, and its driver believes that each write is stable.
#[test]
fn a_cache_that_the_driver_has_turned_off_is_off_after_a_status_of_0_if_the_features_are_the_same()
{
    let (served, front) = disk();
    let same = F::FLUSH | F::CONFIG_WCE;
    let chosen = |front: &Front| {
        front.tell(Request::SetConfig(cache(vec![WRITETHROUGH])));
        assert_eq!(mode(front), WRITETHROUGH);
    };

    chosen(&front);
    front.tell(Request::SetStatus(0));
    front.tell(Request::SetStatus(0));
    front.accept(same, 0);
    let after_standing_still = mode(&front);
    front.tell(Request::SetStatus(0));
    front.accept(same | ringway_spec::F::EVENT_IDX, 0);
    let with_other_features = mode(&front);
    chosen(&front);
    front.tell(Request::ResetDevice);
    front.accept(same, 0);
    let after_a_reset = mode(&front);
    chosen(&front);
    drop(front);
    let front = Front::ready(served.connect(), MOVES, same);

    assert_eq!(after_standing_still, WRITETHROUGH);
    assert_eq!(with_other_features, WRITEBACK);
    assert_eq!(after_a_reset, WRITEBACK);
    assert_eq!(mode(&front), WRITEBACK, "another front-end");
}

#[test]
fn a_device_without_a_configuration_offers_none() {
    let offered = |served: &Served| {
        let front = Front::new(served.connect());
        let offered = front.value(Request::GetProtocolFeatures);
        ProtocolFeatures::from_bits_retain(offered).contains(ProtocolFeatures::CONFIG)
    };

    let entropy = offered(&Served::new(Entropy::new(Sevens)));
    let disk = offered(&Served::new(Blk::new(Arc::new(RamDisk::new(8)), 1)));

    assert_eq!((entropy, disk), (false, true));
}

#[test]
fn a_disk_goes_on_elsewhere_with_the_cache_that_its_driver_chose() {
    for chosen in [WRITETHROUGH, WRITEBACK] {
        let ((_old, from), (_new, to)) = (disk(), disk());
        from.tell(Request::SetConfig(cache(vec![chosen])));

        let state = save(&from);
        let loaded = load(&to, &state);

        assert!(state.len() <= STATE_MAX);
        assert_eq!((loaded, mode(&to)), (0, chosen));
    }
}

/// Devices' defect 10: saved state is believed.
#[test]
fn state_that_cannot_be_is_refused_and_the_device_stays_as_it_was() {
    let (served, front) = disk();
    let state = save(&front);
    let too_long = [&state[..], &vec![0; STATE_MAX]].concat();
    for (state, why) in [
        (&[][..], Refusal::State(StateError::Unknown)),
        (b"another", Refusal::State(StateError::Unknown)),
        (&state[..4], Refusal::State(StateError::Length(4))),
        (&too_long, Refusal::StateTooLarge),
    ] {
        let loaded = load(&front, state);
        let refused = served
            .events
            .wait(|event| matches!(event, Event::Refused { .. }));

        assert!(matches!(refused, Event::Refused { refusal, .. } if refusal == why));
        assert_eq!((loaded, mode(&front)), (1, WRITEBACK));
    }
}

#[test]
fn a_front_end_that_does_not_do_its_part_of_a_transfer_is_waited_for_no_longer_than_a_moment() {
    let (_served, front) = disk();
    let (from, to) = pipe().unwrap();
    let (closed, nobody_reads) = pipe().unwrap();
    drop(closed);

    let nothing_began = front.value(Request::CheckDeviceState);
    begin(&front, StateDirection::Load, from);
    let never_ends = front.value(Request::CheckDeviceState);
    drop(to);
    begin(&front, StateDirection::Save, nobody_reads);
    let not_taken = front.value(Request::CheckDeviceState);

    assert_eq!([nothing_began, never_ends, not_taken], [1; 3]);
    assert_eq!(save(&front).len(), 5);
}

#[test]
fn a_device_without_state_offers_to_move_none() {
    let served = entropy();
    let front = Front::ready(served.connect(), PROTOCOL, Features::NONE);

    let offered = front.value(Request::GetProtocolFeatures);

    let offered = ProtocolFeatures::from_bits_retain(offered);
    assert!(!offered.contains(ProtocolFeatures::DEVICE_STATE));
}
