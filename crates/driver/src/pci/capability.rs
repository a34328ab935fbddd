//! Where a device says that its register blocks are (§4.1.4), and whether that can be.

use ringway_spec::pci::{CapabilityType, common};

use super::address::{ConfigAccess, read8, read32};
use super::function::Function;
use crate::error::{Error, Result, Violation};
use crate::platform::{Platform, Registers};

/// Bytes of a virtio capability, and of one with a multiplier after it.
const LENGTH: u8 = 16;
const NOTIFY_LENGTH: u8 = 20;

/// Where the fields of a capability are (§4.1.4).
const CAP_LEN: usize = 2;
const CFG_TYPE: usize = 3;
const BAR: usize = 4;
const OFFSET: usize = 8;
const BLOCK_LENGTH: usize = 12;
const NOTIFY_MULTIPLIER: usize = 16;

/// The register blocks of a modern device, mapped.
#[derive(Debug)]
pub(super) struct Blocks<P: Platform> {
    pub(super) common: P::Registers,
    pub(super) notify: P::Registers,
    pub(super) notify_multiplier: u32,
    pub(super) isr: P::Registers,
    /// Types without configuration need none.
    pub(super) device: Option<P::Registers>,
}

/// What is asked of the block of one type.
struct Wanted {
    kind: CapabilityType,
    cap_len: u8,
    /// Bytes that there must be at least.
    least: u64,
    /// What its offset must be a multiple of.
    align: u32,
    missing: &'static str,
}

const COMMON: Wanted = Wanted {
    kind: CapabilityType::COMMON_CFG,
    cap_len: LENGTH,
    least: common::MIN_LENGTH as u64,
    align: 4,
    missing: "no usable common configuration",
};
const NOTIFY: Wanted = Wanted {
    kind: CapabilityType::NOTIFY_CFG,
    cap_len: NOTIFY_LENGTH,
    least: 2,
    align: 2,
    missing: "no usable notification structure",
};
const ISR: Wanted = Wanted {
    kind: CapabilityType::ISR_CFG,
    cap_len: LENGTH,
    least: 1,
    align: 1,
    missing: "no usable ISR status",
};
const DEVICE: Wanted = Wanted {
    kind: CapabilityType::DEVICE_CFG,
    cap_len: LENGTH,
    least: 1,
    align: 4,
    missing: "no usable device configuration",
};

impl<P: Platform> Blocks<P> {
    /// Finds the blocks and maps them: of each type the first that is usable, which is the one that the device prefers (§4.1.4.1).
    ///
    /// # Errors
    ///
    /// [`Violation::Capability`] if one that every device needs is not there.
    pub(super) fn find(platform: &P, function: &Function) -> Result<Self>
    where
        P: ConfigAccess,
    {
        let find = |wanted: &Wanted| {
            let capabilities = function.capabilities(platform);
            let usable = capabilities
                .filter_map(|(at, id)| Self::usable(platform, function, wanted, at, id));
            let missing = Error::Device(Violation::Capability(wanted.missing));
            usable.into_iter().next().ok_or(missing)
        };
        let (_, common) = find(&COMMON)?;
        let (notify_at, notify) = find(&NOTIFY)?;
        let (_, isr) = find(&ISR)?;
        let notify_multiplier = read32(platform, function.address, notify_at + NOTIFY_MULTIPLIER);
        let device = find(&DEVICE).ok().map(|(_, device)| device);
        Ok(Self {
            common,
            notify,
            notify_multiplier,
            isr,
            device,
        })
    }

    /// Maps the block that the capability at `at` names, if it is what is wanted and lies where it says. Only what is named is mapped.
    fn usable(
        platform: &P,
        function: &Function,
        wanted: &Wanted,
        at: usize,
        id: u8,
    ) -> Option<(usize, P::Registers)>
    where
        P: ConfigAccess,
    {
        use ringway_spec::pci::config::{CAPABILITY_VENDOR, SIZE};
        let address = function.address;
        let of_type = id == CAPABILITY_VENDOR
            && at + usize::from(wanted.cap_len) <= SIZE
            && read8(platform, address, at + CFG_TYPE) == wanted.kind.0
            && read8(platform, address, at + CAP_LEN) >= wanted.cap_len;
        if !of_type {
            return None;
        }
        let bar = read8(platform, address, at + BAR);
        let offset = read32(platform, address, at + OFFSET);
        let length = read32(platform, address, at + BLOCK_LENGTH);
        if !offset.is_multiple_of(wanted.align) || u64::from(length) < wanted.least {
            return None;
        }
        let registers = window(platform, function, bar, offset, length)?;
        Some((at, registers))
    }
}

/// Maps `length` bytes at `offset` of BAR `index`, if it has them. The sum has 64 bits: two of 32 do not overflow.
pub(super) fn window<P: Platform + ConfigAccess>(
    platform: &P,
    function: &Function,
    index: u8,
    offset: u32,
    length: u32,
) -> Option<P::Registers> {
    let bar = function.bar(platform, index)?;
    let end = u64::from(offset) + u64::from(length);
    if end > bar.size || bar.address == 0 {
        return None;
    }
    let address = bar.address.checked_add(u64::from(offset))?;
    address.checked_add(u64::from(length))?;
    let registers = platform.registers(address, u64::from(length)).ok()?;
    (registers.len() >= usize::try_from(length).ok()?).then_some(registers)
}
