//! A function as a member of a group: what its owner does with it beside its registers.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.12.1.1 "Legacy Interfaces".

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::task::Poll;

use ringway_spec::admin::{GRANULE, NotifyInfo, NotifyInfoFlags};
use ringway_spec::config;

use super::{Function, header, parts};
use crate::admin::{Failure, Inadmissible, LegacyPlace, Member, Mode, Part};

impl Member for Function {
    fn set_mode(&self, mode: Mode) -> Poll<Result<(), Inadmissible>> {
        self.front.set_mode(mode)
    }

    fn parts(&self) -> Poll<Vec<Part>> {
        let front = &self.front;
        front
            .portrait()
            .map(|portrait| parts::take_apart(front, &portrait))
    }

    fn parts_bytes_max(&self) -> u32 {
        parts::bytes_max(self.front.queues())
    }

    fn set_parts(&self, bytes: &[u8]) -> Poll<Result<(), Inadmissible>> {
        let front = &self.front;
        let mut vectors = Vec::new();
        let set = front.redraw(|portrait, given| {
            parts::put_together(front, portrait, &mut vectors, given, bytes)
        });
        set.map_ok(|()| {
            for (of, vector) in vectors {
                match of {
                    None => front.interrupts().set_config_vector(vector),
                    Some(index) => front.interrupts().set_queue_vector(index, vector),
                }
            }
        })
    }

    fn legacy_write(&self, place: LegacyPlace, offset: u8, from: &[u8]) -> Result<(), Failure> {
        let at = usize::from(offset);
        let len = self.legacy_access(place, at, from.len())?;
        let from = from.get(..len).unwrap_or_default();
        match place {
            LegacyPlace::Common => self.write_legacy(at, from),
            LegacyPlace::Device => self.front.write_config_legacy(at, from),
        }
        Ok(())
    }

    fn legacy_read(&self, place: LegacyPlace, offset: u8, len: usize) -> Result<Vec<u8>, Failure> {
        let at = usize::from(offset);
        let mut into = vec![0; self.legacy_access(place, at, len)?];
        match place {
            LegacyPlace::Common => self.read_legacy(at, &mut into),
            LegacyPlace::Device => self.front.read_config(at, &mut into),
        }
        Ok(into)
    }

    fn legacy_notify(&self) -> Option<NotifyInfo> {
        let place = &self.layout.modern.as_ref()?.legacy_kick;
        // The first is not one that could be named (§2.12.1.1.5).
        (place.bar != 0).then_some(NotifyInfo {
            flags: NotifyInfoFlags::MEMBER,
            bar: place.bar,
            padding: [0; 6],
            offset: u64::from(place.offset).into(),
        })
    }
}

impl Function {
    /// How many bytes an access at `at` has that comes in a command with `len`: all of them, or, if
    /// the command was filled up (§2.13.2), those of the field that are left.
    fn legacy_access(&self, place: LegacyPlace, at: usize, len: usize) -> Result<usize, Failure> {
        let field = match place {
            LegacyPlace::Common => header::extent(at, self.front.interrupts().msix()),
            LegacyPlace::Device => self.config_field(at),
        };
        let left = field.map_or(0, |field| field.end.saturating_sub(at));
        let filled_up = len.is_multiple_of(GRANULE);
        match len {
            0 => Err(Failure::InvalidField),
            _ if len <= left => Ok(len),
            _ if filled_up && left != 0 => Ok(left),
            _ => Err(Failure::InvalidField),
        }
    }

    /// The field of configuration space that byte `at` is in. Of a type whose fields are not known
    /// here, one that is aligned to its size.
    fn config_field(&self, at: usize) -> Option<Range<usize>> {
        let fields = config::fields(self.front.id());
        let known = fields.iter().map(|field| {
            let end = field.offset.saturating_add(field.len);
            field.offset..end
        });
        let aligned = 1 << at.trailing_zeros().min(3);
        let field = match fields {
            [] => at..at.saturating_add(aligned),
            _ => known.into_iter().find(|field| field.contains(&at))?,
        };
        (field.end <= self.front.config_bytes()).then_some(field)
    }
}
