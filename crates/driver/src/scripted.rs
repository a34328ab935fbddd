//! A device for tests that does what it is told, wrong things among them, behind a transport
//! without registers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec;
use std::vec::Vec;

use ringway_ring::device;
use ringway_spec::{DeviceId, F, Features, InterruptStatus, Status};

use crate::dialect::Dialect;
use crate::error::TransportError;
use crate::platform::{Message, Platform, Trust};
use crate::testing::{Access, TestPlatform};
use crate::transport::{
    AdminQueues, Cause, Doorbell, DoorbellValue, Line, QueueSetup, Result, Transport,
};

/// Where the doorbells and the interrupt registers of all scripted devices are.
pub(crate) const REGISTERS: u64 = 0xd000_0000;
/// Where the interrupt registers are.
const ISR: u64 = REGISTERS + 0x100;
/// The line that the device raises.
pub(crate) const LINE: u32 = 11;

/// What the device is and does. Tests change it at will.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) id: DeviceId,
    pub(crate) dialect: Dialect,
    pub(crate) offered: Features,
    pub(crate) accepted: Features,
    pub(crate) config: Vec<u8>,
    pub(crate) queue_size_max: u16,
    /// Where it says that it has administration queues.
    pub(crate) admin: Option<AdminQueues>,
    pub(crate) messages_max: u16,
    /// Vectors that the device says it can use.
    pub(crate) vectors_agreed: u16,
    pub(crate) has_line: bool,
    /// Whether `FEATURES_OK` stays set.
    pub(crate) likes_features: bool,
    /// How often the status is read before a reset shows; `None` if it never does.
    pub(crate) reset_takes: Option<u32>,
    /// Reads of the generation after which it stands still.
    pub(crate) generation_changes: u32,
    /// Reads of the configuration after which it stands still.
    pub(crate) config_changes: u32,
    /// How often a queue that is reset alone is looked at before that shows; `None` if it never
    /// does.
    pub(crate) queue_reset_takes: Option<u32>,
    /// Whether queues let themselves be enabled.
    pub(crate) enables_queues: bool,
    /// Whether it asks for a reset as soon as it is live.
    pub(crate) needs_reset_at_once: bool,
    /// Whether it does what `SUSPEND` asks for.
    pub(crate) suspends: bool,
    pub(crate) status: Status,
    pub(crate) statuses_written: Vec<Status>,
    /// The status whenever the driver wrote the features that it accepts.
    pub(crate) accepted_at: Vec<Status>,
    /// The status whenever it wrote configuration.
    pub(crate) config_written_at: Vec<Status>,
    pub(crate) queues: BTreeMap<u16, QueueSetup>,
    pub(crate) messages: BTreeMap<u16, Message>,
    pub(crate) config_vector: Option<u16>,
    pub(crate) queue_vectors: BTreeMap<u16, u16>,
    pub(crate) uses_messages: bool,
    generation: u32,
    resetting: Option<u32>,
    queue_resetting: Option<u32>,
}

/// The test's hold on a device.
#[derive(Clone, Debug)]
pub(crate) struct Scripted {
    pub(crate) platform: TestPlatform,
    script: Arc<Mutex<Script>>,
}

impl Scripted {
    pub(crate) fn new(trust: Trust, id: DeviceId, offered: Features, config: Vec<u8>) -> Self {
        let platform = TestPlatform::new(trust);
        platform.place(REGISTERS, vec![0; 0x200], |bytes, access| {
            // The interrupt status is cleared by being read.
            if let Access::Read { at: 0x100, .. } = access {
                bytes[0x100] = 0;
            }
        });
        let script = Script {
            id,
            dialect: Dialect::Modern,
            offered: offered | F::VERSION_1,
            accepted: Features::NONE,
            config,
            queue_size_max: 16,
            admin: None,
            messages_max: 0,
            vectors_agreed: u16::MAX,
            has_line: true,
            likes_features: true,
            reset_takes: Some(0),
            generation_changes: 0,
            config_changes: 0,
            queue_reset_takes: Some(0),
            enables_queues: true,
            needs_reset_at_once: false,
            suspends: true,
            status: Status::empty(),
            statuses_written: Vec::new(),
            accepted_at: Vec::new(),
            config_written_at: Vec::new(),
            queues: BTreeMap::new(),
            messages: BTreeMap::new(),
            config_vector: None,
            queue_vectors: BTreeMap::new(),
            uses_messages: false,
            generation: 0,
            resetting: None,
            queue_resetting: None,
        };
        Self {
            platform,
            script: Arc::new(Mutex::new(script)),
        }
    }

