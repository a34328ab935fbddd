//! Doorbells: how a back-end is told that a queue has chains.

use core::fmt;
use std::sync::{Arc, Weak};

use ringway_driver::error::TransportError;
use ringway_driver::platform::Registers;

use super::link::Link;
use crate::eventfd::EventFd;

/// The one register that a queue has: written to, it kicks. Whatever is read from it is 0.
#[derive(Clone)]
pub struct Kick(Way);

#[derive(Clone)]
enum Way {
    /// A descriptor is signalled. It is the same for every back-end that comes.
    Signal(Arc<EventFd>),
    /// A message is sent.
    Message(Weak<Link>, u8),
    /// This end does what is commanded.
    Command(Weak<Link>),
    /// The back-end looks by itself.
    Polled,
}

/// Bytes of the register.
const BYTES: usize = 4;

impl Kick {
    pub(crate) fn signal(event: Arc<EventFd>) -> Self {
        Self(Way::Signal(event))
    }

    pub(crate) fn message(link: &Arc<Link>, index: u8) -> Self {
        Self(Way::Message(Arc::downgrade(link), index))
    }

    pub(crate) fn command(link: &Arc<Link>) -> Self {
        Self(Way::Command(Arc::downgrade(link)))
    }

    pub(crate) fn polled() -> Self {
        Self(Way::Polled)
    }

    #[inline]
    fn ring(&self, offset: usize, len: usize) -> Result<(), TransportError> {
        within(offset, len)?;
        match &self.0 {
            Way::Signal(event) => event.signal(),
            // A back-end that is away looks at every ring when it is back.
            Way::Message(link, index) => {
                if let Some(link) = link.upgrade() {
                    link.kick(*index);
                }
            }
            Way::Command(link) => {
                if let Some(link) = link.upgrade() {
                    link.command();
                }
            }
            Way::Polled => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Kick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Signal(_) => "Kick(by a descriptor)",
            Way::Message(..) => "Kick(by a message)",
            Way::Command(_) => "Kick(done here)",
            Way::Polled => "Kick(polled)",
        })
    }
}

fn within(offset: usize, len: usize) -> Result<(), TransportError> {
    match offset.checked_add(len) {
        Some(end) if end <= BYTES && offset.is_multiple_of(len) => Ok(()),
        _ => Err(TransportError::Range { offset, len }),
    }
}

impl Registers for Kick {
    fn len(&self) -> usize {
        BYTES
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        (offset == 0 && len == BYTES).then(|| self.clone())
    }

    fn read8(&self, offset: usize) -> Result<u8, TransportError> {
        within(offset, 1).map(|()| 0)
    }

    fn read16(&self, offset: usize) -> Result<u16, TransportError> {
        within(offset, 2).map(|()| 0)
    }

    fn read32(&self, offset: usize) -> Result<u32, TransportError> {
        within(offset, 4).map(|()| 0)
    }

    fn write8(&self, offset: usize, _value: u8) -> Result<(), TransportError> {
        self.ring(offset, 1)
    }

    #[inline]
    fn write16(&self, offset: usize, _value: u16) -> Result<(), TransportError> {
        self.ring(offset, 2)
    }

    fn write32(&self, offset: usize, _value: u32) -> Result<(), TransportError> {
        self.ring(offset, 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_any_width_kicks_once_and_a_read_does_not() {
        let event = Arc::new(EventFd::new().unwrap());
        let kick = Kick::signal(Arc::clone(&event));

        for write in [
            |kick: &Kick| kick.write8(0, 1),
            |kick: &Kick| kick.write16(0, 1),
            |kick: &Kick| kick.write32(0, 1),
        ] {
            write(&kick).unwrap();
            assert_eq!(event.take(), Ok(true));
        }
        assert_eq!(kick.read32(0), Ok(0));
        assert_eq!(event.take(), Ok(false));
    }

    #[test]
    fn there_is_one_register() {
        let kick = Kick::polled();

        for (offset, len) in [(4, 1), (2, 4), (1, 2), (usize::MAX, 1)] {
            let range = Err(TransportError::Range { offset, len });
            assert_eq!(within(offset, len), range);
        }
        assert!(kick.slice(0, 4).is_some());
        assert!(kick.slice(1, 3).is_none());
    }
}
