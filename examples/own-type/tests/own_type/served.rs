//! The device in a process of its own, as vhost-user has it: its back-end, and a front-end that drives
//! it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use own_type::device::Thermometer as Device;
use own_type::driver::Thermometer;
use own_type::wire::THERMOMETER;
use ringway_driver::bus::attach;
use ringway_vhost::backend::{DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{self, EventLoop};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::frontend::{Options, Platform, Transport};

use crate::loopback::{exercise, rack};

#[test]
fn the_device_is_served_over_a_socket_and_driven_there() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("rack.sock");
    let (rack, stop) = (rack(), EventFd::new().unwrap());
    let serving = EventLoop::spawn("rings", event_loop::Options::default()).unwrap();
    let carrier = DeviceCarrier::new(
        Box::new(Device::new(rack.clone())),
        DeviceCarrier::default_offer(),
        vec![serving.handle()],
        Arc::new(()),
    );
    let mut server = Server::new(Place::Listen(socket.clone()), carrier.unwrap()).unwrap();
    let stopped = stop.try_clone().unwrap();
    let thread = thread::spawn(move || server.serve(stopped.as_fd()));
    let platform = Platform::new(&Default::default()).unwrap();
    let options = Options {
        // The protocol does not say.
        queue_size: 64,
        ..Options::new(THERMOMETER)
    };
    let transport = Transport::connect(&platform, socket, options).unwrap();

    let driver: Thermometer<_> = attach(transport).unwrap();
    exercise(driver, &rack);

    stop.signal();
    thread.join().unwrap().unwrap();
}
