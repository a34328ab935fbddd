//! Messages that cannot be.

use proptest::prelude::*;

use super::*;

fn handle(
    session: &mut Session<'_, Fake>,
    request: u32,
    flags: Flags,
    payload: &[u8],
    descriptors: &[u32],
) -> Result<Answer<u32>, Refusal> {
    let header = Header {
        request,
        flags,
        size: payload.len() as u32,
    };
    let body = Body {
        payload: payload.to_vec(),
        descriptors: descriptors.to_vec(),
    };
    session.handle(header, body)
}

#[test]
fn a_reply_where_a_request_is_due_ends_the_connection() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let flags = Flags::REPLY | Flags::NEED_REPLY;
    let refused = handle(&mut session, Code::SetOwner.number(), flags, &[], &[]);

    let direction = Refusal::Malformed(Malformed::Direction);
    assert_eq!(refused.err(), Some(direction));
}

#[test]
fn a_request_that_does_not_exist_is_refused_and_the_next_one_served() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let flags = Flags::NEED_REPLY;
    let answered = handle(&mut session, 99, flags, &[1, 2, 3], &[4]).unwrap();
    let ended = handle(&mut session, 99, Flags::empty(), &[], &[]);

    let unknown = Refusal::Malformed(Malformed::Unknown(99));
    assert_eq!(answered.reply, Some(Reply::Value(1)));
    assert_eq!(answered.refused, Some(unknown));
    assert_eq!(ended.err(), Some(unknown));
    assert!(ask(&mut session, Request::GetFeatures).is_ok());
}

/// Devices' defect 6: a message with too many or too few descriptors.
#[test]
fn a_message_with_the_wrong_number_of_descriptors_changes_nothing() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);
    let before = session.carrier().told.clone();

    for (code, payload, descriptors) in [
        (Code::SetVringKick, &0_u64.to_ne_bytes()[..], &[][..]),
        (Code::SetVringCall, &0_u64.to_ne_bytes()[..], &[1, 2][..]),
        (Code::SetVringErr, &0x100_u64.to_ne_bytes()[..], &[1][..]),
        (Code::SetBackendReqFd, &[][..], &[][..]),
        (Code::SetMemTable, &1_u64.to_ne_bytes()[..], &[1][..]),
        (Code::SetOwner, &[][..], &[1][..]),
    ] {
        let refused = handle(
            &mut session,
            code.number(),
            Flags::empty(),
            payload,
            descriptors,
        );

        assert!(
            matches!(refused, Err(Refusal::Malformed(_))),
            "{code:?}: {refused:?}"
        );
    }

    assert_eq!(session.carrier().told, before);
}

proptest! {
    /// Devices' defect 13: any panic.
    #[test]
    fn no_row_of_messages_panics_or_runs_a_ring_twice(
        messages in prop::collection::vec(
            (0_u32..46, any::<bool>(), prop::collection::vec(0_u8..4, 0..48), prop::collection::vec(any::<u32>(), 0..3)),
            0..60,
        ),
    ) {
        let mut fake = Fake::new();
        let mut session = connected(&mut fake);
        for (request, wants_reply, payload, descriptors) in messages {
            let flags = if wants_reply { Flags::NEED_REPLY } else { Flags::empty() };
            let _ = handle(&mut session, request, flags, &payload, &descriptors);
        }
        drop(session);

        let mut running = [false; 3];
        for told in &fake.told {
            match told {
                Told::Started(index, _) => prop_assert!(!std::mem::replace(&mut running[usize::from(*index)], true)),
                Told::Stopped(index) => prop_assert!(std::mem::replace(&mut running[usize::from(*index)], false)),
                Told::Kicked(index) => prop_assert!(running[usize::from(*index)]),
                Told::Memory(_) | Told::Region | Told::RegionGone | Told::Negotiated(_) | Told::Reset(_) | Told::Disconnected => {
                    prop_assert_eq!(running, [false; 3]);
                }
                _ => {}
            }
        }
        prop_assert_eq!(running, [false; 3]);
    }
}
