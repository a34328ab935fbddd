//! What a device can do, and what its driver uses of it. Spec: VIRTIO 1.4 §2.12.1.2 "Device and
//! driver capabilities".

use alloc::vec::Vec;

use ringway_spec::admin::{CapabilityId, ObjectType, PartsCapability};
use zerocopy::IntoBytes;

/// A capability of a device: its bytes, and what the driver may make of each of their fields.
#[derive(Clone, Debug)]
pub struct Capability {
    id: CapabilityId,
    offered: Vec<u8>,
    fields: Vec<Field>,
}

/// A field of a capability: little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its first byte.
    pub offset: usize,
    /// How many bytes it has, at most 8.
    pub bytes: usize,
    /// What it is.
    pub rule: Rule,
}

/// What a field of a capability is, and so what a driver may make of it (§2.12.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// How many of something there may be: so many at most, or fewer.
    Limit,
    /// How many objects of a kind there may be.
    Objects(ObjectType),
    /// A bit for each of some things: those, or fewer.
    Flags,
}

impl Capability {
    /// The capability `id`: `offered` is what the device has of it. Bytes of no field are the
    /// device's to say, and ignored of what a driver writes.
    pub fn new(id: CapabilityId, offered: &[u8], fields: &[Field]) -> Self {
        Self {
            id,
            offered: offered.to_vec(),
            fields: fields.to_vec(),
        }
    }

    /// That of devices that let their parts be had (§2.12.1.4.1).
    pub fn parts(offered: &PartsCapability) -> Self {
        let field = |offset| Field {
            offset,
            bytes: 1,
            rule: Rule::Objects(ObjectType::DEV_PARTS),
        };
        Self::new(
            CapabilityId::DEV_PARTS,
            offered.as_bytes(),
            &[field(0), field(1)],
        )
    }

    /// Which one it is.
    pub fn id(&self) -> CapabilityId {
        self.id
    }

    /// What the device has of it.
    pub fn offered(&self) -> &[u8] {
        &self.offered
    }

    /// What a driver wants of it, in as many bytes as it has: what was left out is zero, what is too
    /// much is nothing. None if that is more than there is.
    pub(super) fn within(&self, wanted: &[u8]) -> Option<Vec<u8>> {
        let mut whole = wanted.to_vec();
        whole.resize(self.offered.len(), 0);
        let fits = self.fields.iter().all(|field| {
            let (wanted, offered) = (field.of(&whole), field.of(&self.offered));
            match field.rule {
                Rule::Limit | Rule::Objects(_) => wanted <= offered,
                Rule::Flags => wanted & !offered == 0,
            }
        });
        fits.then_some(whole)
    }

    /// How many objects of a kind there may be by what a driver wants. None if it does not limit
    /// them.
    pub(super) fn limit(&self, kind: ObjectType, wanted: &[u8]) -> Option<u64> {
        let mut fields = self.fields.iter();
        fields.try_fold(None, |sum: Option<u64>, field| {
            let limits = field.rule == Rule::Objects(kind);
            let more = limits.then(|| field.of(wanted));
            Some(match (sum, more) {
                (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
                (sum, more) => sum.or(more),
            })
        })?
    }

    /// The kinds of objects that it limits.
    pub(super) fn kinds(&self) -> impl Iterator<Item = ObjectType> {
        self.fields.iter().filter_map(|field| match field.rule {
            Rule::Objects(kind) => Some(kind),
            Rule::Limit | Rule::Flags => None,
        })
    }
}

impl Field {
    /// Its value.
    fn of(self, bytes: &[u8]) -> u64 {
        let end = self.offset.saturating_add(self.bytes.min(8));
        let bytes = bytes.get(self.offset..end).unwrap_or_default();
        let digits = bytes.iter().rev();
        digits.fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}
