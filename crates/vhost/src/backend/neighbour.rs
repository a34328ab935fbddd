//! Where a front-end's process runs, as against this one.

use std::os::fd::AsFd;

use rustix::net::sockopt::socket_peercred;
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::event_loop::Neighbour;

/// Asks where whoever is at the other end of `socket` may run. It cannot be asked of everybody, and
/// of other threads than the first it is a guess.
pub(super) fn neighbour(socket: impl AsFd) -> Neighbour {
    let peer = socket_peercred(socket).map(|peer| peer.pid);
    let theirs = peer.and_then(|pid| sched_getaffinity(Some(pid)));
    match (sched_getaffinity(None), theirs) {
        (Ok(ours), Ok(theirs)) if goes_beyond(&theirs, &ours) => Neighbour::Elsewhere,
        _ => Neighbour::Unknown,
    }
}

/// Whether `theirs` has a processor that `ours` has not.
fn goes_beyond(theirs: &CpuSet, ours: &CpuSet) -> bool {
    (0..CpuSet::MAX_CPU).any(|number| theirs.is_set(number) && !ours.is_set(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::net::UnixStream;

    fn set(numbers: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        numbers.iter().for_each(|&number| set.set(number));
        set
    }

    #[test]
    fn a_front_end_is_elsewhere_if_it_may_use_a_processor_that_we_may_not() {
        assert!(goes_beyond(&set(&[1]), &set(&[0])));
        assert!(goes_beyond(&set(&[0, 1]), &set(&[0])));
        assert!(!goes_beyond(&set(&[0]), &set(&[0])));
        assert!(!goes_beyond(&set(&[1]), &set(&[0, 1])));
    }

    #[test]
    fn of_a_front_end_in_this_process_nothing_is_known() {
        let (socket, _peer) = UnixStream::pair().unwrap();

        assert_eq!(neighbour(&socket), Neighbour::Unknown);
    }
}
