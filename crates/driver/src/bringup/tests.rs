use super::*;
use crate::bus::{Driver, attach};
use crate::dma::Data;
use crate::entropy::Rng;
use crate::platform::Trust;
use crate::scripted::Scripted;
use crate::transport::QueueSetup;
use ringway_spec::F;
use ringway_spec::config::Field;
use ringway_spec::entropy::REQUEST_QUEUE;
use ringway_spec::le::U32;
use std::vec;
use std::vec::Vec;

type Entropy = Rng<Scripted, Vec<u8>>;

fn device(offered: Features) -> Scripted {
    Scripted::new(Trust::Revoked, DeviceId::ENTROPY, offered, vec![0; 16])
}

fn statuses(device: &Scripted) -> Vec<u8> {
    device
        .script()
        .statuses_written
        .iter()
        .map(Status::bits)
        .collect()
}

/// Drivers' defect 9: §2.1.1, §3.1.1: 1, then 1 | 2, then 1 | 2 | 8: not 1, 2, 8.
///
/// Clauses: drv:basic/device-status-field:1, drv:general-initialization-and-op/init:1,
/// drv:basic/device-status-field:2
#[test]
fn status_bits_are_added_in_order_and_none_is_ever_cleared() {
    let device = device(Features::NONE);

    let rng: Entropy = attach(device.clone()).unwrap();

    assert_eq!(statuses(&device), [0, 1, 1 | 2, 1 | 2 | 8, 1 | 2 | 8 | 4]);
    drop(rng);
    assert_eq!(statuses(&device).last(), Some(&0));
}

/// Drivers' defect 9: §3.1.1 step 6.
///
/// Clauses: drv:general-initialization-and-op/init:1, drv:general-initialization-and-op/init:5
#[test]
fn features_ok_is_read_back_and_its_refusal_believed() {
    let device = device(Features::NONE);
    device.script().likes_features = false;

    let refused = attach::<Entropy, _>(device.clone()).err();

    assert_eq!(refused, Some(Violation::FeaturesRejected.into()));
    assert_eq!(
        statuses(&device).last(),
        Some(&(1 | 2 | 128)),
        "FAILED is set, and stays"
    );
    assert!(device.script().queues.is_empty());
}

#[test]
fn features_that_are_for_no_device_type_to_define_are_not_to_be_wanted() {
    let own = Features::bit(23) | Features::bit(127);
    let [reserved, other] = [25, 44].map(Features::bit);
    for wanted in [
        own,
        own | F::RING_PACKED,
        own | reserved,
        reserved | F::SR_IOV,
    ] {
        let acknowledged = Acknowledged::new(device(Features(u128::MAX))).unwrap();
        let probed = acknowledged.driver().unwrap();

        let negotiated = probed.negotiate(&Wanted {
            optional: wanted,
            ..Wanted::default()
        });

        let foreign = wanted & (reserved | other);
        let expected = (!foreign.is_empty()).then_some(Error::FeaturesReserved(foreign));
        assert_eq!(negotiated.err(), expected, "{wanted:?}");
    }
}

/// Drivers' defect 9: §2.4.2.
#[test]
fn a_reset_is_awaited() {
    let device = device(Features::NONE);
    device.script().status = Status::DRIVER_OK;
    device.script().reset_takes = Some(100);

    let rng = attach::<Entropy, _>(device.clone());

    assert!(rng.is_ok());
}

/// Clauses: drv:pci/pci-device-layout/common-cfg-structure-layout:5
#[test]
fn a_device_that_never_confirms_its_first_reset_is_not_driven() {
    let device = device(Features::NONE);
    device.script().status = Status::DRIVER_OK;
    device.script().reset_takes = None;

    let rng = attach::<Entropy, _>(device.clone());

    assert_eq!(rng.err(), Some(Violation::ResetNotConfirmed.into()));
    assert_eq!(statuses(&device), [0]);
}

/// Drivers' defect 9: §6.1: a device without `VERSION_1` is another one's to drive.
///
/// Clauses: leg:basic/feature-bits/legacy-interface-a-note-on-feature:1,
/// drv:reserved-feature-bits:1
#[test]
fn version_1_is_accepted_and_demanded() {
    let modern = device(Features::NONE);
    let legacy = device(Features::NONE);
    legacy.script().offered = F::INDIRECT_DESC;

    let _rng: Entropy = attach(modern.clone()).unwrap();
    let refused = attach::<Entropy, _>(legacy).err();

    assert!(modern.script().accepted.contains(F::VERSION_1));
    assert_eq!(refused, Some(Error::FeaturesMissing(F::VERSION_1)));
}

/// Drivers' defect 12: House rule 5.
///
/// Clauses: drv:basic/feature-bits:3, drv:basic/feature-bits:5
#[test]
fn ring_and_transport_features_that_are_not_implemented_are_not_accepted() {
    let device = device(Features(u128::MAX));

    let _rng: Entropy = attach(device.clone()).unwrap();

    let rings = F::INDIRECT_DESC | F::EVENT_IDX | F::RING_PACKED | F::IN_ORDER;
    let platform = F::ACCESS_PLATFORM | F::ORDER_PLATFORM;
    let transport = F::NOTIFICATION_DATA | F::RING_RESET | F::SUSPEND;
    let implemented = F::VERSION_1 | rings | platform | transport;
    assert_eq!(device.script().accepted, implemented);
}

