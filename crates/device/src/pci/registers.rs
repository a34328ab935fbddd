//! The registers in a function's BARs: what each structure's are, and what writing them does.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

use ringway_spec::pci;

use super::common::{self, Field};
use super::layout::{Modern, NOTIFY_MULTIPLIER};
use super::{Function, header};
use crate::front::{Register, load, store};
use crate::model::SharedRegion;

impl Function {
    /// Reads what capabilities locate, if it is there. Says whether it is.
    pub(super) fn read_modern(
        &self,
        modern: &Modern,
        (bar, offset): (u8, u64),
        into: &mut [u8],
    ) -> bool {
        if let Some(at) = modern.common.find(bar, offset, into.len()) {
            if let Some(field) = common::field(at, into.len()) {
                store(self.read_common(field), into);
            }
        } else if modern.isr.find(bar, offset, into.len()).is_some() {
            self.read_isr(into);
        } else if let Some(at) = modern.device.find(bar, offset, into.len()) {
            self.front.read_config(at, into);
        } else if let Some((region, at)) = self.region(modern, (bar, offset), into.len()) {
            // It is within: the region found it.
            let _ = region.memory.view().read(at, into);
        } else {
            return false;
        }
        true
    }

    /// Writes what capabilities locate, if it is there. Says whether it is.
    pub(super) fn write_modern(
        &self,
        modern: &Modern,
        (bar, offset): (u8, u64),
        from: &[u8],
    ) -> bool {
        // First what a driver does all the time.
        if let Some(at) = modern.notify.find(bar, offset, from.len()) {
            self.notify(at, from);
        } else if let Some(at) = modern.common.find(bar, offset, from.len()) {
            if let Some(field) = common::field(at, from.len()) {
                self.write_common(field, load(from));
            }
        } else if let Some(at) = modern.device.find(bar, offset, from.len()) {
            self.front.write_config(at, from);
        } else if let Some((region, at)) = self.region(modern, (bar, offset), from.len()) {
            // It is within: the region found it.
            let _ = region.memory.view().write(at, from);
        } else if modern.legacy_kick.find(bar, offset, from.len()) == Some(0) && from.len() == 2 {
            self.front.kick_legacy(load(from) as u16);
        } else {
            return false;
        }
        true
    }

    /// The shared memory region that has all of the `len` bytes there, and where in it.
    fn region(
        &self,
        modern: &Modern,
        (bar, offset): (u8, u64),
        len: usize,
    ) -> Option<(&SharedRegion, usize)> {
        let mut places = modern.shared.iter().zip(self.front.regions());
        places.find_map(|(place, region)| Some((region, place.find(bar, offset, len)?)))
    }

    pub(super) fn read_legacy(&self, at: usize, into: &mut [u8]) {
        let vectors = self.front.interrupts();
        let Some(field) = header::field(at, into.len(), vectors.msix()) else {
            return;
        };
        let value = match field {
            header::Field::Front(register) => self.front.read_legacy(register),
            header::Field::Common(register) => self.front.read(register),
            header::Field::IsrStatus => return self.read_isr(into),
            header::Field::ConfigVector => vectors.config_vector().into(),
            header::Field::QueueVector => self.selected_vector().into(),
            header::Field::Config(offset) => return self.front.read_config(offset, into),
            header::Field::QueueNotify => 0,
        };
        store(value, into);
    }

    pub(super) fn write_legacy(&self, at: usize, from: &[u8]) {
        let vectors = self.front.interrupts();
        let value = load(from);
        match header::field(at, from.len(), vectors.msix()) {
            Some(header::Field::QueueNotify) => self.front.kick_legacy(value as u16),
            Some(header::Field::Front(register)) => self.front.write_legacy(register, value),
            Some(header::Field::Common(register)) => self.front.write(register, value),
            Some(header::Field::ConfigVector) => vectors.set_config_vector(value as u16),
            Some(header::Field::QueueVector) => self.set_selected_vector(value as u16),
            Some(header::Field::Config(offset)) => self.front.write_config_legacy(offset, from),
            Some(header::Field::IsrStatus) | None => {}
        }
    }

    /// Reads the causes of the pin, which are then none: both interfaces have the same (§4.1.4.5).
    fn read_isr(&self, into: &mut [u8]) {
        let causes = self.front.interrupts().pin().take();
        store(causes.bits().into(), into);
    }

    fn selected_vector(&self) -> u16 {
        let selected = self.front.selected();
        selected.map_or(pci::NO_VECTOR, |index| {
            self.front.interrupts().queue_vector(index)
        })
    }

    fn set_selected_vector(&self, vector: u16) {
        if let Some(index) = self.front.selected() {
            self.front.interrupts().set_queue_vector(index, vector);
        }
    }

    /// The address says which queue is meant; the value must name it, in 16 bits, or in the low
    /// half of 32 where kicks have data (§4.1.5.2.1).
    fn notify(&self, at: usize, from: &[u8]) {
        // Below 2¹⁶: there are no more queues.
        let index = (at as u32 / NOTIFY_MULTIPLIER) as u16;
        let format = self.front.kick_format();
        let width = if format.with_data { 4 } else { 2 };
        let whole = (at as u32).is_multiple_of(NOTIFY_MULTIPLIER) && from.len() == width;
        if whole && load(from) as u16 == format.name(index) {
            self.front.kick(index);
        }
    }

    fn read_common(&self, field: Field) -> u32 {
        let vectors = self.front.interrupts();
        match field {
            Field::Front(register) => self.front.read(register),
            Field::NumQueues => self.front.own_queues().into(),
            Field::ConfigVector => vectors.config_vector().into(),
            Field::QueueVector => self.selected_vector().into(),
            Field::QueueNotifyOff => self.front.selected().unwrap_or(0).into(),
            Field::QueueNotifyData => self.front.selected_kick_name().into(),
            Field::AdminQueueIndex => self.front.admin_queues().0.into(),
            Field::AdminQueueNum => self.front.admin_queues().1.into(),
        }
    }

    fn write_common(&self, field: Field, value: u32) {
        let vectors = self.front.interrupts();
        match field {
            // A driver may not (§4.1.4.3.2): only a reset takes a queue back.
            Field::Front(Register::QueueEnable) if value == 0 => {}
            Field::Front(register) => self.front.write(register, value),
            Field::ConfigVector => vectors.set_config_vector(value as u16),
            Field::QueueVector => self.set_selected_vector(value as u16),
            Field::NumQueues
            | Field::QueueNotifyOff
            | Field::QueueNotifyData
            | Field::AdminQueueIndex
            | Field::AdminQueueNum => {}
        }
    }
}
