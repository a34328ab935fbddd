use proptest::prelude::*;

use super::*;

fn round_trip(request: Request<u32>) {
    let code = request.code();
    let again = format!("{request:?}");

    let decoded = Request::decode(code.number(), request.encode()).unwrap();

    assert_eq!(format!("{decoded:?}"), again);
}

const REGION: Region = Region {
    guest_address: 0x4000_0000,
    size: 0x20_0000,
    user_address: 0x7f00_0000_0000,
    file_offset: 0x1000,
};

const STATE: RingState = RingState { index: 7, num: 256 };

#[test]
fn every_request_survives_the_round_trip() {
    let space = ConfigSpace {
        offset: 8,
        flags: ConfigFlags::MIGRATION,
        bytes: vec![1, 2, 3],
    };
    let inflight = Inflight {
        size: 0x3000,
        file_offset: 0x1000,
        queues: 3,
        queue_size: 128,
    };
    let iotlb = Iotlb {
        address: 0x1000,
        size: 0x2000,
        user_address: 0x3000,
        permissions: Permissions::WRITE,
        kind: IotlbKind::Update,
    };
    let transfer = DeviceStateTransfer {
        direction: StateDirection::Load,
        phase: StatePhase::Stopped,
    };
    let addresses = RingAddresses {
        index: 1,
        flags: RingFlags::LOG.bits(),
        descriptor: 2,
        used: 3,
        available: 4,
        log: 5,
    };
    let area = LogArea {
        size: 4096,
        file_offset: 8192,
    };
    let requests = [
        Request::GetFeatures,
        Request::SetFeatures(u64::MAX),
        Request::SetOwner,
        Request::ResetOwner,
        Request::SetMemTable(vec![]),
        Request::SetMemTable((0..8).map(|fd| (REGION, fd)).collect()),
        Request::SetLogBase(area, 3),
        Request::SetLogFd(4),
        Request::SetVringNum(STATE),
        Request::SetVringAddr(addresses),
        Request::SetVringBase(STATE),
        Request::GetVringBase(STATE),
        Request::SetVringKick(255, Some(5)),
        Request::SetVringCall(0, None),
        Request::SetVringErr(3, Some(6)),
        Request::GetProtocolFeatures,
        Request::SetProtocolFeatures(0xffff),
        Request::GetQueueNum,
        Request::SetVringEnable(STATE),
        Request::SendRarp(1),
        Request::NetSetMtu(1500),
        Request::SetBackendReqFd(7),
        Request::IotlbMsg(iotlb),
        Request::SetVringEndian(STATE),
        Request::GetConfig(space.clone()),
        Request::SetConfig(space),
        Request::GetInflightFd(inflight),
        Request::SetInflightFd(inflight, 8),
        Request::ResetDevice,
        Request::VringKick(STATE),
        Request::GetMaxMemSlots,
        Request::AddMemReg(REGION, 9),
        Request::RemMemReg(REGION),
        Request::SetStatus(15),
        Request::GetStatus,
        Request::SetDeviceStateFd(transfer, 10),
        Request::CheckDeviceState,
    ];
    let known = Code::ALL
        .iter()
        .filter(|code| requests.iter().any(|request| request.code() == **code));
    assert_eq!(known.count() + UNSUPPORTED.len(), Code::ALL.len());

    requests.into_iter().for_each(round_trip);
}

const UNSUPPORTED: &[Code] = &[
    Code::CreateCryptoSession,
    Code::CloseCryptoSession,
    Code::PostcopyAdvise,
    Code::PostcopyListen,
    Code::PostcopyEnd,
    Code::GpuSetSocket,
    Code::GetSharedObject,
];

#[test]
fn a_request_that_nothing_here_can_do_is_told_from_one_that_does_not_exist() {
    for code in UNSUPPORTED {
        let body = Body {
            payload: vec![0; 20],
            descriptors: vec![1, 2],
        };
        let decoded = Request::decode(code.number(), body);
        assert_eq!(decoded, Ok(Request::Unsupported(*code)));
    }
    for number in [0, 44, u32::MAX] {
        let body: Body<u32> = Body::bytes(&[0_u8; 0]);
        let decoded = Request::decode(number, body);
        assert_eq!(decoded, Err(Malformed::Unknown(number)));
    }
}

/// Devices' defect 6: descriptors leaked, too many or too few.
#[test]
fn too_few_and_too_many_descriptors_are_refused_and_dropped() {
    use std::rc::Rc;

    let open = Rc::new(());
    for code in Code::ALL.iter().filter(|code| !UNSUPPORTED.contains(code)) {
        for count in 0..=DESCRIPTORS_MAX {
            // Enough for whatever it is, and 0 regions.
            for size in [0, 8, 12, 16, 24, 32, 40] {
                let body = Body {
                    payload: vec![0; size],
                    descriptors: vec![open.clone(); count],
                };
                let _ = Request::decode(code.number(), body).map(|decoded| {
                    let kept = Rc::strong_count(&open) - 1;
                    assert!(kept <= 1, "{decoded:?} keeps {kept} of {count}");
                });
                assert_eq!(Rc::strong_count(&open), 1, "{code:?} leaks");
            }
        }
    }
}

/// Decodes a table that says that it has `count` regions.
fn table(count: u32, regions: usize, descriptors: usize) -> Result<Request<u32>, Malformed> {
    let mut payload = count.to_ne_bytes().to_vec();
    payload.extend([0; 4]);
    payload.extend(vec![0; regions * size_of::<Region>()]);
    let body = Body {
        payload,
        descriptors: vec![0_u32; descriptors],
    };
    Request::decode(Code::SetMemTable.number(), body)
}

