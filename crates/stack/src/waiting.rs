//! Waiting for packets, and for room, on any executor.

use core::task::{Context, Waker};

use ringway_driver::dma::Bytes;
use ringway_driver::platform::Platform;

use crate::Packets;

/// How often a queue is looked at again at once, when the device says that something came while interrupts
/// were asked for. A device that says so for ever would keep the executor otherwise.
const LOOKS_MAX: usize = 4;

impl<P, B, M> Packets<P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    /// As [`advance`](Self::advance), or has `cx` woken when there may be a packet, and room.
    pub fn poll_advance(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx, Self::advance)
    }

    /// Whether there is [`room`](Self::room), or has `cx` woken when there may be.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx, |packets| packets.outgoing.has_room())
    }

    /// How often an interrupt told of packets, modulo 2³². As long as that stays the same, there are none,
    /// once [`arm`](Self::arm) has said so.
    pub fn announced(&self) -> u32 {
        let receivers = self.incoming.receivers().iter();
        let counts = receivers.map(|receiver| receiver.signal().count());
        counts.fold(0, u32::wrapping_add)
    }

    /// Has interrupts tell of packets, from here on. Says whether there may be some now.
    pub fn arm(&mut self) -> bool {
        self.incoming.arm()
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut ready: impl FnMut(&mut Self) -> bool) -> bool {
        self.register(cx.waker());
        for _ in 0..LOOKS_MAX {
            if ready(self) {
                return true;
            }
            // Without room, packets that wait are nothing to wake up for.
            let full = !self.outgoing.has_room();
            let come = match full {
                true => self.outgoing.arm(),
                false => self.arm(),
            };
            if !come {
                return false;
            }
        }
        // No interrupt will come, or the device keeps us busy: let others run, and look again.
        cx.waker().wake_by_ref();
        false
    }

    fn register(&self, waker: &Waker) {
        for receiver in self.incoming.receivers() {
            receiver.signal().register(waker);
        }
        for transmitter in self.outgoing.transmitters() {
            transmitter.signal().register(waker);
        }
    }
}
