//! placeholder
use super::Desk;
use crate::failure::{Failure, Result};
pub(super) fn run(_: &Desk<'_>) -> Result<Vec<String>> {
    Err(Failure::new("not yet"))
}