#[test]
fn a_table_of_regions_has_a_descriptor_for_each() {
    assert!(table(2, 2, 2).is_ok());
    assert!(matches!(
        table(2, 2, 1),
        Err(Malformed::Descriptors {
            wanted: 2,
            came: 1,
            ..
        })
    ));
    assert!(matches!(table(2, 2, 3), Err(Malformed::Descriptors { .. })));
    assert!(matches!(table(2, 1, 2), Err(Malformed::Size { .. })));
    assert!(matches!(table(9, 9, 8), Err(Malformed::Field { .. })));
    assert!(matches!(
        table(u32::MAX, 1, 1),
        Err(Malformed::Field { .. })
    ));
}

/// Linux, in user mode, always sends two.
#[test]
fn a_table_may_have_room_for_more_regions_than_it_has() {
    let Ok(Request::SetMemTable(regions)) = table(1, 2, 1) else {
        panic!("refused");
    };

    assert_eq!(regions, [(Region::default(), 0)]);
    assert!(matches!(table(1, 9, 1), Err(Malformed::Size { .. })));
    assert!(matches!(table(1, 2, 2), Err(Malformed::Descriptors { .. })));
}

#[test]
fn the_number_of_a_ring_says_whether_a_descriptor_comes_with_it() {
    let decode = |number: u64, descriptors: Vec<u32>| {
        let mut body = Body::bytes(&number);
        body.descriptors = descriptors;
        Request::decode(Code::SetVringCall.number(), body)
    };

    assert_eq!(decode(3, vec![9]), Ok(Request::SetVringCall(3, Some(9))));
    assert_eq!(decode(0x103, vec![]), Ok(Request::SetVringCall(3, None)));
    assert!(decode(0x103, vec![9]).is_err());
    assert!(decode(3, vec![]).is_err());
    assert!(decode(0x203, vec![9]).is_err());
}

#[test]
fn a_region_that_goes_may_come_with_a_descriptor_that_is_closed() {
    let body = |descriptors| {
        Request::<u32>::AddMemReg(REGION, 1)
            .encode()
            .with(descriptors)
    };

    let mut one = body(vec![]);
    one.descriptors.truncate(1);
    let decoded = Request::decode(Code::RemMemReg.number(), one);
    let two = Request::decode(Code::RemMemReg.number(), body(vec![2]));

    assert_eq!(decoded, Ok(Request::RemMemReg(REGION)));
    assert!(two.is_err());
}

#[test]
fn a_header_of_another_version_or_with_too_large_a_payload_is_refused() {
    let header = Header {
        request: 5,
        flags: Flags::NEED_REPLY,
        size: 64,
    };
    let mut version_2 = header.to_bytes();
    version_2[4..8].copy_from_slice(&2_u32.to_ne_bytes());
    let too_large = Header {
        size: PAYLOAD_MAX as u32 + 1,
        ..header
    };

    assert_eq!(Header::from_bytes(header.to_bytes()), Ok(header));
    assert_eq!(Header::from_bytes(version_2), Err(Malformed::Version(2)));
    assert_eq!(
        Header::from_bytes(too_large.to_bytes()),
        Err(Malformed::TooLarge(too_large.size))
    );
}

#[test]
fn every_reply_survives_the_round_trip() {
    let inflight = Inflight {
        size: 1,
        file_offset: 2,
        queues: 3,
        queue_size: 4,
    };
    let space = ConfigSpace {
        offset: 1,
        flags: ConfigFlags::empty(),
        bytes: vec![5],
    };
    for (code, reply, again) in [
        (Code::GetFeatures, Reply::Value(5), Reply::Value(5)),
        (Code::SetMemTable, Reply::Value(0), Reply::Value(0)),
        (Code::GetVringBase, Reply::Ring(STATE), Reply::Ring(STATE)),
        (
            Code::GetConfig,
            Reply::Config(space.clone()),
            Reply::Config(space),
        ),
        (Code::GetConfig, Reply::NoConfig, Reply::NoConfig),
        (
            Code::GetInflightFd,
            Reply::Inflight(inflight, Some(3_u32)),
            Reply::Inflight(inflight, Some(3)),
        ),
        (Code::SetDeviceStateFd, Reply::StateFd(3), Reply::StateFd(3)),
        (
            Code::SetDeviceStateFd,
            Reply::Value(0x100),
            Reply::Value(0x100),
        ),
    ] {
        assert_eq!(Reply::decode(code, reply.encode()), Ok(again));
    }
}

#[test]
fn every_request_of_the_back_end_survives_the_round_trip() {
    let iotlb = Iotlb {
        address: 1,
        size: 2,
        user_address: 3,
        permissions: Permissions::READ,
        kind: IotlbKind::Miss,
    };
    for request in [
        BackRequest::Iotlb(iotlb),
        BackRequest::ConfigChange,
        BackRequest::VringCall(STATE),
        BackRequest::VringErr(STATE),
    ] {
        let body: Body<u32> = request.encode();
        assert_eq!(
            BackRequest::decode(request.code().number(), &body),
            Ok(request)
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_refused(
        number in 0_u32..50, payload in prop::collection::vec(any::<u8>(), 0..400),
        descriptors in prop::collection::vec(any::<u32>(), 0..9),
    ) {
        if let Ok(request) = Request::decode(number, Body { payload: payload.clone(), descriptors: descriptors.clone() }) {
            prop_assert_eq!(request.code().number(), number);
        }
        let body = Body { payload, descriptors };
        let _ = BackRequest::decode(number, &body);
        if let Some(code) = Code::from_number(number) {
            let _ = Reply::decode(code, body);
        }
    }
}
