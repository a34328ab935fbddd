//! What the back-end answers.

use zerocopy::FromBytes;

use super::payload::InflightBytes;
use super::request::inflight;
use super::{Body, Code, ConfigSpace, Inflight, Malformed, RingState};

/// An answer of the back-end. Which kind follows from the request.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<F> {
    /// A number; for a request that only asked for an answer, 0 if it was done.
    Value(u64),
    /// Where a ring stands.
    Ring(RingState),
    /// Bytes of configuration space.
    Config(ConfigSpace),
    /// Configuration space was not read.
    NoConfig,
    /// Memory that remembers what is in flight. Without a descriptor there is none.
    Inflight(Inflight, Option<F>),
    /// Through which the device's own state is moved, instead of what the front-end gave.
    StateFd(F),
}

/// Says, in the answer to [`Code::SetDeviceStateFd`], that no descriptor comes with it.
const NO_DESCRIPTOR: u64 = 1 << 8;

impl<F> Reply<F> {
    /// What it sends beside its header.
    pub fn encode(self) -> Body<F> {
        match self {
            Self::Value(number) => Body::bytes(&number),
            Self::Ring(state) => Body::bytes(&state),
            Self::Config(space) => space.encode(),
            Self::NoConfig => Body::bytes(&[0_u8; 0]),
            Self::Inflight(inflight, descriptor) => {
                Body::bytes(&InflightBytes::from(inflight)).with(descriptor)
            }
            Self::StateFd(descriptor) => Body::bytes(&0_u64).with([descriptor]),
        }
    }

    /// The answer to a request `code`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it cannot be. All its descriptors are dropped.
    pub fn decode(code: Code, body: Body<F>) -> Result<Self, Malformed> {
        let Body {
            payload,
            mut descriptors,
        } = body;
        let size = Malformed::Size {
            request: code.number(),
            size: payload.len() as u32,
        };
        let wrong = |wanted| Malformed::Descriptors {
            request: code.number(),
            wanted,
            came: descriptors.len(),
        };
        let number = || u64::read_from_bytes(&payload).map_err(|_| size);
        match code {
            Code::GetInflightFd => {
                let inflight = inflight(&payload).ok_or(size)?;
                if descriptors.len() > 1 {
                    return Err(wrong(1));
                }
                return Ok(Self::Inflight(inflight, descriptors.pop()));
            }
            Code::SetDeviceStateFd if number()? & NO_DESCRIPTOR == 0 && number()? == 0 => {
                if descriptors.len() != 1 {
                    return Err(wrong(1));
                }
                return descriptors.pop().map(Self::StateFd).ok_or(size);
            }
            _ if !descriptors.is_empty() => return Err(wrong(0)),
            _ => {}
        }
        match code {
            Code::GetVringBase => RingState::read_from_bytes(&payload)
                .map(Self::Ring)
                .map_err(|_| size),
            Code::GetConfig if payload.is_empty() => Ok(Self::NoConfig),
            Code::GetConfig => ConfigSpace::decode(&payload).map(Self::Config).ok_or(size),
            _ => number().map(Self::Value),
        }
    }
}
