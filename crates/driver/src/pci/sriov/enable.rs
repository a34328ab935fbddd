//! Having virtual functions, and having none any more.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use ringway_spec::pci::config::{BARS, REVISION_ID, VENDOR_ID};
use ringway_spec::pci::sriov::{self, CONTROL, Control, FIRST_VF_OFFSET, NUM_VFS, VF_DEVICE_ID};

use super::agreement::{Agreement, Seen};
use super::{Capability, VirtualFunction};
use crate::error::{Error, Result, Violation, VirtualFunctionsError};
use crate::pci::bar::{Bar, Bars};
use crate::pci::config::Config;
use crate::pci::{Address, ConfigAccess, Function};
use crate::platform::Platform;

/// How long virtual functions may take until they can be asked for anything (PCI Express 5.0
/// section 9.3.3.3.1).
const ENABLED: Duration = Duration::from_millis(100);

/// How long it may take until nothing of them is left to be seen, and there can be some again (PCI
/// Express 5.0 section 9.3.3.3.1).
const DISABLED: Duration = Duration::from_secs(1);

/// The virtual functions that a physical one can have. A handle of its own: the transport of the
/// physical function goes to a driver.
///
/// Dropped, it leaves them as they are.
#[derive(Debug)]
pub struct VirtualFunctions<P> {
    platform: P,
    physical: Address,
    capability: Capability,
    seen: Arc<Seen>,
}

/// A virtual function as a member of the group that its physical one owns (§2.12): while there is
/// such a value, virtual functions are not disabled.
#[derive(Debug)]
pub struct Member {
    number: u16,
    seen: Arc<Seen>,
}

