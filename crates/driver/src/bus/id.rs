//! Which devices a driver is for.

use core::fmt;

use ringway_spec::{DeviceId, Modalias};

/// A row of a driver's table of ids. Displays as the pattern of [modaliases](Modalias) that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "VIRTIO_DEV_ANY_ID")]
pub struct Id {
    /// The type of device, or any.
    pub device: Option<DeviceId>,
    /// The vendor, or any.
    pub vendor: Option<u32>,
}

impl Id {
    /// Every device.
    pub const ANY: Self = Self {
        device: None,
        vendor: None,
    };

    /// All devices of a type.
    pub const fn of(device: DeviceId) -> Self {
        Self {
            device: Some(device),
            vendor: None,
        }
    }

    /// Whether the device is one of these.
    pub fn matches(&self, device: &Modalias) -> bool {
        self.device.is_none_or(|id| id == device.device)
            && self.vendor.is_none_or(|vendor| vendor == device.vendor)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("virtio:d")?;
        number(f, self.device.map(|id| id.0))?;
        f.write_str("v")?;
        number(f, self.vendor)
    }
}

fn number(f: &mut fmt::Formatter<'_>, number: Option<u32>) -> fmt::Result {
    match number {
        Some(number) => write!(f, "{number:08X}"),
        None => f.write_str("*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_id_matches_what_it_names_and_anything_where_it_names_nothing() {
        let disk = Modalias {
            device: DeviceId::BLOCK,
            vendor: 0x1af4,
        };
        let exact = Id {
            device: Some(DeviceId::BLOCK),
            vendor: Some(0x1af4),
        };
        let other = Id {
            vendor: Some(1),
            ..exact
        };

        let ids = [
            exact,
            other,
            Id::of(DeviceId::BLOCK),
            Id::of(DeviceId::NETWORK),
            Id::ANY,
        ];

        assert_eq!(
            ids.map(|id| id.matches(&disk)),
            [true, false, true, false, true]
        );
        assert_eq!(
            format!("{exact} {} {}", Id::of(DeviceId::BLOCK), Id::ANY),
            "virtio:d00000002v00001AF4 virtio:d00000002v* virtio:d*v*"
        );
    }
}
