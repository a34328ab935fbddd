//! Changes of a card's link, as the bus tells them, and requests to announce oneself, which are answered.

use alloc::format;
use alloc::string::ToString;

use ringway_check::event::Event;
use ringway_check::report::DeviceReport;
use ringway_driver::bus::Name;
use ringway_driver::net::{Command, Link};

use super::station::{Finding, Look, PATIENCE, Station, words};
use super::{Bench, client};

/// Waits for `changes` of the link, tells each, and does what is asked for. Says whether the last of them
/// left the card working.
pub(super) fn watch(
    bench: &mut Bench<'_>,
    station: &mut Station,
    name: Name,
    changes: u32,
    report: &mut DeviceReport,
) -> Finding {
    let lease = client::lease(station)?;
    // What the bus says of a link that has not changed.
    bench.bus.run_pending();
    bench.shelf.changes();
    let mut last = station.net.link().map_err(words)?;
    bench.say(name, last);
    for _ in 0..changes {
        last = next(bench, station, last)?;
        bench.say(name, last);
        if last.announce {
            let answered = answer(station);
            report.check("takes an announcement as the answer", answered);
            last = station.net.link().map_err(words)?;
            bench.say(name, last);
        }
    }
    if !last.up {
        return Err("its link is down at last".into());
    }
    client::pings(station, lease.router)
}

/// Waits for the next change.
fn next(bench: &mut Bench<'_>, station: &mut Station, last: Link) -> Finding<Link> {
    station.until(PATIENCE, |_| {
        bench.bus.run_pending();
        let mut told = bench.shelf.changes().into_iter().map(|(_, link)| link);
        // A device without a generation is looked at after every interrupt.
        Ok(match told.next_back().filter(|link| *link != last) {
            Some(link) => Look::Done(link),
            None => Look::Nothing,
        })
    })
}

/// Announces itself, and says so to the card, which asks no more then.
fn answer(station: &mut Station) -> Finding {
    station.announce()?;
    station.command(&Command::Announced)?;
    let link = station.net.link().map_err(words)?;
    match link.announce {
        false => Ok(()),
        true => Err(format!("it asks again: {link:?}")),
    }
}

impl Bench<'_> {
    fn say(&mut self, name: Name, link: Link) {
        (self.sink)(Event::Link {
            device: name.to_string(),
            up: link.up,
            announce: link.announce,
        });
    }
}
