//! A back-end that forgets what it is to write down, to judge the judges: one that does not find it
//! finds no other that forgets.
//!
//! It serves our device by our carrier, but what it writes down goes to memory that nobody else has
//! (`relay`): the log of dirty pages, or the record of what is in flight, or none of the two. Its
//! requests complete late, and some overtake others (`late`): if every third one takes longer than most
//! that are asked meanwhile, there is something to be forgotten at any moment.
//!
//! ```console
//! $ ringway-forgetful nothing 150 disk.img 2 disk.sock
//! ```

mod late;
mod relay;

use std::env;
use std::error::Error;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringway_device::blk::Blk;
use ringway_vhost::backend::{DeviceCarrier, Place, Server};
use ringway_vhost::event_loop::{EventLoop, Options};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::socket::Socket;

use late::LateDisk;
use relay::Forgets;

const USAGE: &str = "usage: ringway-forgetful nothing|log|records MILLISECONDS IMAGE QUEUES SOCKET";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [forgets, late, image, queues, socket] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let forgets = match forgets.as_str() {
        "nothing" => Forgets::Nothing,
        "log" => Forgets::Log,
        "records" => Forgets::Records,
        _ => return Err(USAGE.into()),
    };
    let late = Duration::from_millis(late.parse()?);
    let disk = Arc::new(LateDisk::open(image.as_ref(), late)?);
    let queues = queues.parse()?;
    let listener = UnixListener::bind(socket)?;
    loop {
        let (front_end, _) = listener.accept()?;
        serve(&disk, queues, forgets, &Socket::new(front_end))?;
    }
}

/// Serves a front-end until it goes.
fn serve(
    disk: &Arc<LateDisk>,
    queues: u16,
    forgets: Forgets,
    front_end: &Socket,
) -> Result<(), Box<dyn Error>> {
    let loops = (0..queues)
        .map(|number| EventLoop::spawn(&format!("rings {number}"), Options::default()))
        .collect::<Result<Vec<_>, _>>()?;
    let device = Box::new(Blk::new(disk.clone(), queues));
    let handles = loops.iter().map(EventLoop::handle).collect();
    let offer = DeviceCarrier::default_offer();
    let carrier = DeviceCarrier::new(device, offer, handles, Arc::new(()))?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut server = Server::new(Place::Descriptor(theirs.into()), carrier)?;
    thread::scope(|scope| {
        let serving = scope.spawn(move || {
            let never = EventFd::new()?;
            server.serve(std::os::fd::AsFd::as_fd(&never))
        });
        let ours = Socket::new(ours);
        let relayed = relay::relay(front_end, &ours, forgets);
        // Or the server would wait for more.
        drop(ours);
        serving.join().map_err(|_| "the server panicked")??;
        Ok(relayed?)
    })
}
