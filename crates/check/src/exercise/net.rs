//! Exercises network cards, two that are joined at a time: they move bytes over TCP, both ways at once, in
//! every way that both can be driven, and every byte that comes is compared.
//!
//! Spec: VIRTIO 1.4 §5.1 "Network Device".

mod flow;
mod station;
mod ways;

use alloc::boxed::Box;
use alloc::format;
use core::time::Duration;

use ringway_spec::Features;

use super::PATIENCE;
use super::bench::{Bench, Finding, Progress};
use crate::event::Event;
use crate::report::{DeviceReport, TransferReport};
use station::Sides;
pub(super) use station::{Station, station};
use ways::{Way, ways};

/// How many bytes each of two cards sends the other, unless more or fewer are asked for.
pub const MOVED: u64 = 2 << 20;

/// Exercises two cards that are joined, and leaves both reset.
pub(super) fn exercise(
    stations: [Box<dyn Station>; 2],
    bench: &mut Bench<'_, '_>,
    reports: &mut [DeviceReport; 2],
) {
    let mut two = Two { stations, reports };
    let ways = match two.offered() {
        Ok(features) => ways(features - bench.options.without),
        Err(why) => return two.check("says what it offers", &Err(why)),
    };
    let mut wrong = Ok(());
    for way in ways {
        let transfer = two.transfer(&way, bench);
        if let Some(check) = transfer.checks.iter().find(|check| !check.ok) {
            let detail = check.detail.as_deref().unwrap_or_default();
            wrong = wrong.and(Err(format!("{way}: {}: {detail}", check.what)));
        }
        (bench.sink)(Event::Transfer(Box::new(transfer)));
    }
    two.check("moves bytes in every way", &wrong);
}

/// Two cards that are joined.
struct Two<'r> {
    stations: [Box<dyn Station>; 2],
    reports: &'r mut [DeviceReport; 2],
}

impl Two<'_> {
    /// What both offer.
    fn offered(&mut self) -> Finding<Features> {
        let [one, other] = &mut self.stations;
        Ok(one.offered()? & other.offered()?)
    }

    fn check(&mut self, what: &str, found: &Finding) {
        for report in &mut *self.reports {
            report.check(what, found.as_ref().copied());
        }
    }

    /// Moves bytes in one way of driving the cards.
    fn transfer(&mut self, way: &Way, bench: &mut Bench<'_, '_>) -> TransferReport {
        let [one, other] = &*self.reports;
        let mut transfer = TransferReport {
            devices: [one.name.clone(), other.name.clone()],
            transport: one.transport.clone(),
            offloads: way.offloads,
            ..TransferReport::default()
        };
        (bench.sink)(Event::Begin {
            device: transfer.devices.join(" and "),
            kind: one.kind.clone(),
            transport: format!("{} {way}", one.transport),
        });
        let opened = self.open(way, bench, &mut transfer);
        let is_open = opened.is_ok();
        transfer.check("comes up, and connects", opened);
        if is_open {
            let moved = self.run(bench, &mut transfer);
            transfer.check("moves every byte as it was", moved);
            transfer.check("drops no packet", no_drops(transfer.drops));
            transfer.check("uses every pair of queues", self.used());
        }
        transfer.check("lets go, and gives every buffer back", self.close());
        transfer
    }

    /// Sets both to work, and has them connected.
    fn open(
        &mut self,
        way: &Way,
        bench: &mut Bench<'_, '_>,
        transfer: &mut TransferReport,
    ) -> Finding {
        let sides = [Sides::ONE, Sides::OTHER];
        let stations = self.stations.iter_mut().zip(&mut *self.reports);
        for (sides, (station, report)) in sides.into_iter().zip(stations) {
            let (mtu, pairs) = station.open(way, sides, bench, report)?;
            transfer.mtu = mtu;
            transfer.pairs = pairs;
            transfer.ring.clone_from(&report.ring);
        }
        self.until(Station::is_connected, &mut |_| {})
    }

    /// Has both send and receive until all has come.
    fn run(&mut self, bench: &mut Bench<'_, '_>, transfer: &mut TransferReport) -> Finding {
        let bytes = bench.options.moved.unwrap_or(MOVED);
        let before = self.stations.each_mut().map(|station| station.counted());
        for station in &mut self.stations {
            station.begin(bytes);
        }
        let began = self.now();
        let mut progress = Progress::of(2 * bytes);
        let moved = self.until(Station::is_done, &mut |done| {
            bench.progress(&mut progress, done);
        });
        let took = self.now().saturating_sub(began).as_micros() as u64;
        let stations = self.stations.iter_mut().zip(&mut *self.reports);
        for ((station, report), before) in stations.zip(before) {
            let counted = station.counted().since(before);
            let received = station.received();
            report.requests += counted.sent + counted.received;
            report.bytes += received;
            report.kicks += counted.kicks;
            report.interrupts += counted.interrupts;
            report.microseconds += took;
            transfer.bytes += received;
            transfer.packets += counted.sent;
            transfer.kicks += counted.kicks;
            transfer.interrupts += counted.interrupts;
            transfer.drops += counted.drops;
        }
        transfer.microseconds = took;
        moved
    }

    /// Has both take turns until both are as they should be. Says to `progress` how many bytes have come.
    fn until(
        &mut self,
        done: impl Fn(&mut (dyn Station + 'static)) -> bool,
        progress: &mut dyn FnMut(u64),
    ) -> Finding {
        let mut deadline = self.now().saturating_add(PATIENCE);
        let mut came = 0;
        while !self
            .stations
            .iter_mut()
            .all(|station| done(station.as_mut()))
        {
            let mut any = false;
            for station in &mut self.stations {
                any |= station.turn()?;
            }
            let now: u64 = self.stations.iter().map(|station| station.received()).sum();
            if now != came {
                came = now;
                deadline = self.now().saturating_add(PATIENCE);
                progress(came);
            }
            if any {
                continue;
            }
            if self.now() >= deadline {
                return Err(format!("nothing came for {} s", PATIENCE.as_secs()));
            }
            self.stations.iter().for_each(|station| station.relax());
        }
        Ok(())
    }

    /// Whether every pair of queues carried packets, both ways.
    fn used(&mut self) -> Finding {
        let mut idle = self.stations.iter_mut().flat_map(|station| station.idle());
        match idle.next() {
            None => Ok(()),
            Some(queue) => Err(format!("queue {queue} carried none")),
        }
    }

    /// Resets both.
    fn close(&mut self) -> Finding {
        let closed = self.stations.each_mut().map(|station| station.close());
        closed.into_iter().collect()
    }

    fn now(&self) -> Duration {
        self.stations[0].now()
    }
}

fn no_drops(drops: u64) -> Finding {
    match drops {
        0 => Ok(()),
        _ => Err(format!("{drops} were dropped")),
    }
}
