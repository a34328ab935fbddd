//! What a device is, offers and has.

use std::fmt::{self, Write};
use std::io::{self, Write as _};

use anstyle::Style;
use ringway_driver::transport::Transport as _;
use ringway_spec::Features;
use ringway_spec::config::{Named, fields};
use ringway_vhost::frontend::Transport;
use serde_json::{Map, Value, json};

use super::args::Drive;
use super::device;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// What a device says of itself.
struct About {
    device: String,
    queues: u16,
    offered: Features,
    features: Vec<String>,
    protocol: Vec<&'static str>,
    config: Vec<(&'static str, u64)>,
}

pub(super) fn info(args: &Drive, json: bool) -> Result<bool> {
    let progress = Progress::new();
    let (_platform, mut transport) = device::connect(args, 0, &progress)?;
    let about = About::of(args, &mut transport);
    progress.end();
    let about = match about {
        Ok(about) => about,
        Err(error) => return Ok(super::failed(error)),
    };
    // Whoever closed standard output does not want to read it.
    let _ = if json {
        writeln!(io::stdout(), "{}", about.json())
    } else {
        write!(anstream::stdout(), "{about}")
    };
    Ok(true)
}

impl About {
    fn of(args: &Drive, transport: &mut Transport) -> Result<Self> {
        let id = args.device();
        let offered = transport.offered();
        let mut config = Vec::new();
        for field in fields(id).iter().filter(|field| field.exists(offered)) {
            match read(transport, field) {
                Ok(value) => config.push((field.name, value)),
                // It has fewer bytes than its features would have it have.
                Err(ringway_driver::error::TransportError::Range { .. }) => {}
                Err(error) => return Err(Refusal::new(error)),
            }
        }
        Ok(Self {
            device: id.to_string(),
            queues: transport.queues(),
            offered,
            features: offered.names(id).map(|name| name.to_string()).collect(),
            protocol: transport
                .protocol()
                .iter_names()
                .map(|(name, _)| name)
                .collect(),
            config,
        })
    }

    fn json(&self) -> Value {
        let config = self.config.iter();
        let config: Map<_, _> = config
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        json!({
            "type": self.device,
            "transport": "vhost-user",
            "queues": self.queues,
            "features": self.features,
            "feature_bits": format!("{:#x}", self.offered.0),
            "protocol_features": self.protocol,
            "config": config,
        })
    }
}

/// The report, for people.
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, queues, .. } = self;
        row(f, "type", device)?;
        row(f, "transport", "vhost-user")?;
        row(f, "queues", queues)?;
        row(f, "features", Words(&self.features))?;
        row(f, "protocol", Words(&self.protocol))?;
        for (place, (name, value)) in self.config.iter().enumerate() {
            let head = if place == 0 { "configuration" } else { "" };
            row(f, head, Setting(name, *value))?;
        }
        Ok(())
    }
}

/// Most columns that words are put in, one after the other.
const COLUMNS: usize = 78;

fn row(f: &mut fmt::Formatter<'_>, head: &str, what: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{STRONG}{head:14}{STRONG:#}{what}")
}

struct Setting(&'static str, u64);

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, value) = self;
        write!(f, "{name} = {value}")?;
        if *name == "capacity" {
            let bytes = u128::from(*value) * 512;
            write!(f, "{FAINT} sectors, {bytes} bytes{FAINT:#}")?;
        }
        Ok(())
    }
}

/// Words, in lines that fit beside a head.
struct Words<'w, W>(&'w [W]);

impl<W: AsRef<str>> fmt::Display for Words<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut column = 14;
        for (place, word) in self.0.iter().enumerate() {
            let word = word.as_ref();
            if place != 0 && column + 1 + word.len() > COLUMNS {
                write!(f, "\n{:14}", "")?;
                column = 14;
            } else if place != 0 {
                f.write_char(' ')?;
                column += 1;
            }
            f.write_str(word)?;
            column += word.len();
        }
        if self.0.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

fn read(
    transport: &mut Transport,
    field: &Named,
) -> Result<u64, ringway_driver::error::TransportError> {
    let mut bytes = [0; 8];
    if let Some(bytes) = bytes.get_mut(..field.len) {
        transport.read_config(field.offset, bytes)?;
    }
    Ok(u64::from_le_bytes(bytes))
}
