//! The bytes of a run, taken from the front. Where they end, zeros follow.

pub(crate) struct Input<'d> {
    left: &'d [u8],
}

impl<'d> Input<'d> {
    pub(crate) fn new(data: &'d [u8]) -> Self {
        Self { left: data }
    }

    /// The next step to take, as long as there are bytes: so that steps are bounded by their
    /// number.
    pub(crate) fn step(&mut self) -> Option<u8> {
        (!self.left.is_empty()).then(|| self.u8())
    }

    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let count = N.min(self.left.len());
        let (now, later) = self.left.split_at(count);
        bytes[..count].copy_from_slice(now);
        self.left = later;
        bytes
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
