//! The floor: both ends by hand, for a peer that is believed in everything. No checks, no custody,
//! no choice at run time that a case does not need. What it costs is what the format itself costs.

pub(crate) mod packed;
pub(crate) mod split;
