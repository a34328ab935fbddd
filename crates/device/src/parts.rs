//! What a carrier is made of: a device, and what it is to be reached through and served by.

use alloc::boxed::Box;
use alloc::sync::Arc;

use ringway_spec::{DeviceId, F, Features};

use crate::admin::Administration;
use crate::model::Device;
use crate::task::{Memory, Runner};

/// What a carrier is made of.
pub struct Parts {
    /// The device that it presents.
    pub device: Box<dyn Device>,
    /// What it offers of its own.
    pub offer: Offer,
    /// The groups of devices that it owns, which its driver controls through queues of their own. A
    /// window has none (§4.2).
    pub administration: Administration,
    /// Which drivers it is for.
    pub interface: Interface,
    /// The driver's memory.
    pub memory: Arc<dyn Memory>,
    /// Who serves the queues.
    pub runner: Arc<dyn Runner>,
}

impl Parts {
    /// How many queues the device has of its own, and how many more for administration, whose
    /// indices follow. Indices have 16 bits: queues beyond them cannot be reached. A driver from
    /// before version 1 cannot agree to administration (§2.2.3).
    pub(crate) fn queues(&self) -> (u16, u16) {
        let own = u16::try_from(self.device.queue_sizes().len()).unwrap_or(u16::MAX);
        let wanted = match self.interface {
            Interface::Legacy => 0,
            Interface::Modern | Interface::Transitional => self.administration.queues(),
        };
        (own, wanted.min(u16::MAX.saturating_sub(own)))
    }
}

/// Through which of virtio's two interfaces a device can be driven (§1.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// That of the specification.
    #[default]
    Modern,
    /// Either, as the driver likes. Only PCI has registers for both; a window has those of
    /// [`Modern`](Self::Modern) then.
    Transitional,
    /// The one from before version 1.
    Legacy,
}

/// Features of rings and transports that a carrier offers, beside those of its device.
///
/// By default what costs nothing: `VERSION_1`, `INDIRECT_DESC`, `EVENT_IDX`,
/// `NOTIFICATION_DATA` and `RING_RESET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer(Features);

impl Offer {
    /// No more than every device must: `VERSION_1` (§6).
    pub const NOTHING: Self = Self(F::VERSION_1);

    /// What this end can do. `NOTIF_CONFIG_DATA` is PCI's: a window leaves it out.
    pub const POSSIBLE: Features = F::VERSION_1
        .union(F::INDIRECT_DESC)
        .union(F::EVENT_IDX)
        .union(F::RING_PACKED)
        .union(F::IN_ORDER)
        .union(F::ACCESS_PLATFORM)
        .union(F::ORDER_PLATFORM)
        .union(F::NOTIFICATION_DATA)
        .union(F::RING_RESET)
        .union(F::NOTIF_CONFIG_DATA)
        .union(F::SUSPEND);

    /// This, and those of `features` that this end can do: [`POSSIBLE`](Self::POSSIBLE).
    ///
    /// A driver that is offered `ACCESS_PLATFORM` must accept it (§6).
    #[must_use]
    pub fn with(self, features: Features) -> Self {
        Self(self.0.union(features.intersection(Self::POSSIBLE)))
    }

    /// This, less `features`. `VERSION_1` stays: a device must offer it (§6).
    #[must_use]
    pub fn without(self, features: Features) -> Self {
        Self(self.0.difference(features) | F::VERSION_1)
    }

    /// This, and `SR_IOV`: for a function that has virtual ones, and no other (§6).
    pub(crate) fn with_virtual_functions(self) -> Self {
        Self(self.0 | F::SR_IOV)
    }

    /// What is offered.
    pub const fn features(self) -> Features {
        self.0
    }

    /// What is offered with a device of type `id` that has `own` features: of those, the ones that
    /// are for a device type to define, so that it speaks for no layer below it; and none without
    /// one that it needs (§2.2.2).
    #[must_use]
    pub fn beside(self, id: DeviceId, own: Features) -> Features {
        let mut offered = self.0 | own.intersection(Features::OF_DEVICE_TYPES);
        // Each turn takes away one feature at least.
        while let Some((features, _)) = offered.missing_dependency(id) {
            offered = offered.difference(features);
        }
        offered
    }
}

impl Default for Offer {
    fn default() -> Self {
        Self(
            Self::NOTHING.0
                | F::INDIRECT_DESC
                | F::EVENT_IDX
                | F::NOTIFICATION_DATA
                | F::RING_RESET,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Clauses: dev:basic/feature-bits:3, dev:reserved-feature-bits:9
    #[test]
    fn only_what_this_end_can_do_is_offered() {
        let all = Offer::default().with(Features(u128::MAX));

        let rings = F::INDIRECT_DESC | F::EVENT_IDX | F::RING_PACKED | F::IN_ORDER;
        let platform = F::ACCESS_PLATFORM | F::ORDER_PLATFORM;
        let transport = F::NOTIFICATION_DATA | F::RING_RESET | F::NOTIF_CONFIG_DATA | F::SUSPEND;
        assert_eq!(all.features(), F::VERSION_1 | rings | platform | transport);
    }

    /// Clauses: dev:reserved-feature-bits:1
    #[test]
    fn all_but_version_1_can_be_left_out() {
        let least = Offer::default().without(Features(u128::MAX));

        assert_eq!(least.features(), F::VERSION_1);
        assert_eq!(
            least.with(F::EVENT_IDX).features(),
            F::VERSION_1 | F::EVENT_IDX
        );
    }

    /// Clauses: dev:basic/feature-bits:3
    #[test]
    fn a_device_offers_no_feature_of_a_layer_below_it_and_none_that_is_reserved() {
        let own = Features(u128::MAX);

        let offered = Offer::NOTHING.beside(DeviceId::ENTROPY, own);

        let bits: Vec<u32> = offered.bits().collect();
        let expected = (0..24).chain([32, 42]).chain(50..128);
        assert_eq!(bits, expected.collect::<Vec<_>>());
    }

    /// Clauses: dev:basic/feature-bits:1
    #[test]
    fn a_feature_is_not_offered_without_the_one_that_it_needs() {
        let [csum, tso4, ecn] = [0, 11, 13].map(Features::bit);
        let offer = |own| Offer::NOTHING.beside(DeviceId::NETWORK, own);

        assert_eq!(offer(tso4), F::VERSION_1);
        assert_eq!(offer(tso4 | ecn), F::VERSION_1);
        let all = csum | tso4 | ecn;
        assert_eq!(offer(all), F::VERSION_1 | all);
    }
}
