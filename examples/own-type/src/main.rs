//! Shows the thermometers at work: on the bus of a machine in this process, or, with `serve SOCKET`,
//! to whoever drives them over vhost-user.

use std::env;
use std::error::Error;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use own_type::device::{Rack, Thermometer as Device};
use own_type::driver::Thermometer;
use own_type::wire::THERMOMETER;
use ringway_driver::bus::{AnyTransport, Bus, Id, Name, Parting, Sink};
use ringway_driver::pci;
use ringway_machine::{Machine, Options, Platform};
use ringway_vhost::backend::{DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{self, EventLoop};
use ringway_vhost::eventfd::EventFd;

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(10);

type Driven = Thermometer<AnyTransport<Platform>>;

/// An operating system that has thermometers on a shelf.
#[derive(Default)]
struct Shelf(Mutex<Vec<Driven>>);

impl Sink<Platform, Driven> for Shelf {
    fn added(&self, _: Name, device: Driven) {
        self.0.lock().unwrap().push(device);
    }

    fn removed(&self, name: Name, why: Parting) {
        println!("{name}: {why:?}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let rack = Rack::default();
    for millikelvin in [290_000, 291_150] {
        rack.plug(millikelvin);
    }
    let args: Vec<_> = env::args().skip(1).collect();
    match &args[..] {
        [] => show(&rack),
        [serve, socket] if serve == "serve" => serve_at(socket.into(), rack),
        _ => Err("usage: own-type [serve SOCKET]".into()),
    }
}

fn show(rack: &Rack) -> Result<(), Box<dyn Error>> {
    let device = Box::new(Device::new(rack.clone()));
    let builder = Machine::builder().pci("rack", device, Options::default());
    let machine = builder.build()?;

    let (shelf, mut bus) = (Arc::new(Shelf::default()), Bus::new());
    let ids = [Id::of(THERMOMETER)];
    bus.register::<Driven, _>("thermometer", &ids, Arc::clone(&shelf))?;
    for device in pci::devices(&machine.platform()) {
        bus.add(Box::new(device?));
    }
    print!("{}", bus.tree());

    let mut driver = shelf.0.lock().unwrap().pop().ok_or("it was not bound")?;
    driver.ask(1)?;
    println!("{:?}", driver.answer(LIMIT)?);
    driver.set_limit(300_000)?;
    rack.set(0, 310_000);
    println!("{:?}", driver.alarm(LIMIT)?);
    Ok(bus.unregister("thermometer")?)
}

fn serve_at(socket: PathBuf, rack: Rack) -> Result<(), Box<dyn Error>> {
    let rings = EventLoop::spawn("rings", event_loop::Options::default())?;
    let (offer, loops) = (DeviceCarrier::default_offer(), vec![rings.handle()]);
    let device = Box::new(Device::new(rack));
    let carrier = DeviceCarrier::new(device, offer, loops, Arc::new(()))?;
    let mut server = Server::new(Place::Listen(socket), carrier)?;
    // Nobody signals it: until the process is ended.
    let stop = EventFd::new()?;
    Ok(server.serve(stop.as_fd())?)
}
