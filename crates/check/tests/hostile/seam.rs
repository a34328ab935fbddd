//! Between any two reads of the end that is tried, where the peer acts and reads are counted: if the
//! rings were built for it (`--cfg ringway_interpose`), else between its calls only.

/// Whether the rings were built for it.
pub(crate) const INTERPOSED: bool = cfg!(ringway_interpose);

#[cfg(ringway_interpose)]
pub(crate) use interposed::Seam;
#[cfg(not(ringway_interpose))]
pub(crate) use plain::Seam;

#[cfg(ringway_interpose)]
mod interposed {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use ringway_ring::interpose;

    pub(crate) struct Seam {
        state: Rc<State>,
        /// No place is read twice in one call. (A chain that loops, and ends in a violation, is.)
        once: bool,
    }

    #[derive(Default)]
    struct State {
        open: Cell<bool>,
        calm: Cell<bool>,
        loads: RefCell<Vec<usize>>,
    }

    impl Seam {
        /// Has `act` called before each read of the calls to come, of which none reads the same place
        /// twice if the peer is `honest`.
        pub(crate) fn new(honest: bool, mut act: impl FnMut() + 'static) -> Self {
            let state = Rc::<State>::default();
            let seam = Self {
                state: state.clone(),
                once: honest,
            };
            interpose::set(Some(Box::new(move |at| {
                if state.open.get() {
                    state.loads.borrow_mut().push(at);
                    if !state.calm.get() {
                        act();
                    }
                }
            })));
            seam
        }

        /// The peer no longer acts.
        pub(crate) fn calm(&self) {
            self.state.calm.set(true);
        }

        /// Makes a call that is to read shared memory `limit` times at most.
        pub(crate) fn during<T>(&self, limit: usize, call: impl FnOnce() -> T) -> T {
            self.state.loads.borrow_mut().clear();
            self.state.open.set(true);
            let result = call();
            self.state.open.set(false);
            let mut loads = self.state.loads.borrow_mut();
            let count = loads.len();
            assert!(count <= limit, "{count} reads, where {limit} are the most");
            loads.sort_unstable();
            loads.dedup();
            assert!(!self.once || loads.len() == count, "a place was read twice");
            result
        }
    }

    impl Drop for Seam {
        fn drop(&mut self) {
            interpose::set(None);
        }
    }
}

#[cfg(not(ringway_interpose))]
mod plain {
    pub(crate) struct Seam;

    impl Seam {
        pub(crate) fn new(_honest: bool, _act: impl FnMut() + 'static) -> Self {
            Self
        }

        pub(crate) fn calm(&self) {}

        pub(crate) fn during<T>(&self, _limit: usize, call: impl FnOnce() -> T) -> T {
            call()
        }
    }
}
