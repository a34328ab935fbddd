//! What is on a bus, as a value that can be looked at and printed.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use ringway_spec::{Features, Modalias, Status};

use super::{Bus, Id, Name};
use crate::bringup::{Interrupts, QueueState};
use crate::error::Error;
use crate::interrupt::{QueueName, VectorName};
use crate::platform::Platform;

/// What is on a bus at a moment: what `/sys/bus/virtio` is on Linux. Displays as a tree of
/// directories, with one line for each file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The devices, by their number.
    pub devices: Vec<DeviceNode>,
    /// The drivers, in the order in which they are tried.
    pub drivers: Vec<DriverNode>,
}

/// A device of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceNode {
    /// What it is called.
    pub name: Name,
    /// Its type and its vendor.
    pub modalias: Modalias,
    /// How it is reached.
    pub transport: &'static str,
    /// Its status (§2.1), if it can be reached.
    pub status: Option<Status>,
    /// What it offers, if it can be reached.
    pub offered: Option<Features>,
    /// What it and its driver agreed to.
    pub features: Features,
    /// How its interrupts arrive, if it has a driver.
    pub interrupts: Option<Interrupts>,
    /// The queues that its driver has started.
    pub queues: Vec<QueueNode>,
    /// Its driver, if it has one.
    pub driver: Option<&'static str>,
    /// What went wrong with it last, since it was last bound.
    pub error: Option<Error>,
    /// Whether it is suspended.
    pub suspended: bool,
    /// How often it was begun again because it asked for that.
    pub recoveries: u32,
}

/// A queue of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueNode {
    /// Which one.
    pub index: u16,
    /// What it is called.
    pub name: QueueName,
    /// How many descriptors its ring has.
    pub size: u16,
    /// The message that it sends, if it sends any.
    pub vector: Option<u16>,
    /// What that is called.
    pub interrupt: Option<VectorName>,
}

/// A driver of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverNode {
    /// What it is called.
    pub name: &'static str,
    /// What it is for.
    pub ids: Box<[Id]>,
    /// The devices that it has.
    pub devices: Vec<Name>,
}

/// Features as Linux prints them: one digit for each bit, bit 0 first. 64 of them, or 128 if there
/// are features so high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureString(pub Features);

impl<P: Platform> Bus<P> {
    /// What is on the bus. Devices are asked for their status and their features.
    pub fn tree(&mut self) -> Tree {
        let (devices, mut rest) = self.parts();
        let devices = devices.values_mut().map(|device| {
            device.notice(&mut rest);
            let read = device
                .lender
                .with(|device| Ok((device.status()?, device.device_features()?)));
            let (status, offered) = read.ok().unzip();
            DeviceNode {
                name: device.name,
                modalias: device.modalias,
                transport: device.transport,
                status,
                offered,
                features: device.lender.features(),
                interrupts: device.lender.interrupts(),
                queues: device.lender.queues().iter().map(QueueNode::from).collect(),
                driver: device.driver(),
                error: device.error,
                suspended: device.asleep.is_some(),
                recoveries: device.recoveries,
            }
        });
        let devices: Vec<_> = devices.collect();
        let drivers = self.drivers.iter().map(|driver| {
            let has = |device: &&DeviceNode| device.driver == Some(driver.name);
            DriverNode {
                name: driver.name,
                ids: driver.ids.clone(),
                devices: devices
                    .iter()
                    .filter(has)
                    .map(|device| device.name)
                    .collect(),
            }
        });
        Tree {
            drivers: drivers.collect(),
            devices,
        }
    }
}

impl From<&QueueState> for QueueNode {
    fn from(queue: &QueueState) -> Self {
        Self {
            index: queue.index,
            name: queue.name,
            size: queue.size,
            vector: queue.vector,
            interrupt: queue.interrupt,
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "devices/")?;
        self.devices.iter().try_for_each(|device| device.fmt(f))?;
        writeln!(f, "drivers/")?;
        self.drivers.iter().try_for_each(|driver| driver.fmt(f))
    }
}

impl fmt::Display for DeviceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}/", self.name)?;
        writeln!(f, "    device     {:#06x}", self.modalias.device.0)?;
        writeln!(f, "    vendor     {:#06x}", self.modalias.vendor)?;
        match self.status {
            Some(status) => writeln!(f, "    status     {:#010x}", status.bits())?,
            None => writeln!(f, "    status     unknown")?,
        }
        writeln!(f, "    modalias   {}", self.modalias)?;
        writeln!(f, "    features   {}", FeatureString(self.features))?;
        let mut names = self.features.names(self.modalias.device);
        names.try_for_each(|name| writeln!(f, "               {name}"))?;
        writeln!(f, "    transport  {}", self.transport)?;
        if let Some(interrupts) = self.interrupts {
            writeln!(f, "    interrupts {interrupts}")?;
        }
        for queue in &self.queues {
            let QueueNode {
                index, name, size, ..
            } = queue;
            write!(f, "    queue {index:<4} {name}, size {size}")?;
            if let Some((vector, interrupt)) = queue.vector.zip(queue.interrupt) {
                write!(f, ", vector {vector}, {interrupt}")?;
            }
            writeln!(f)?;
        }
        if let Some(driver) = self.driver {
            writeln!(f, "    driver     {driver}")?;
        }
        if let Some(error) = self.error {
            writeln!(f, "    error      {error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DriverNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}/", self.name)?;
        for id in &self.ids {
            writeln!(f, "    id         {id}")?;
        }
        for device in &self.devices {
            writeln!(f, "    device     {device}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FeatureString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Features(bits) = self.0;
        let digits = if bits >> 64 == 0 { 64 } else { 128 };
        (0..digits).try_for_each(|bit| f.write_str(if bits >> bit & 1 == 0 { "0" } else { "1" }))
    }
}