    /// What the device is and does.
    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// The device's end of queue `index`, at its start.
    pub(crate) fn queue(&self, index: u16) -> device::Queue {
        let script = self.script();
        let setup = script.queues[&index];
        let map = self.platform.device_map();
        device::Queue::new(&map, setup.size, setup.areas, script.accepted, 0).unwrap()
    }

    /// Completes the next chain of `queue`: `written` bytes, all of them `byte`.
    pub(crate) fn complete(&self, queue: &mut device::Queue, byte: u8, written: u32) {
        let map = self.platform.device_map();
        let mut batch = queue.batch(&map);
        let chain = batch.next_chain().unwrap().expect("a chain was submitted");
        batch
            .writable(&chain)
            .write(&vec![byte; written as usize])
            .unwrap();
        batch.complete(chain, written);
    }

    /// Raises the line, for `causes`.
    pub(crate) fn raise(&self, causes: InterruptStatus) -> bool {
        self.platform.poke(ISR, &[causes.bits()]);
        self.platform.raise(LINE)
    }

    /// How often the cause of an interrupt was read since this, or [`kicks`](Self::kicks), was last
    /// asked.
    pub(crate) fn causes_read(&self) -> usize {
        let log = self.platform.take_log();
        let reads = log.iter().filter(|access| !access.is_write());
        reads.filter(|access| access.at() == ISR).count()
    }

    /// How often a doorbell was rung since this was last asked.
    pub(crate) fn kicks(&self) -> usize {
        let log = self.platform.take_log();
        log.iter()
            .filter(|access| access.is_write() && access.at() < ISR)
            .count()
    }
}

impl Transport for Scripted {
    type Platform = TestPlatform;

    fn platform(&self) -> &TestPlatform {
        &self.platform
    }

