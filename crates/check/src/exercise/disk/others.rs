//! The request queues of a disk beside its first: each of them is waited for.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use ringway_driver::blk::Requests;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::transport::Transport;

use super::READS;
use super::session::Session;
use crate::exercise::PATIENCE;
use crate::exercise::bench::Finding;

/// Reads the first block on each of `queues` until an interrupt says that it is there.
pub(super) fn all_interrupt<T: Transport>(
    session: &mut Session<'_, '_, T>,
    queues: Vec<Requests<T::Platform, DmaBuffer>>,
) -> Finding {
    for mut requests in queues {
        let heard = interrupts(session, &mut requests);
        heard.map_err(|why| format!("queue {}: {why}", requests.index()))?;
    }
    Ok(())
}

fn interrupts<T: Transport>(
    session: &mut Session<'_, '_, T>,
    requests: &mut Requests<T::Platform, DmaBuffer>,
) -> Finding {
    let block = session.blk.disk().block_size as usize;
    // Of a message that is shared, interrupts of other queues were counted, too.
    let before = requests.counts().interrupts;
    for _ in 0..READS {
        if requests.counts().interrupts != before {
            return Ok(());
        }
        let buffer = session.buffer(block)?;
        requests
            .read(0, buffer)
            .map_err(|rejected| rejected.why.to_string())?;
        session.tally.given += 1;
        let done = requests.wait(PATIENCE).map_err(|error| error.to_string())?;
        session.tally.back += u64::from(done.buffer.is_some());
        done.result.map_err(|failure| failure.to_string())?;
    }
    Err(format!(
        "none of {READS} reads was announced by an interrupt"
    ))
}
