//! Between any two reads of the end that is tried, where the peer acts and reads are counted: if the
//! rings were built for it (`--cfg ringway_interpose`), else between its calls only.

/// Whether the rings were built for it.
pub(crate) const INTERPOSED: bool = cfg!(ringway_interpose);

#[cfg(ringway_interpose)]
pub(crate) struct Seam {
    open: std::rc::Rc<std::cell::Cell<bool>>,
    calm: std::rc::Rc<std::cell::Cell<bool>>,
    loads: std::rc::Rc<std::cell::Cell<u64>>,
}

#[cfg(ringway_interpose)]
impl Seam {
    /// Has `act` called before each read of the calls to come.
    pub(crate) fn new(mut act: impl FnMut() + 'static) -> Self {
        let seam = Self {
            open: std::rc::Rc::default(),
            calm: std::rc::Rc::default(),
            loads: std::rc::Rc::default(),
        };
        let (open, calm) = (seam.open.clone(), seam.calm.clone());
        let loads = seam.loads.clone();
        ringway_ring::interpose::set(Some(Box::new(move || {
            if open.get() {
                loads.set(loads.get() + 1);
                if !calm.get() {
                    act();
                }
            }
        })));
        seam
    }

    /// No longer.
    pub(crate) fn calm(&self) {
        self.calm.set(true);
    }

    /// Makes a call that is to read shared memory `limit` times at most.
    pub(crate) fn during<T>(&self, limit: usize, call: impl FnOnce() -> T) -> T {
        self.loads.set(0);
        self.open.set(true);
        let result = call();
        self.open.set(false);
        let loads = self.loads.get();
        assert!(
            loads <= limit as u64,
            "{loads} reads, where {limit} are the most"
        );
        result
    }
}

#[cfg(ringway_interpose)]
impl Drop for Seam {
    fn drop(&mut self) {
        ringway_ring::interpose::set(None);
    }
}

#[cfg(not(ringway_interpose))]
pub(crate) struct Seam;

#[cfg(not(ringway_interpose))]
impl Seam {
    pub(crate) fn new(_: impl FnMut() + 'static) -> Self {
        Self
    }

    pub(crate) fn calm(&self) {}

    pub(crate) fn during<T>(&self, _: usize, call: impl FnOnce() -> T) -> T {
        call()
    }
}
