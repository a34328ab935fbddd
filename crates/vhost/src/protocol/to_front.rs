//! What the back-end asks of the front-end, over a socket of its own.

use zerocopy::FromBytes;

use super::payload::IotlbBytes;
use super::{Body, Iotlb, Malformed, RingState};

/// The number of a request of the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum BackCode {
    /// A translation is missing, or does not permit something.
    IotlbMsg = 1,
    /// Configuration space has changed.
    ConfigChange = 2,
    /// Memory for notifications.
    HostNotifier = 3,
    /// A ring has used buffers.
    VringCall = 4,
    /// A ring is broken.
    VringErr = 5,
}

/// A request of the back-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackRequest {
    /// [`BackCode::IotlbMsg`]
    Iotlb(Iotlb),
    /// [`BackCode::ConfigChange`]
    ConfigChange,
    /// [`BackCode::VringCall`]
    VringCall(RingState),
    /// [`BackCode::VringErr`]
    VringErr(RingState),
    /// A request that exists, and that nothing here can do.
    Unsupported(BackCode),
}

impl BackCode {
    /// The request of this number, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::IotlbMsg,
            2 => Self::ConfigChange,
            3 => Self::HostNotifier,
            4 => Self::VringCall,
            5 => Self::VringErr,
            _ => return None,
        })
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl BackRequest {
    /// Which request it is.
    pub const fn code(&self) -> BackCode {
        match self {
            Self::Iotlb(_) => BackCode::IotlbMsg,
            Self::ConfigChange => BackCode::ConfigChange,
            Self::VringCall(_) => BackCode::VringCall,
            Self::VringErr(_) => BackCode::VringErr,
            Self::Unsupported(code) => *code,
        }
    }

    /// What it sends beside its header.
    pub fn encode<F>(self) -> Body<F> {
        match self {
            Self::Iotlb(iotlb) => Body::bytes(&IotlbBytes::from(iotlb)),
            Self::ConfigChange | Self::Unsupported(_) => Body::bytes(&[0_u8; 0]),
            Self::VringCall(state) | Self::VringErr(state) => Body::bytes(&state),
        }
    }

    /// The request that came with number `request`, with all that came with it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it cannot be. Its descriptors are dropped in any case: none of those that
    /// are understood has one.
    pub fn decode<F>(request: u32, body: &Body<F>) -> Result<Self, Malformed> {
        let code = BackCode::from_number(request).ok_or(Malformed::Unknown(request))?;
        let payload = &body.payload;
        let size = Malformed::Size {
            request,
            size: payload.len() as u32,
        };
        if code == BackCode::HostNotifier {
            return Ok(Self::Unsupported(code));
        }
        if !body.descriptors.is_empty() {
            return Err(Malformed::Descriptors {
                request,
                wanted: 0,
                came: body.descriptors.len(),
            });
        }
        let state = || RingState::read_from_bytes(payload).map_err(|_| size);
        match code {
            BackCode::IotlbMsg => {
                let bytes = IotlbBytes::read_from_bytes(payload).map_err(|_| size)?;
                let what = "a translation of no kind that there is";
                let iotlb = bytes.value().ok_or(Malformed::Field { request, what })?;
                Ok(Self::Iotlb(iotlb))
            }
            BackCode::ConfigChange if payload.is_empty() => Ok(Self::ConfigChange),
            BackCode::VringCall => state().map(Self::VringCall),
            BackCode::VringErr => state().map(Self::VringErr),
            BackCode::ConfigChange | BackCode::HostNotifier => Err(size),
        }
    }
}
