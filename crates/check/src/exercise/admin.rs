//! What is asked of a device's administration queues, where it has some.

use ringway_driver::admin::Admin;
use ringway_driver::bringup::Live;
use ringway_driver::error::{AdminError, Error, Result};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;
use ringway_spec::admin::{GroupType, Opcodes, Qualifier};

use crate::report::DeviceReport;

/// Asks the device about itself, beside the driver that has it.
pub(super) fn exercise<T: Transport>(device: &mut Live<T>, report: &mut DeviceReport) {
    if let Some(mut admin) = device.take_admin() {
        report.check("says what it has beside its queues", ask(&mut admin));
    }
}

/// Asks which commands there are for the device itself, and which capabilities it has.
fn ask<P: Platform>(admin: &mut Admin<P>) -> Result<()> {
    match admin.begin(GroupType::SELF, Opcodes::CAPABILITIES) {
        Ok(used) if used.contains(Opcodes::CAPABILITIES) => admin.capabilities().map(drop),
        Ok(_) => Ok(()),
        // It owns others, and not itself.
        Err(Error::Admin(AdminError::Failed(failure)))
            if failure.reason() == Qualifier::INVALID_GROUP =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}
