//! A function's parts as bytes.
//!
//! Where its queues stand is none of them: that is in their rings, which move with the driver's
//! memory. What its model says of itself is a part that the specification leaves to the device type,
//! and defines for none but one: here it has the last number of those, and a selector that says whose
//! it is.
//!
//! Spec: VIRTIO 1.4 §2.14 "Device parts".

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use ringway_ring::driver::Areas;
use ringway_spec::admin::{PART_OPTIONAL, PartHeader, PartNotify, PartQueue, PartType};
use ringway_spec::pci::{NO_VECTOR, common};
use ringway_spec::{Features, Status};
use zerocopy::{FromBytes, IntoBytes};

use super::msix::Vectors;
use crate::admin::{Inadmissible, Part};
use crate::front::{Front, Given, Kind, Portrait, QueuePortrait};
use crate::model::STATE_MAX;

/// What the model says of itself.
const STATE: PartType = PartType::from_u16(PartType::OF_DEVICE_TYPES.end - 1);

/// That it is one of ours.
const STATE_SELECTOR: [u8; 8] = *b"ringway\0";

/// The registers that are parts of their own, and their bytes. The others are in other parts, or show
/// what was selected.
const REGISTERS: [(usize, usize); 6] = [
    (common::DEVICE_FEATURE_SELECT, 4),
    (common::DRIVER_FEATURE_SELECT, 4),
    (common::CONFIG_MSIX_VECTOR, 2),
    (common::NUM_QUEUES, 2),
    (common::CONFIG_GENERATION, 1),
    (common::QUEUE_SELECT, 2),
];

/// Bytes of features: of as many bits as there are names for.
const FEATURE_BYTES: usize = size_of::<u128>();

/// Whose vector it is: a queue's, or that of configuration changes.
pub(super) type VectorOf = (Option<u16>, u16);

/// How many bytes parts have at most, of a device with so many queues.
pub(super) fn bytes_max(queues: u16) -> u32 {
    let with_header = |bytes: usize| bytes.saturating_add(size_of::<PartHeader>());
    let registers = REGISTERS.iter().map(|(_, len)| with_header(*len));
    let fixed = [FEATURE_BYTES, FEATURE_BYTES, 1, STATE_MAX].map(with_header);
    let each =
        with_header(size_of::<PartQueue>()).saturating_add(with_header(size_of::<PartNotify>()));
    let all: usize = registers.chain(fixed).sum();
    // Below 2²³.
    all.saturating_add(each.saturating_mul(queues.into())) as u32
}

/// The parts of a function, in the order of the table (§2.12.1.4.4).
pub(super) fn take_apart(front: &Front<Vectors>, portrait: &Portrait) -> Vec<Part> {
    let vectors = front.interrupts();
    let mut parts = Vec::new();
    let mut add = |part_type, flags, selector, value: &[u8]| {
        let header = PartHeader {
            part_type,
            flags,
            reserved: 0,
            selector,
            // Small, all of them.
            length: (value.len() as u32).into(),
        };
        let value = value.to_vec();
        parts.push(Part { header, value });
    };
    let offered = front.offered().0.to_le_bytes();
    add(PartType::DEV_FEATURES, PART_OPTIONAL, [0; 8], &offered);
    let accepted = portrait.accepted.0.to_le_bytes();
    add(PartType::DRV_FEATURES, 0, [0; 8], &accepted);
    for (offset, len) in REGISTERS {
        let value = register(front, portrait, offset).to_le_bytes();
        let value = value.get(..len).unwrap_or_default();
        add(PartType::PCI_COMMON_CFG, 0, selector(offset), value);
    }
    let status = [portrait.status.bits()];
    add(PartType::DEVICE_STATUS, 0, [0; 8], &status);
    for (index, queue) in (0_u16..).zip(&portrait.queues) {
        let queue = PartQueue {
            queue_size: queue.size.into(),
            vector: vectors.queue_vector(index).into(),
            enabled: u16::from(queue.enabled).into(),
            reserved: 0.into(),
            queue_desc: queue.areas.descriptor.into(),
            queue_driver: queue.areas.driver.into(),
            queue_device: queue.areas.device.into(),
        };
        add(
            PartType::VQ_CFG,
            0,
            selector(index.into()),
            queue.as_bytes(),
        );
    }
    for (index, _) in (0_u16..).zip(&portrait.queues) {
        let notify = notify(front, index);
        add(
            PartType::VQ_NOTIFY_CFG,
            0,
            selector(index.into()),
            notify.as_bytes(),
        );
    }
    if let Some(state) = &portrait.state {
        add(STATE, 0, STATE_SELECTOR, state);
    }
    parts
}