impl Member {
    /// What it is called in the group.
    pub fn id(&self) -> u64 {
        self.number.into()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.seen.members.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where virtual functions will be.
struct Places {
    ids: Vec<Address>,
    bars: [Option<Bar>; BARS as usize],
}

impl<P: Platform + ConfigAccess> VirtualFunctions<P> {
    /// Those of `physical`, by whose transport there is an agreement. None if it has none, or they
    /// were taken before.
    pub(in crate::pci) fn take(
        platform: &P,
        physical: Address,
        agreement: &mut Agreement,
    ) -> Result<Option<Self>> {
        let taken = agreement.take()?;
        Ok(taken.map(|(capability, seen)| Self {
            platform: platform.clone(),
            physical,
            capability,
            seen,
        }))
    }

    pub(super) fn platform(&self) -> &P {
        &self.platform
    }

    /// Where the physical function is.
    pub fn address(&self) -> Address {
        self.physical
    }

    /// The most there can be.
    pub fn most(&self) -> u16 {
        self.capability.initial
    }

    /// How many there are now: enabled through this handle, or by whoever had the function before.
    pub fn count(&self) -> u16 {
        match self.is_enabled() {
            true => self.read16(NUM_VFS),
            false => 0,
        }
    }

    /// Has `count` virtual functions be there, and waits until they are: a tenth of a second.
    ///
    /// Each has its device reset, and reaches no memory before it is opened.
    ///
    /// # Errors
    ///
    /// [`VirtualFunctionsError`], and nothing has changed: `SR_IOV` was never agreed on, there are
    /// some already, or not as many as that can be, or their BARs have no address
    /// ([`place`](crate::pci::place()) gives them some). [`Violation::Capability`] if they are said to
    /// be where they cannot be, or do not come.
    pub fn enable(&mut self, count: u16) -> Result<Vec<VirtualFunction>> {
        if !self.seen.agreed.load(Ordering::Acquire) {
            return Err(VirtualFunctionsError::NotAgreed.into());
        }
        if self.is_enabled() {
            return Err(VirtualFunctionsError::Enabled(self.read16(NUM_VFS)).into());
        }
        let most = self.most();
        if count == 0 || count > most {
            return Err(VirtualFunctionsError::Count { count, most }.into());
        }
        let enabled = self.enable_within(count);
        if enabled.is_err() {
            self.switch(Control::empty());
            self.write(NUM_VFS, 0);
        }
        enabled
    }

    /// Has no virtual function be there any more, and waits until nothing of them is left: a second.
    ///
    /// Their drivers find no device any more, wherever they are. Whoever has such devices on a
    /// [bus](crate::bus::Bus) removes them before, in good order, or, if there is no time for that,
    /// says afterwards that they have [gone](crate::bus::Bus::removed): they reach no memory then.
    ///
    /// # Errors
    ///
    /// [`VirtualFunctionsError::Members`] while there are [`Member`]s: nothing has changed.
    /// [`Violation::Capability`] if they stay.
    pub fn disable(&mut self) -> Result<()> {
        let members = self.seen.members.load(Ordering::Acquire);
        if members != 0 {
            return Err(VirtualFunctionsError::Members(members).into());
        }
        self.switch(Control::empty());
        self.wait(DISABLED);
        self.write(NUM_VFS, 0);
        if self.is_enabled() {
            return Err(Violation::Capability("virtual functions stay enabled").into());
        }
        Ok(())
    }

    /// Virtual function `number`, as a member of the group that the physical one owns. Commands for it
    /// are sent while there is such a value, and no virtual function is disabled meanwhile (§2.12.1.6).
    ///
    /// # Errors
    ///
    /// [`VirtualFunctionsError::NoMember`] if there is no such virtual function now, and
    /// [`VirtualFunctionsError::Migratable`] if it might go elsewhere.
    pub fn member(&self, number: u16) -> Result<Member> {
        if self.capability.can_migrate {
            return Err(VirtualFunctionsError::Migratable.into());
        }
        let count = self.count();
        if !(1..=count).contains(&number) {
            return Err(VirtualFunctionsError::NoMember { number, count }.into());
        }
        self.seen.members.fetch_add(1, Ordering::AcqRel);
        Ok(Member {
            number,
            seen: Arc::clone(&self.seen),
        })
    }

    fn enable_within(&self, count: u16) -> Result<Vec<VirtualFunction>> {
        let wrong = |what| Error::from(Violation::Capability(what));
        self.write(NUM_VFS, count.into());
        if self.read16(NUM_VFS) != count {
            return Err(wrong("the number of virtual functions is not taken"));
        }
        let places = self.places(count)?;
        let on = Control::VF_ENABLE | Control::VF_MEMORY;
        self.switch(on);
        if !self.control().contains(on) {
            return Err(wrong("virtual functions are not enabled"));
        }
        self.wait(ENABLED);
        let vendor = self.config().read16(VENDOR_ID);
        let device = self.read16(VF_DEVICE_ID);
        let found = (1..).zip(&places.ids).map(|(number, at)| {
            let function = Function::of_virtual(&self.platform, *at, vendor, device);
            let function = function.ok_or_else(|| wrong("a virtual function is not there"))?;
            Ok(VirtualFunction {
                number,
                function,
                bars: places.bars.map(|bar| bar.map(|bar| nth(bar, number))),
            })
        });
        found.collect()
    }

    /// Where `count` virtual functions will be, if they can be there.
    fn places(&self, count: u16) -> Result<Places> {
        let wrong = |what| Error::from(Violation::Capability(what));
        let physical = self.physical;
        let (offset, stride) = (self.read16(FIRST_VF_OFFSET), self.read16(sriov::VF_STRIDE));
        if stride == 0 && count > 1 {
            return Err(wrong("all virtual functions are in one place"));
        }
        let mut ids = Vec::with_capacity(count.into());
        for number in 1..=count {
            let id = sriov::routing_id(physical.routing_id(), offset, stride, number);
            let id = id.ok_or_else(|| wrong("a virtual function has no place"))?;
            let at = Address::from_routing_id(id);
            if at.bus() != physical.bus() {
                return Err(VirtualFunctionsError::OtherBus(at.bus()).into());
            }
            // A virtual function is written to: it is not to be somebody else's.
            if Config::new(&self.platform, at).read32(REVISION_ID) != u32::MAX {
                return Err(wrong("a virtual function is where another one is"));
            }
            ids.push(at);
        }
        let config = self.config();
        let unplaced = Bars::of(&config, self.capability.bars()).unplaced().next();
        if let Some((index, _)) = unplaced {
            return Err(VirtualFunctionsError::NoAddress(index).into());
        }
        let mut found = Bars::of(&config, self.capability.bars());
        let mut bars = [None; BARS as usize];
        for (index, bar) in (0..BARS).zip(&mut bars) {
            *bar = found.find(index);
            let end = bar.map(|bar| {
                let bytes = bar.size.checked_mul(count.into());
                bytes.and_then(|bytes| bar.address.checked_add(bytes))
            });
            if end == Some(None) {
                return Err(wrong("a BAR of virtual functions passes the last address"));
            }
        }
        Ok(Places { ids, bars })
    }

    fn is_enabled(&self) -> bool {
        // Where nobody answers, nothing is enabled.
        let control = self.control();
        control.contains(Control::VF_ENABLE) && control != Control::from_bits_retain(u16::MAX)
    }

    fn control(&self) -> Control {
        Control::from_bits_retain(self.read16(CONTROL))
    }

    /// Switches what is said on, and the rest off.
    fn switch(&self, on: Control) {
        // The other half is a status, whose bits are cleared by ones.
        self.write(CONTROL, on.bits().into());
    }

    /// Lets time go by.
    fn wait(&self, how_long: Duration) {
        let deadline = self.platform.now().saturating_add(how_long);
        while self.platform.now() < deadline {
            self.platform.relax();
        }
    }

    fn config(&self) -> Config<'_, P> {
        Config::new(&self.platform, self.physical)
    }

    fn read16(&self, offset: usize) -> u16 {
        let word = self.config().read_extended32(self.capability.at + offset);
        (word >> (8 * (offset & 2))) as u16
    }

    /// Writes the word that `offset`, a multiple of 4, is that of.
    fn write(&self, offset: usize, value: u32) {
        let config = self.config();
        config.write_extended32(self.capability.at + offset, value);
    }
}

/// The BAR of virtual function `number`, where `first` is that of the first.
fn nth(first: Bar, number: u16) -> Bar {
    let before = u64::from(number) - 1;
    Bar {
        // All are known to be before the last address.
        address: first.address + first.size * before,
        ..first
    }
}