/// Clauses: drv:basic/feature-bits:1, drv:basic/feature-bits:2
#[test]
fn a_feature_offered_without_what_it_needs_is_left_alone_or_refused_if_it_is_required() {
    let [tso4, csum] = [Features::bit(11), Features::bit(0)];
    let negotiate = |required, optional| {
        let device = Scripted::new(Trust::Revoked, DeviceId::NETWORK, tso4, vec![0; 16]);
        let probed = Acknowledged::new(device).unwrap().driver().unwrap();
        let negotiated = probed.negotiate(&Wanted {
            required,
            optional,
            ..Wanted::default()
        });
        negotiated.map(|device| device.features())
    };

    assert_eq!(negotiate(Features::NONE, tso4), Ok(F::VERSION_1));
    let broken = Error::FeatureDependency {
        feature: tso4,
        needs: csum,
    };
    assert_eq!(negotiate(tso4, Features::NONE), Err(broken));
}

/// Drivers' defect 11: §2.5.1: read again when the generation changed, but not for ever.
///
/// Clauses: drv:basic/device-cfg-space:1
#[test]
fn configuration_that_never_settles_is_an_error_and_no_hang() {
    let read = |changes| {
        let device = device(Features::NONE);
        let probed = Acknowledged::new(device.clone()).unwrap().driver().unwrap();
        let mut negotiated = probed.negotiate(&Wanted::default()).unwrap();
        device.script().generation_changes = changes;
        device.script().config[4] = 7;
        negotiated.config().read(Field::<U32>::at(4)).map(U32::get)
    };

    assert_eq!(read(0), Ok(7));
    assert_eq!(read(3), Ok(7));
    assert_eq!(read(u32::MAX), Err(Violation::ConfigUnstable.into()));
}

#[test]
fn a_queue_that_refuses_to_be_enabled_or_was_enabled_before_is_a_violation() {
    let refusing = device(Features::NONE);
    refusing.script().enables_queues = false;
    let refused = attach::<Entropy, _>(refusing).err();
    let early = device(Features::NONE);
    let probed = Acknowledged::new(early.clone()).unwrap().driver().unwrap();
    let setup = QueueSetup {
        size: 1,
        areas: ringway_ring::driver::Areas::default(),
    };
    early.script().queues.insert(REQUEST_QUEUE, setup);
    let enabled = Entropy::probe(probed).err();

    assert_eq!(refused, Some(Violation::QueueNotEnabled(0).into()));
    assert_eq!(enabled, Some(Violation::QueueAlreadyEnabled(0).into()));
}

#[test]
fn a_driver_of_another_type_or_a_device_without_queues_is_refused() {
    let device = device(Features::NONE);
    device.script().queue_size_max = 0;
    let no_queue = attach::<Entropy, _>(device.clone()).err();
    device.script().id = DeviceId::BLOCK;
    let wrong = attach::<Entropy, _>(device).err();

    assert_eq!(no_queue, Some(Error::NoQueue(0)));
    assert_eq!(wrong, Some(Error::WrongDevice(DeviceId::BLOCK)));
}

/// Drivers' defect 18: Every case in which the device says `DEVICE_NEEDS_RESET` is an error that
/// names the way out, and the way out works.
#[test]
fn a_device_that_needs_a_reset_is_met_by_an_error_and_recovers() {
    let device = device(Features::NONE);
    device.script().has_line = false;
    let mut rng: Entropy = attach(device.clone()).unwrap();
    rng.request(vec![1; 8]).unwrap();
    device.script().status |= Status::NEEDS_RESET;

    let waited = rng.wait(Duration::from_secs(3600)).err();
    let (transport, mut queue) = rng.reset();

    assert_eq!(waited, Some(Error::NeedsReset));
    assert_eq!(queue.reclaim(), Ok(Some(Data::Writable(vec![1; 8]))));
    assert_eq!(queue.reclaim(), Ok(None));
    let mut again: Entropy = attach(transport.unwrap()).unwrap();
    again.request(vec![0; 4]).unwrap();
    again.kick().unwrap();
    device.complete(&mut device.queue(0), 9, 4);
    assert_eq!(again.poll().unwrap().unwrap().buffer, [9; 4]);
}

#[test]
fn nothing_can_be_asked_of_a_device_that_was_reset() {
    let device = device(Features::NONE);
    let mut rng: Entropy = attach(device.clone()).unwrap();
    rng.request(vec![1; 8]).unwrap();

    let (transport, mut queue) = rng.reset();

    assert!(transport.is_ok());
    let rejected = queue.submit(&(), Data::Writable(vec![2; 8])).unwrap_err();
    assert_eq!(
        (rejected.why, rejected.data.buffer()),
        (Error::Gone, Some(vec![2; 8]))
    );
    assert_eq!(queue.poll().err(), Some(Error::Gone));
}

/// The device may be faster than the driver: what it says between `DRIVER_OK` and the driver's
/// first look is not missed.
#[test]
fn a_device_that_asks_for_a_reset_as_soon_as_it_is_live_is_heard() {
    let device = device(Features::NONE);
    let probed = Acknowledged::new(device.clone()).unwrap().driver().unwrap();
    let mut negotiated = probed.negotiate(&Wanted::default()).unwrap();
    let queue = negotiated
        .queue::<Vec<u8>, (), ()>(0, &QueueOptions::default())
        .unwrap();
    device.script().needs_reset_at_once = true;

    let (mut live, _queue) = negotiated.start(queue).unwrap();

    assert_eq!(live.interrupts(), Interrupts::Line);
    assert_eq!(live.check(), Err(Error::NeedsReset));
}