    fn name(&self) -> &'static str {
        "scripted"
    }

    fn dialect(&self) -> Dialect {
        self.script().dialect
    }

    fn device_id(&self) -> DeviceId {
        self.script().id
    }

    fn vendor_id(&self) -> u32 {
        0
    }

    fn transport_features(&self) -> Features {
        F::NOTIFICATION_DATA | F::RING_RESET | F::ADMIN_VQ
    }

    fn device_features(&mut self) -> Result<Features> {
        Ok(self.script().offered)
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        let mut script = self.script();
        let status = script.status;
        script.accepted_at.push(status);
        script.accepted = features;
        Ok(())
    }

    fn status(&mut self) -> Result<Status> {
        let mut script = self.script();
        match script.resetting {
            Some(0) => {
                script.resetting = None;
                script.status = Status::empty();
                script.queues.clear();
            }
            Some(reads) => script.resetting = Some(reads - 1),
            None => {}
        }
        Ok(script.status)
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        let mut script = self.script();
        script.statuses_written.push(status);
        if status.is_empty() {
            script.resetting = script.reset_takes;
            return Ok(());
        }
        let before = script.status;
        script.status = status;
        if status.contains(Status::SUSPEND | Status::DRIVER_OK) && script.suspends {
            let goes_on = before.contains(Status::SUSPEND);
            script.status.set(Status::SUSPEND, !goes_on);
            script.status.set(Status::DRIVER_OK, goes_on);
        }
        if !script.likes_features {
            script.status.remove(Status::FEATURES_OK);
        }
        if script.needs_reset_at_once && status.contains(Status::DRIVER_OK) {
            script.status |= Status::NEEDS_RESET;
            drop(script);
            self.raise(InterruptStatus::CONFIG_CHANGE);
        }
        Ok(())
    }

    fn config_generation(&mut self) -> Result<u32> {
        let mut script = self.script();
        if script.generation_changes != 0 {
            script.generation_changes -= 1;
            script.generation += 1;
        }
        Ok(script.generation)
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        let out_of_range = TransportError::Range {
            offset,
            len: into.len(),
        };
        let mut script = self.script();
        if script.config_changes != 0 {
            script.config_changes -= 1;
            script.config.iter_mut().for_each(|byte| *byte ^= 0xff);
        }
        let from = script
            .config
            .get(offset..offset + into.len())
            .ok_or(out_of_range)?;
        into.copy_from_slice(from);
        Ok(())
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let mut script = self.script();
        let status = script.status;
        script.config_written_at.push(status);
        script.config[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        let script = self.script();
        let is_admin = script.admin.is_some_and(|queues| {
            let place = index.checked_sub(queues.first);
            place.is_some_and(|place| place < queues.count)
        });
        Ok(match index < 3 || is_admin {
            true => script.queue_size_max,
            false => 0,
        })
    }

    fn admin_queues(&mut self) -> Result<Option<AdminQueues>> {
        let script = self.script();
        let agreed = script.accepted.contains(F::ADMIN_VQ);
        Ok(script.admin.filter(|_| agreed))
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        Ok(self.script().queues.contains_key(&index))
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        let mut script = self.script();
        if script.enables_queues {
            script.queues.insert(index, *setup);
        }
        Ok(())
    }

    fn reset_queue(&mut self, index: u16) -> Result<()> {
        let mut script = self.script();
        script.queue_vectors.remove(&index);
        script.queue_resetting = script.queue_reset_takes;
        Ok(())
    }

    fn queue_is_reset(&mut self, index: u16) -> Result<bool> {
        let mut script = self.script();
        match script.queue_resetting {
            Some(0) => {
                script.queue_resetting = None;
                script.queues.remove(&index);
            }
            Some(looks) => script.queue_resetting = Some(looks - 1),
            None => {}
        }
        Ok(!script.queues.contains_key(&index))
    }

    fn doorbell(&mut self, index: u16, features: Features) -> Result<Doorbell<TestPlatform>> {
        let at = REGISTERS + u64::from(index) * 4;
        let registers = self.platform.registers(at, 4).unwrap();
        let value = if features.contains(F::NOTIFICATION_DATA) {
            DoorbellValue::WithData(index)
        } else {
            DoorbellValue::Bits16(index)
        };
        Doorbell::new(registers, value)
    }

    fn messages_max(&self) -> u16 {
        self.script().messages_max
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        let mut script = self.script();
        match message {
            Some(message) => script.messages.insert(vector, message),
            None => script.messages.remove(&vector),
        };
        Ok(())
    }

    fn use_messages(&mut self, on: bool) -> Result<()> {
        self.script().uses_messages = on;
        Ok(())
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        let mut script = self.script();
        script.config_vector = vector.filter(|vector| *vector < script.vectors_agreed);
        Ok(script.config_vector == vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        let mut script = self.script();
        let agreed = vector.filter(|vector| *vector < script.vectors_agreed);
        match agreed {
            Some(vector) => script.queue_vectors.insert(index, vector),
            None => script.queue_vectors.remove(&index),
        };
        Ok(agreed == vector)
    }

    fn line(&self) -> Option<Line<TestPlatform>> {
        let registers = self.platform.registers(ISR, 1).unwrap();
        let line = Line {
            number: LINE,
            cause: Cause::ReadClears(registers),
        };
        self.script().has_line.then_some(line)
    }
}