/// Has `portrait` be what the parts in `bytes` say, and says which kinds were given by now. Vectors
/// are for the caller to set, once the rest was taken over.
///
/// # Errors
///
/// [`Inadmissible`], for the first part that cannot be.
pub(super) fn put_together(
    front: &Front<Vectors>,
    portrait: &mut Portrait,
    vectors: &mut Vec<VectorOf>,
    mut given: Given,
    mut bytes: &[u8],
) -> Result<Given, Inadmissible> {
    let mut last = Kind::DeviceFeatures;
    let mut seen = BTreeSet::new();
    // Ends: each turn takes bytes away. What a command was filled up with is no part (§2.13.2).
    while !is_filling(bytes) {
        let (header, rest) =
            PartHeader::read_from_prefix(bytes).map_err(|_| Inadmissible::Short)?;
        let len = usize::try_from(header.length.get()).map_err(|_| Inadmissible::Short)?;
        let (value, rest) = rest.split_at_checked(len).ok_or(Inadmissible::Short)?;
        bytes = rest;
        let part_type = header.part_type;
        if header.flags & !PART_OPTIONAL != 0 || header.reserved != 0 {
            return Err(Inadmissible::Value(part_type));
        }
        let Some(kind) = kind(&header) else {
            if header.flags & PART_OPTIONAL != 0 {
                continue;
            }
            return Err(Inadmissible::Unknown(part_type));
        };
        let again = !seen.insert((kind, header.selector));
        if kind < last || again || !given.is_ready_for(kind) {
            return Err(Inadmissible::Order(part_type));
        }
        let part = Drawn {
            front,
            header,
            value,
        };
        part.draw(kind, portrait, vectors)?;
        last = kind;
        given.add(kind);
    }
    Ok(given)
}

/// One part that is given.
struct Drawn<'g> {
    front: &'g Front<Vectors>,
    header: PartHeader,
    value: &'g [u8],
}

