//! What a vendor says of a function in its own format.
//!
//! Spec: VIRTIO 1.4 §4.1.4.8 "Vendor data capability".

use ringway_spec::pci::config::{CAPABILITY_VENDOR, SIZE};
use ringway_spec::pci::{CapabilityType, VendorCapability};

use super::capability::list;
use super::config::Config;
use super::{ConfigAccess, Function};
use crate::error::{TransportError, Violation};
use crate::transport::Result;

/// Where the data begins.
const DATA: usize = size_of::<VendorCapability>();

/// A vendor's data, of which so much is known to everybody: whose it is, and how long.
#[derive(Debug)]
pub struct VendorData<'c, C> {
    config: Config<'c, C>,
    at: usize,
    /// The PCI vendor id of whoever defined the data: not always that of the device.
    pub vendor: u16,
    /// Bytes of it.
    pub len: usize,
}

/// A vendor's data, for whoever knows its format.
#[derive(Debug)]
pub struct QualifiedData<'c, C>(VendorData<'c, C>);

/// The vendors' data of `function`, in the order of its capabilities: for reports, and for looking
/// for faults (§4.1.4.8). One that is too short to say whose it is, or not within configuration
/// space, is passed over.
///
/// # Errors
///
/// [`Violation::Capability`] if the list of capabilities cannot be one, after which there are no
/// more.
pub fn vendor_data<'c, C: ConfigAccess>(
    config: &'c C,
    function: &Function,
) -> impl Iterator<Item = Result<VendorData<'c, C>, Violation>> {
    let at = function.address;
    list(Config::new(config, at)).filter_map(move |capability| match capability {
        Ok((place, CAPABILITY_VENDOR)) => VendorData::read(Config::new(config, at), place).map(Ok),
        Ok(_) => None,
        Err(violation) => Some(Err(violation)),
    })
}

impl<'c, C: ConfigAccess> VendorData<'c, C> {
    fn read(config: Config<'c, C>, at: usize) -> Option<Self> {
        let [[_, _, cap_len, cfg_type], [low, high, ..]] = config.words(at);
        let bytes = usize::from(cap_len);
        let is_data = CapabilityType(cfg_type) == CapabilityType::VENDOR_CFG;
        (is_data && at + bytes <= SIZE).then_some(())?;
        Some(Self {
            config,
            at,
            vendor: u16::from_le_bytes([low, high]),
            len: bytes.checked_sub(DATA)?,
        })
    }

    /// The data, if it is in the format of `vendor`: that of another means something else, and is
    /// neither to be interpreted nor written (§4.1.4.8.2).
    pub fn of(self, vendor: u16) -> Option<QualifiedData<'c, C>> {
        (self.vendor == vendor).then_some(QualifiedData(self))
    }
}

impl<C: ConfigAccess> QualifiedData<'_, C> {
    /// Bytes of the data.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the bytes at `offset`, which has no effect.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if they are not all within.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let start = self.place(offset, into.len())?;
        for (at, byte) in (start..).zip(into) {
            *byte = self.0.config.read8(at);
        }
        Ok(())
    }

    /// Writes the 32 bits at `offset`, which is 2 more than a multiple of 4, as the data begins
    /// between two.
    ///
    /// # Errors
    ///
    /// [`TransportError::Range`] if they are not all within, or not aligned.
    pub fn write32(&self, offset: usize, value: u32) -> Result<()> {
        let len = size_of::<u32>();
        let at = self.place(offset, len)?;
        if !at.is_multiple_of(len) {
            return Err(TransportError::Range { offset, len });
        }
        self.0.config.write32(at, value);
        Ok(())
    }

    /// Where in configuration space the `len` bytes at `offset` are.
    fn place(&self, offset: usize, len: usize) -> Result<usize> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > self.len()) {
            return Err(TransportError::Range { offset, len });
        }
        Ok(self.0.at + DATA + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::{AT, DEVICE_CAPABILITY, FREE, Fake};
    use crate::testing::{Access, config_space};
    use std::vec::Vec;

    const VENDOR: u16 = 0x1b36;

    /// A function with data of its vendor, and of another one.
    fn fake() -> Fake {
        let mut fake = Fake::new();
        fake.put(DEVICE_CAPABILITY + 1, &[FREE as u8]);
        fake.put(
            FREE,
            &[9, FREE as u8 + 12, 12, 9, 0x36, 0x1b, 1, 2, 3, 4, 5, 6],
        );
        fake.put(FREE + 12, &[9, 0, 8, 9, 0x34, 0x12, 7, 8]);
        fake.allow(FREE, &[0xff; 20]);
        fake
    }

    /// Whose data is found, and how many bytes.
    fn found(fake: Fake) -> Vec<Result<(u16, usize), Violation>> {
        let platform = fake.plug();
        let function = Function::read(&platform, AT).unwrap();
        vendor_data(&platform, &function)
            .map(|found| found.map(|data| (data.vendor, data.len)))
            .collect()
    }

    #[test]
    fn every_vendor_s_data_is_listed_by_whose_it_is() {
        let found = found(fake());

        assert_eq!(found, [Ok((VENDOR, 6)), Ok((0x1234, 2))]);
    }

    /// §4.1.4.8.2
    ///
    /// Clauses: drv:pci/pci-device-layout/vendor-data-capability:2
    #[test]
    fn data_is_interpreted_and_written_by_those_who_name_its_vendor_and_nobody_else() {
        let platform = fake().plug();
        let function = Function::read(&platform, AT).unwrap();
        let mut bytes = [0; 4];
        platform.take_log();

        for found in vendor_data(&platform, &function) {
            if let Some(data) = found.unwrap().of(VENDOR) {
                data.read(1, &mut bytes).unwrap();
                data.write32(2, 0xdead_beef).unwrap();
            }
        }

        let value = 0xdead_beef;
        let at = config_space(AT) + FREE as u64 + 8;
        let writes = platform.take_log().into_iter().filter(Access::is_write);
        assert_eq!(bytes, [2, 3, 4, 5]);
        assert_eq!(
            writes.collect::<Vec<_>>(),
            [Access::Write {
                at,
                width: 4,
                value
            }]
        );
    }

    #[test]
    fn bytes_that_are_not_of_the_data_are_neither_read_nor_written() {
        let platform = fake().plug();
        let function = Function::read(&platform, AT).unwrap();
        let first = vendor_data(&platform, &function).next().unwrap().unwrap();
        let data = first.of(VENDOR).unwrap();
        platform.take_log();

        let range = |offset, len| Err(TransportError::Range { offset, len });
        assert_eq!(data.read(3, &mut [0; 4]), range(3, 4));
        assert_eq!(data.read(usize::MAX, &mut [0; 4]), range(usize::MAX, 4));
        assert_eq!(data.write32(0, 0), range(0, 4));
        assert_eq!(data.write32(6, 0), range(6, 4));
        assert_eq!(platform.take_log(), []);
    }

    #[test]
    fn data_that_cannot_be_is_passed_over_and_a_list_that_cannot_be_is_told() {
        let mut short = fake();
        short.put(FREE + 2, &[5]);
        let mut long = fake();
        long.put(FREE + 1, &[0, 255]);
        let mut looping = fake();
        looping.put(FREE + 13, &[FREE as u8]);

        let others = Ok((0x1234, 2));
        assert_eq!(found(short), [others]);
        assert_eq!(found(long), []);
        let looped = Err(Violation::Capability("list has a loop"));
        assert_eq!(found(looping), [Ok((VENDOR, 6)), others, looped]);
    }
}
