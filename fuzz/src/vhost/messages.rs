//! Any bytes and any number of descriptors, as each kind of message: what is understood is said
//! again in the same way, and no descriptor is kept that the message has no place for.

use std::rc::Rc;

use ringway_vhost::protocol::{
    BackRequest, Body, Code, DESCRIPTORS_MAX, HEADER_BYTES, Header, Reply, Request,
};

use crate::input::Input;

/// A descriptor: how many there are is counted.
type Descriptor = Rc<()>;

/// Most bytes of a payload: the longest that means anything, and some.
const PAYLOAD_MAX: usize = 400;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if let Ok(header) = Header::from_bytes(input.take::<HEADER_BYTES>()) {
        assert_eq!(Header::from_bytes(header.to_bytes()), Ok(header));
    }
    let number = u32::from(input.u8());
    let open: Descriptor = Rc::new(());
    let count = usize::from(input.u8()) % (DESCRIPTORS_MAX + 1);
    let mut payload = Vec::new();
    while payload.len() < PAYLOAD_MAX
        && let Some(byte) = input.step()
    {
        payload.push(byte);
    }
    let body = || Body {
        payload: payload.clone(),
        descriptors: vec![open.clone(); count],
    };

    if let Ok(request) = Request::decode(number, body()) {
        let code = request.code();
        assert_eq!(code.number(), number);
        let kept = Rc::strong_count(&open) - 1;
        assert!(
            kept == count || kept == 0,
            "{code:?} keeps {kept} of {count}"
        );
        let said = format!("{request:?}");
        let is_served = !matches!(request, Request::Unsupported(_));
        let again = Request::decode(number, request.encode());
        assert!(!is_served || again.is_ok_and(|again| format!("{again:?}") == said));
    }
    if let Some(code) = Code::from_number(number)
        && let Ok(reply) = Reply::decode(code, body())
    {
        let said = format!("{reply:?}");
        let again = Reply::decode(code, reply.encode()).expect("it was one");
        assert_eq!(format!("{again:?}"), said);
    }
    if let Ok(request) = BackRequest::decode(number, &body()) {
        let is_served = !matches!(request, BackRequest::Unsupported(_));
        let again = BackRequest::decode::<Descriptor>(number, &request.encode());
        assert!(!is_served || again == Ok(request));
    }

    assert_eq!(Rc::strong_count(&open), 1, "a descriptor is kept");
}
