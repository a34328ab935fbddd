//! How an image is opened, and reached.

/// How an image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing can be written to it.
    ReadOnly,
    /// It can be read and written.
    ReadWrite,
}

/// How what is asked of an image reaches the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// At once, by a call, where that need not wait: for bytes that the system has in memory.
    /// Everything else goes through a ring of the kernel (`io_uring`), many requests at a time. An
    /// image in memory (tmpfs) is read as by [`Method::Mapped`].
    Adaptive,
    /// As [`Method::Blocking`]; but what is in memory is copied from there if it is much, and no call
    /// made for it, where the image is a file that can be mapped.
    Mapped,
    /// Everything goes through a ring of the kernel.
    Uring,
    /// By calls, each of which may wait, one after the other.
    Blocking,
}

/// Where what is read and written stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// In the system's memory, too, as of every file.
    #[default]
    System,
    /// Nowhere but on the medium (`O_DIRECT`).
    Direct,
}

/// Whether an image is kept from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    /// Nobody else writes to it meanwhile; and whoever can write to it has it alone. Holds among
    /// those who ask: this program, and QEMU, whose locks these are.
    #[default]
    Taken,
    /// It is as with no lock: for a machine that moves, of which both ends have the image for a
    /// moment.
    None,
}

/// How an image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// To be written to, or not.
    pub access: Access,
    /// Through the system's cache, or past it.
    pub cache: Cache,
    /// With a lock, or without.
    pub locking: Locking,
}

impl Options {
    /// Through the system's cache, with a lock.
    pub const fn new(access: Access) -> Self {
        Self {
            access,
            cache: Cache::System,
            locking: Locking::Taken,
        }
    }
}
