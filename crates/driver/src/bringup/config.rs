//! Reading and writing a device's configuration space. Spec: VIRTIO 1.4 §2.5 "Device Configuration
//! Space".

use ringway_spec::config::{Field, Gated};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::link::Link;
use crate::error::{Result, Violation};
use crate::transport::Transport;

/// How often a configuration field is read again because the device changed its configuration
/// meanwhile. One that never settles cannot hang the driver.
const CONFIG_TRIES: usize = 16;

/// A device's configuration space (§2.5).
#[derive(Debug)]
pub struct Config<'d, T: Transport> {
    pub(super) link: &'d mut Link<T>,
}

impl<T: Transport> Config<'_, T> {
    /// Reads one field: again, if the device changed its configuration meanwhile (§2.5.1). A legacy
    /// device does not say so: its fields are read until two readings are the same (§2.5.4).
    ///
    /// # Errors
    ///
    /// [`Violation::ConfigUnstable`] if it changes it every time.
    pub fn read<V: FromBytes + IntoBytes>(&mut self, field: Field<V>) -> Result<V> {
        if self.link.dialect.is_legacy() {
            return self.read_twice(field);
        }
        let transport = self.link.transport()?;
        let mut value = V::new_zeroed();
        let mut before = transport.config_generation()?;
        for _ in 0..CONFIG_TRIES {
            transport.read_config(field.offset(), value.as_mut_bytes())?;
            let after = transport.config_generation()?;
            if after == before {
                return Ok(value);
            }
            before = after;
        }
        Err(Violation::ConfigUnstable.into())
    }

    /// Reads one field, if a feature that makes it exist was negotiated.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_gated<V: FromBytes + IntoBytes>(&mut self, gated: Gated<V>) -> Result<Option<V>> {
        if !gated.exists(self.link.features) {
            return Ok(None);
        }
        self.read(gated.field()).map(Some)
    }

    fn read_twice<V: FromBytes + IntoBytes>(&mut self, field: Field<V>) -> Result<V> {
        let transport = self.link.transport()?;
        let [mut value, mut before] = [(); 2].map(|()| V::new_zeroed());
        transport.read_config(field.offset(), before.as_mut_bytes())?;
        for _ in 0..CONFIG_TRIES {
            transport.read_config(field.offset(), value.as_mut_bytes())?;
            if value.as_mut_bytes() == before.as_mut_bytes() {
                return Ok(value);
            }
            core::mem::swap(&mut value, &mut before);
        }
        Err(Violation::ConfigUnstable.into())
    }

    /// Writes one field.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn write<V: IntoBytes + Immutable>(&mut self, field: Field<V>, value: &V) -> Result<()> {
        Ok(self
            .link
            .transport()?
            .write_config(field.offset(), value.as_bytes())?)
    }
}
