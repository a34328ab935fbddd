//! Slots as a flattened device tree names them: the nodes that are compatible with `virtio,mmio`.
//!
//! ```text
//! virtio_mmio@a000000 {
//!     compatible = "virtio,mmio";
//!     reg = <0x0 0xa000000 0x0 0x200>;
//!     interrupts = <0x0 0x10 0x1>;
//! };
//! ```
//!
//! What `interrupts` says is the interrupt controller's to read, and so the platform's.

use core::fmt;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::standard::{NodeStandard, Status};
use dtoolkit::{Node, Property};

use super::Slot;

/// What the node of a slot is compatible with.
const COMPATIBLE: &str = "virtio,mmio";
/// Buses within buses that are looked into: a tree that is deeper cannot exhaust the stack.
const DEPTH_MAX: usize = 16;
/// Cells of an interrupt that are told; no controller reads more.
const CELLS_MAX: usize = 8;

/// What keeps a tree from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes are no flattened device tree of a version that is known.
    Tree,
    /// The node of a slot has no registers, or they are told in more bits than addresses have, or
    /// are not where a bus above it reaches.
    Registers,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tree => "no flattened device tree",
            Self::Registers => "a virtio,mmio node does not say where its registers are",
        })
    }
}

impl core::error::Error for Malformed {}

/// Calls `each` with every slot that the tree in `blob` names and does not disable, in its order.
///
/// `line` is told the slot's interrupt, as the cells that its interrupt controller understands, and
/// says which line that is; `None` if it is none: the device is then polled.
///
/// # Errors
///
/// [`Malformed::Tree`], once; [`Malformed::Registers`] in the place of a slot, after which the next
/// may be fine.
pub fn slots(
    blob: &[u8],
    mut line: impl FnMut(&[u32]) -> Option<u32>,
    mut each: impl FnMut(Result<Slot, Malformed>),
) {
    match Fdt::new(blob) {
        Ok(tree) => walk(&tree.root(), &Buses::None, &mut line, &mut each),
        Err(_) => each(Err(Malformed::Tree)),
    }
}

/// The buses above a node, the nearest first.
enum Buses<'b, 'a> {
    None,
    Below {
        bus: FdtNode<'a>,
        above: &'b Self,
        depth: usize,
    },
}

impl Buses<'_, '_> {
    fn depth(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Below { depth, .. } => *depth,
        }
    }

    /// Where the processor finds what the nearest of the buses has at `address`.
    fn translate(&self, address: u64, len: u64) -> Option<u64> {
        let Self::Below { bus, above, .. } = self else {
            return Some(address);
        };
        // The root's addresses are the processor's.
        if let Self::None = above {
            return Some(address);
        }
        let ranges = bus.property("ranges")?;
        if ranges.value().is_empty() {
            return above.translate(address, len);
        }
        let translated = bus.ranges().ok()??.find_map(|range| {
            let child: u64 = range.child_bus_address().ok()?;
            let parent: u64 = range.parent_bus_address().ok()?;
            let length: u64 = range.length().ok()?;
            let offset = address.checked_sub(child)?;
            let end = offset.checked_add(len)?;
            (end <= length).then(|| parent.checked_add(offset))?
        })?;
        above.translate(translated, len)
    }
}

fn walk<'a>(
    node: &FdtNode<'a>,
    above: &Buses<'_, 'a>,
    line: &mut dyn FnMut(&[u32]) -> Option<u32>,
    each: &mut dyn FnMut(Result<Slot, Malformed>),
) {
    // What is disabled has nothing below it that works.
    if !matches!(node.status(), Ok(Status::Okay)) {
        return;
    }
    let mut compatible = node.compatible().into_iter().flatten();
    if compatible.any(|with| with == COMPATIBLE) {
        return each(slot(node, above, line).ok_or(Malformed::Registers));
    }
    let depth = above.depth() + 1;
    if depth > DEPTH_MAX {
        return;
    }
    let bus = *node;
    let below = Buses::Below { bus, above, depth };
    for child in node.children() {
        walk(&child, &below, line, each);
    }
}

fn slot(
    node: &FdtNode<'_>,
    above: &Buses<'_, '_>,
    line: &mut dyn FnMut(&[u32]) -> Option<u32>,
) -> Option<Slot> {
    let registers = node.reg().ok()??.next()?;
    let address: u64 = registers.address().ok()?;
    let len: u64 = registers.size().ok()?;
    let address = above.translate(address, len)?;
    address.checked_add(len).filter(|_| len != 0)?;
    Some(Slot {
        address,
        len,
        line: interrupt(node, line),
    })
}

/// Where a node's interrupt goes.
fn interrupt(node: &FdtNode<'_>, line: &mut dyn FnMut(&[u32]) -> Option<u32>) -> Option<u32> {
    let interrupts = node.property("interrupts")?;
    let mut room = [0; CELLS_MAX];
    let cells = interrupts.value().chunks_exact(size_of::<u32>());
    let used = cells.len().min(CELLS_MAX);
    for (to, from) in room.iter_mut().zip(cells) {
        *to = u32::from_be_bytes(from.try_into().ok()?);
    }
    line(room.get(..used)?)
}

#[cfg(test)]
mod tests;
