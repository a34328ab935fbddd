//! A transport behind a pointer, as whoever holds several kinds of them has it.

use alloc::boxed::Box;
use core::fmt;

use ringway_spec::{DeviceId, Features, Status};

use super::{AdminQueues, Doorbell, Line, QueueSetup, Result, SharedMemory, Transport};
use crate::dialect::Dialect;
use crate::platform::{Message, Platform};

impl<T: Transport + ?Sized> Transport for Box<T> {
    type Platform = T::Platform;

    fn platform(&self) -> &Self::Platform {
        (**self).platform()
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn dialect(&self) -> Dialect {
        (**self).dialect()
    }

    fn device_id(&self) -> DeviceId {
        (**self).device_id()
    }

    fn vendor_id(&self) -> u32 {
        (**self).vendor_id()
    }

    fn transport_features(&self) -> Features {
        (**self).transport_features()
    }

    fn device_features(&mut self) -> Result<Features> {
        (**self).device_features()
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        (**self).set_driver_features(features)
    }

    fn status(&mut self) -> Result<Status> {
        (**self).status()
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        (**self).set_status(status)
    }

    fn config_generation(&mut self) -> Result<u32> {
        (**self).config_generation()
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        (**self).read_config(offset, into)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        (**self).write_config(offset, from)
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        (**self).queue_size_max(index)
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        (**self).queue_enabled(index)
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        (**self).enable_queue(index, setup)
    }

    fn reset_queue(&mut self, index: u16) -> Result<()> {
        (**self).reset_queue(index)
    }

    fn queue_is_reset(&mut self, index: u16) -> Result<bool> {
        (**self).queue_is_reset(index)
    }

    fn admin_queues(&mut self) -> Result<Option<AdminQueues>> {
        (**self).admin_queues()
    }

    fn doorbell(&mut self, index: u16, features: Features) -> Result<Doorbell<Self::Platform>> {
        (**self).doorbell(index, features)
    }

    fn shared_memory(&mut self, id: u8) -> Result<Option<SharedMemory>> {
        (**self).shared_memory(id)
    }

    fn messages_max(&self) -> u16 {
        (**self).messages_max()
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        (**self).set_message(vector, message)
    }

    fn use_messages(&mut self, on: bool) -> Result<()> {
        (**self).use_messages(on)
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        (**self).set_config_vector(vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        (**self).set_queue_vector(index, vector)
    }

    fn line(&self) -> Option<Line<Self::Platform>> {
        (**self).line()
    }
}

impl<P: Platform> fmt::Debug for dyn Transport<Platform = P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind {}", self.device_id(), self.name())
    }
}
