//! Administration queues, brought up with the others of a device whose driver asked for them.
//!
//! Spec: VIRTIO 1.4 §2.13 "Administration Virtqueues".

use alloc::vec::Vec;

use super::link::Link;
use crate::admin::{QUEUE_OPTIONS, QUEUES_MAX, Unstarted};
use crate::dma::Pending;
use crate::error::{Error, Result, Violation};
use crate::transport::{AdminQueues, Transport};

impl<T: Transport> Link<T> {
    /// Prepares as many as are wanted and there are, which may be none.
    pub(super) fn administration(&mut self) -> Result<Vec<Unstarted<T::Platform>>> {
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let Some(queues) = transport.admin_queues()? else {
            return Ok(Vec::new());
        };
        let AdminQueues {
            first,
            count,
            others,
        } = queues;
        if count == 0 {
            return Ok(Vec::new());
        }
        let end = u32::from(first) + u32::from(count);
        if first < others || end > 1 << u16::BITS {
            return Err(Violation::AdminQueues { first, count }.into());
        }
        let wanted = self.administration.min(count).min(QUEUES_MAX);
        let mut admin = Vec::new();
        for index in (first..=u16::MAX).take(wanted.into()) {
            let size_max = transport.queue_size_max(index)?;
            if size_max == 0 {
                return Err(Error::NoQueue(index));
            }
            if transport.queue_enabled(index)? {
                return Err(Violation::QueueAlreadyEnabled(index).into());
            }
            admin.push(Pending::new(
                &self.core,
                index,
                size_max,
                self.dialect,
                self.features,
                &QUEUE_OPTIONS,
            )?);
        }
        Ok(admin)
    }
}
