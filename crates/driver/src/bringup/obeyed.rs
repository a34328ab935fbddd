//! What a device sees of bring-up, clause by clause.

use super::*;
use crate::bus::{Driver, attach};
use crate::entropy::Rng;
use crate::platform::Trust;
use crate::scripted::Scripted;
use ringway_spec::F;
use ringway_spec::config::Field;
use ringway_spec::le::U32;
use std::vec;
use std::vec::Vec;

type Entropy = Rng<Scripted, Vec<u8>>;

/// What is agreed on, and nothing is set up yet.
const SETTLED: Status = Status::ACKNOWLEDGE
    .union(Status::DRIVER)
    .union(Status::FEATURES_OK);

fn device() -> Scripted {
    Scripted::new(
        Trust::Revoked,
        DeviceId::ENTROPY,
        Features::NONE,
        vec![0; 16],
    )
}

fn negotiated(device: &Scripted) -> Negotiated<Scripted> {
    let probed = Acknowledged::new(device.clone()).unwrap().driver().unwrap();
    probed.negotiate(&Wanted::default()).unwrap()
}

/// Clauses: drv:basic/device-status-field:3
#[test]
fn a_device_that_was_given_up_is_reset_before_it_is_driven_again() {
    let device = device();
    device.script().likes_features = false;
    let given_up = attach::<Entropy, _>(device.clone()).is_err();
    device.script().likes_features = true;

    let rng: Entropy = attach(device.clone()).unwrap();

    let statuses: Vec<Status> = device.script().statuses_written.clone();
    let failed = statuses.iter().position(|s| s.contains(Status::FAILED));
    assert!(given_up);
    assert_eq!(statuses[failed.unwrap() + 1], Status::empty());
    drop(rng);
}

/// Clauses: drv:basic/feature-bits:4, leg:basic/feature-bits/legacy-interface-a-note-on-feature:1,
/// drv:general-initialization-and-op/init:5
#[test]
fn a_device_that_lacks_what_is_needed_is_given_up_and_nothing_of_it_is_set_up() {
    let device = device();
    device.script().offered = F::INDIRECT_DESC;

    let refused = attach::<Entropy, _>(device.clone()).err();

    let script = device.script();
    let given_up = Status::ACKNOWLEDGE | Status::DRIVER | Status::FAILED;
    assert_eq!(refused, Some(Error::FeaturesMissing(F::VERSION_1)));
    assert_eq!(script.statuses_written.last(), Some(&given_up));
    assert!(script.accepted_at.is_empty() && script.queues.is_empty());
}

/// Clauses: drv:general-initialization-and-op/init:3
#[test]
fn features_are_written_once_and_before_they_are_settled() {
    let device = device();

    let rng: Entropy = attach(device.clone()).unwrap();

    let before = Status::ACKNOWLEDGE | Status::DRIVER;
    assert_eq!(device.script().accepted_at, [before]);
    drop(rng);
}

/// Clauses: drv:general-initialization-and-op/init:2
#[test]
fn configuration_is_written_by_nobody_before_features_are_settled() {
    let device = device();

    negotiated(&device)
        .config()
        .write(Field::<U32>::at(4), &U32::new(7))
        .unwrap();

    let script = device.script();
    assert_eq!(script.config_written_at, [SETTLED]);
    assert_eq!(script.config[4], 7);
}

/// Clauses: drv:general-initialization-and-op/init:6
#[test]
fn no_doorbell_is_rung_before_the_device_is_live() {
    let device = device();

    let mut rng: Entropy = attach(device.clone()).unwrap();

    assert_eq!(device.kicks(), 0);
    rng.request(vec![0; 8]).unwrap();
    rng.kick().unwrap();
    assert_eq!(device.kicks(), 1);
}

/// §2.5.1: what was read while it changed is not what is returned.
///
/// Clauses: drv:basic/device-cfg-space:1
#[test]
fn a_field_that_changes_while_it_is_read_is_read_again() {
    let device = device();
    let mut negotiated = negotiated(&device);
    {
        let mut script = device.script();
        // A change with each of the next two readings, and each is told of.
        script.config_changes = 2;
        script.generation_changes = 2;
    }

    let read = negotiated.config().read(Field::<U32>::at(4));

    assert_eq!(read, Ok(U32::new(0)));
}