impl Drawn<'_> {
    fn draw(
        &self,
        kind: Kind,
        portrait: &mut Portrait,
        vectors: &mut Vec<VectorOf>,
    ) -> Result<(), Inadmissible> {
        let part_type = self.header.part_type;
        match kind {
            // Compared, and never set (§2.12.1.4.4.1).
            Kind::DeviceFeatures if self.features()? != self.front.offered() => {
                return Err(Inadmissible::Features);
            }
            Kind::DeviceFeatures => {}
            Kind::DriverFeatures => portrait.accepted = self.features()?,
            Kind::Register => self.register(portrait, vectors)?,
            Kind::Status => {
                let [bits] = *self.exactly::<1>()?;
                let status = Status::from_bits(bits).ok_or(Inadmissible::Status)?;
                portrait.status = status;
            }
            Kind::Queue => {
                let (index, drawn) = self.queue(portrait.queues.len())?;
                let bytes = self.exactly::<{ size_of::<PartQueue>() }>()?;
                let queue = PartQueue::read_from_bytes(bytes).unwrap_or_default();
                if queue.enabled.get() > 1 || queue.reserved.get() != 0 {
                    return Err(Inadmissible::Value(part_type));
                }
                vectors.push((Some(index), self.vector(queue.vector.get())?));
                let slot = portrait.queues.get_mut(drawn);
                *slot.ok_or(Inadmissible::Unknown(part_type))? = QueuePortrait {
                    size: queue.queue_size.get(),
                    enabled: queue.enabled.get() == 1,
                    areas: Areas {
                        descriptor: queue.queue_desc.get(),
                        driver: queue.queue_driver.get(),
                        device: queue.queue_device.get(),
                    },
                };
            }
            Kind::Notify => {
                let (index, _) = self.queue(portrait.queues.len())?;
                let bytes = self.exactly::<{ size_of::<PartNotify>() }>()?;
                if bytes != notify(self.front, index).as_bytes() {
                    return Err(Inadmissible::Value(part_type));
                }
            }
            Kind::State if portrait.state.is_none() => {
                return Err(Inadmissible::Unknown(part_type));
            }
            Kind::State => portrait.state = Some(self.value.to_vec()),
        }
        Ok(())
    }

    fn register(
        &self,
        portrait: &mut Portrait,
        vectors: &mut Vec<VectorOf>,
    ) -> Result<(), Inadmissible> {
        let unknown = Inadmissible::Unknown(self.header.part_type);
        let of = |offset: usize| selector(offset) == self.header.selector;
        let mut registers = REGISTERS.iter();
        let (offset, len) = *registers.find(|(offset, _)| of(*offset)).ok_or(unknown)?;
        if self.value.len() != len {
            return Err(self.wrong_length());
        }
        let value = crate::front::load(self.value);
        match offset {
            common::DEVICE_FEATURE_SELECT => portrait.device_select = value,
            common::DRIVER_FEATURE_SELECT => portrait.driver_select = value,
            common::CONFIG_GENERATION => portrait.generation = value,
            common::QUEUE_SELECT => portrait.queue_select = value,
            common::CONFIG_MSIX_VECTOR => vectors.push((None, self.vector(value as u16)?)),
            // It cannot be another (§2.12.1.4.4.1).
            _ if value != register(self.front, portrait, offset) => {
                return Err(Inadmissible::Value(self.header.part_type));
            }
            _ => {}
        }
        Ok(())
    }

    fn features(&self) -> Result<Features, Inadmissible> {
        let bytes = self.exactly::<FEATURE_BYTES>()?;
        Ok(Features(u128::from_le_bytes(*bytes)))
    }

    /// The queue that is meant, of so many.
    fn queue(&self, queues: usize) -> Result<(u16, usize), Inadmissible> {
        let [low, high, ..] = self.header.selector;
        let index = u16::from_le_bytes([low, high]);
        let clean = selector(index.into()) == self.header.selector;
        (clean && usize::from(index) < queues)
            .then_some((index, index.into()))
            .ok_or(Inadmissible::Unknown(self.header.part_type))
    }

    /// A vector that the function has, or none.
    fn vector(&self, vector: u16) -> Result<u16, Inadmissible> {
        let known = vector == NO_VECTOR || vector < self.front.interrupts().vectors();
        known
            .then_some(vector)
            .ok_or(Inadmissible::Value(self.header.part_type))
    }

    fn exactly<const N: usize>(&self) -> Result<&[u8; N], Inadmissible> {
        self.value.try_into().map_err(|_| self.wrong_length())
    }

    fn wrong_length(&self) -> Inadmissible {
        Inadmissible::Length(self.header.part_type, self.header.length.get())
    }
}

/// Whether no part follows.
fn is_filling(bytes: &[u8]) -> bool {
    bytes.len() < size_of::<PartHeader>() && bytes.iter().all(|byte| *byte == 0)
}

/// The kind of a part that there is here.
fn kind(header: &PartHeader) -> Option<Kind> {
    let kind = match header.part_type {
        PartType::DEV_FEATURES => Kind::DeviceFeatures,
        PartType::DRV_FEATURES => Kind::DriverFeatures,
        PartType::PCI_COMMON_CFG => Kind::Register,
        PartType::DEVICE_STATUS => Kind::Status,
        PartType::VQ_CFG => Kind::Queue,
        PartType::VQ_NOTIFY_CFG => Kind::Notify,
        STATE => Kind::State,
        _ => return None,
    };
    let bare = match kind {
        Kind::State => STATE_SELECTOR,
        Kind::Register | Kind::Queue | Kind::Notify => header.selector,
        Kind::DeviceFeatures | Kind::DriverFeatures | Kind::Status => [0; 8],
    };
    (header.selector == bare).then_some(kind)
}

/// The selector of a register, or of a queue: so many of its bytes are none but 0.
fn selector(number: usize) -> [u8; 8] {
    (number as u64).to_le_bytes()
}

/// What a register reads.
fn register(front: &Front<Vectors>, portrait: &Portrait, offset: usize) -> u32 {
    match offset {
        common::DEVICE_FEATURE_SELECT => portrait.device_select,
        common::DRIVER_FEATURE_SELECT => portrait.driver_select,
        common::CONFIG_MSIX_VECTOR => front.interrupts().config_vector().into(),
        common::NUM_QUEUES => front.own_queues().into(),
        // Its low bits are what the register has.
        common::CONFIG_GENERATION => portrait.generation & 0xff,
        _ => portrait.queue_select & 0xffff,
    }
}

fn notify(front: &Front<Vectors>, index: u16) -> PartNotify {
    PartNotify {
        queue_notify_off: index.into(),
        queue_notif_config_data: front.kick_name_of(index).into(),
        reserved: [0; 4],
    }
}
