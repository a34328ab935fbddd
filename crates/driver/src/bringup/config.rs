//! Reading and writing a device's configuration space. Spec: VIRTIO 1.4 §2.5 "Device Configuration
//! Space".

use ringway_spec::Features;
use ringway_spec::config::{Field, Gated};
use spin::Mutex;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::link::Link;
use crate::error::{Error, Result, Violation};
use crate::transport::Transport;

/// How often a configuration field is read again because the device changed its configuration
/// meanwhile. One that never settles cannot hang the driver.
const CONFIG_TRIES: usize = 16;

/// A device's configuration space (§2.5).
#[derive(Debug)]
pub struct Config<'d, T: Transport> {
    link: &'d Mutex<Link<T>>,
}

impl<'d, T: Transport> Config<'d, T> {
    pub(super) fn of(link: &'d Mutex<Link<T>>) -> Self {
        Self { link }
    }

    /// What both agreed to, which says what fields there are.
    pub fn features(&self) -> Features {
        self.link.lock().features
    }

    /// Reads one field: again, if the device changed its configuration meanwhile (§2.5.1). A legacy
    /// device does not say so: its fields are read until two readings are the same (§2.5.4).
    ///
    /// # Errors
    ///
    /// [`Violation::ConfigUnstable`] if it changes it every time.
    pub fn read<V: FromBytes + IntoBytes>(&mut self, field: Field<V>) -> Result<V> {
        let mut link = self.link.lock();
        if link.dialect.is_legacy() {
            return Self::read_twice(&mut link, field);
        }
        let transport = link.transport()?;
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
        if !gated.exists(self.features()) {
            return Ok(None);
        }
        self.read(gated.field()).map(Some)
    }

    /// Writes one field.
    ///
    /// # Errors
    ///
    /// [`Error::Suspended`] while the device is: nothing was written (§3.4.1).
    /// [`Error::Transport`].
    pub fn write<V: IntoBytes + Immutable>(&mut self, field: Field<V>, value: &V) -> Result<()> {
        let mut link = self.link.lock();
        let rests = !link.core.is_driven();
        let transport = link.transport()?;
        // With the lock, so that the device is not asked to suspend between the two.
        if rests {
            return Err(Error::Suspended);
        }
        Ok(transport.write_config(field.offset(), value.as_bytes())?)
    }

    fn read_twice<V: FromBytes + IntoBytes>(link: &mut Link<T>, field: Field<V>) -> Result<V> {
        let transport = link.transport()?;
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
}