/// Clauses: drv:basic/device-cfg-space:2
#[test]
fn a_field_whose_feature_is_not_there_is_not_read() {
    let device = device();
    device.script().config.clear();
    let feature = Features::bit(3);

    let mut negotiated = negotiated(&device);
    let gated = Field::<U32>::at(4).when(feature);
    let optional = negotiated.config().read_gated(gated);
    let plain = negotiated.config().read(Field::<U32>::at(4));

    assert_eq!(optional, Ok(None));
    assert!(plain.is_err(), "the device has no such bytes");
}

/// §2.5.1: later versions of the specification add fields at the end.
///
/// Clauses: drv:basic/device-cfg-space:3
#[test]
fn a_configuration_space_of_any_size_will_do() {
    for len in [8, 16, 4096, 1 << 20] {
        let device = device();
        device.script().config = vec![0x11; len];

        let read = negotiated(&device).config().read(Field::<U32>::at(4));

        assert_eq!(read, Ok(U32::new(0x1111_1111)), "{len} bytes");
        assert!(attach::<Entropy, _>(device).is_ok());
    }
}

/// §6.1: where device addresses are not physical ones, a device that takes them for such is not
/// driven.
///
/// Clauses: drv:reserved-feature-bits:4
#[test]
fn a_device_that_takes_addresses_for_physical_ones_is_given_no_others() {
    let refusing = device();
    refusing.platform.require(F::ACCESS_PLATFORM);
    let agreeing = device();
    agreeing.platform.require(F::ACCESS_PLATFORM);
    agreeing.script().offered |= F::ACCESS_PLATFORM;

    let refused = attach::<Entropy, _>(refusing.clone()).err();
    let rng: Entropy = attach(agreeing.clone()).unwrap();

    assert_eq!(refused, Some(Error::FeaturesMissing(F::ACCESS_PLATFORM)));
    assert!(refusing.script().queues.is_empty());
    assert!(agreeing.script().accepted.contains(F::ACCESS_PLATFORM));
    drop(rng);
}

/// §6.1: behind an IOMMU, the device reaches what the platform has mapped for it, where that says.
///
/// Clauses: drv:reserved-feature-bits:3
#[test]
fn a_buffer_is_mapped_for_the_device_while_it_has_it() {
    let device = device();
    device.platform.require(F::ACCESS_PLATFORM);
    device.script().offered |= F::ACCESS_PLATFORM;
    let mut rng: Entropy = attach(device.clone()).unwrap();

    rng.request(vec![0; 8]).unwrap();
    rng.kick().unwrap();
    let mapped = device.platform.mapped();
    // Finds nothing but what is mapped.
    device.complete(&mut device.queue(0), 7, 8);
    let done = rng.poll().unwrap().unwrap();

    assert_eq!((mapped, device.platform.mapped()), (1, 0));
    assert_eq!(done.buffer, [7; 8]);
}

/// §3.4.1: neither by its driver nor by who has lent it.
///
/// Clauses: drv:general-initialization-and-op/device-suspend:5
#[test]
fn nobody_writes_the_configuration_of_a_suspended_device() {
    let device = device();
    device.script().offered |= F::SUSPEND;
    let field = Field::<U32>::at(4);
    let mut lender = Lender::new(device.clone());
    let mut rng = Entropy::probe(lender.lend().unwrap().driver().unwrap()).unwrap();

    lender.suspend().unwrap();
    let refused = [
        rng.device().config().write(field, &U32::new(7)),
        lender.config().unwrap().write(field, &U32::new(8)),
    ];
    let untouched = device.script().config_written_at.is_empty();
    lender.resume().unwrap();
    let written = rng.device().config().write(field, &U32::new(9));

    assert_eq!(refused, [Err(Error::Suspended); 2]);
    assert_eq!((untouched, written), (true, Ok(())));
    assert_eq!(device.script().config[4], 9);
}
