//! Tells what happens while a device is served: lines to read, or one JSON object a line.

use std::io::{self, Write};

use ringway_spec::{DeviceId, Features};
use ringway_vhost::backend::{Chains, Event, Observer};
use serde_json::{Value, json};

use super::meeting::Meeting;

/// Whoever tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    id: DeviceId,
    form: Form,
    /// Which of several devices it is of.
    card: Option<usize>,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Lines,
    Json,
}

impl Voice {
    /// For a device of this type.
    pub(super) fn new(id: DeviceId, form: Form) -> Self {
        let card = None;
        Self { id, form, card }
    }

    /// That of a network card, counted from 0.
    pub(super) fn of_card(self, number: usize) -> Self {
        let card = Some(number);
        Self { card, ..self }
    }

    /// Front-ends can come from here on.
    pub(super) fn ready(&self, meeting: Meeting<'_>, queues: usize) {
        let (place, path) = match meeting {
            Meeting::Listen(path) => ("listen", Some(path.to_string_lossy())),
            Meeting::Connect(path) => ("connect", Some(path.to_string_lossy())),
            Meeting::Given(_) => ("fd", None),
        };
        let (doing, there) = match meeting {
            Meeting::Listen(_) => ("listens at ", path.as_deref()),
            Meeting::Connect(_) => ("connects to ", path.as_deref()),
            Meeting::Given(_) => ("has the socket that it was given", None),
        };
        let id = self.id.to_string();
        let many = if queues == 1 { "queue" } else { "queues" };
        let line = format!(
            "{id} with {queues} {many} {doing}{}",
            there.unwrap_or_default()
        );
        let event = json!({
            "event": "ready", "device": id, "queues": queues, "place": place, "path": path,
        });
        self.tell(&line, &event);
    }

    /// The host is reached by this interface.
    pub(super) fn joined(&self, interface: &str) {
        let event = json!({ "event": "joined", "interface": interface });
        self.tell(&format!("joined to the interface {interface}"), &event);
    }

    /// All is over.
    pub(super) fn stopped(&self) {
        self.tell("stopped", &json!({ "event": "stopped" }));
    }

    fn tell(&self, line: &str, event: &Value) {
        let mut out = io::stdout().lock();
        // Whoever closed standard output does not want to read it.
        let _ = match (self.form, self.card) {
            (Form::Lines, None) => writeln!(out, "{line}"),
            (Form::Lines, Some(card)) => writeln!(out, "card {card}: {line}"),
            (Form::Json, None) => writeln!(out, "{event}"),
            (Form::Json, Some(card)) => {
                let mut event = event.clone();
                event["card"] = card.into();
                writeln!(out, "{event}")
            }
        };
        let _ = out.flush();
    }

    fn names(&self, features: Features) -> Vec<String> {
        let names = features.names(self.id);
        names.map(|name| name.to_string()).collect()
    }
}

impl Observer for Voice {
    fn event(&self, event: Event) {
        let (line, value) = match event {
            Event::Connected => (
                "front-end connected".to_owned(),
                json!({ "event": "connected" }),
            ),
            Event::Protocol(features) => {
                let names: Vec<_> = features.iter_names().map(|(name, _)| name).collect();
                (
                    format!("protocol: {}", names.join(" ")),
                    json!({ "event": "protocol", "features": names }),
                )
            }
            Event::Features(features) => {
                let names = self.names(features);
                (
                    format!("features: {}", names.join(" ")),
                    json!({ "event": "features", "features": names }),
                )
            }
            Event::RingStarted { ring, size } => (
                format!("ring {ring} of {size} started"),
                json!({ "event": "ring_started", "ring": ring, "size": size }),
            ),
            Event::RingStopped {
                ring,
                chains,
                counts,
            } => {
                let lost = match chains {
                    Chains::Completed => "",
                    Chains::Lost => ", and not all that was begun is completed",
                };
                (
                    format!(
                        "ring {ring} stopped after {} batches and {} kicks{lost}",
                        counts.batches + counts.hits,
                        counts.kicks
                    ),
                    json!({
                        "event": "ring_stopped",
                        "ring": ring,
                        "completed": chains == Chains::Completed,
                        "kicks": counts.kicks,
                        "batches": counts.batches,
                        "looks": { "hits": counts.hits, "misses": counts.misses },
                    }),
                )
            }
            Event::Violation { ring, violation } => (
                format!("ring {ring} is broken: {violation}"),
                json!({
                    "event": "violation", "ring": ring, "violation": violation.to_string(),
                }),
            ),
            Event::ChannelLost(error) => (
                format!("front-end takes no requests: {error}"),
                json!({ "event": "channel_lost", "why": error.to_string() }),
            ),
            Event::Refused { request, refusal } => (
                format!("request {request} refused: {refusal}"),
                json!({
                    "event": "refused", "request": request, "why": refusal.to_string(),
                }),
            ),
            Event::Disconnected { reason, traffic } => (
                format!("front-end is gone: {reason}"),
                json!({
                    "event": "disconnected",
                    "why": reason.to_string(),
                    "requests": traffic.requests,
                    "refused": traffic.refused,
                }),
            ),
            _ => return,
        };
        self.tell(&line, &value);
    }
}
