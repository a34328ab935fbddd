//! What a device is, offers and has.

use std::fmt::{self, Write};
use std::io::{self, Write as _};

use anstyle::Style;
use ringway_driver::transport::Transport as _;
use ringway_spec::config::{self, fields};
use ringway_spec::net::{LinkStatus, Mac};
use ringway_spec::{DeviceId, Features};
use ringway_vhost::frontend::Transport;
use serde_json::{Map, Value, json};

use super::args::Drive;
use super::device;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};
use crate::serve::net::args::Address;

const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

/// What a device says of itself.
struct About {
    device: String,
    queues: u16,
    offered: Features,
    features: Vec<String>,
    protocol: Vec<&'static str>,
    config: Vec<(&'static str, Setting)>,
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
                Ok(value) => config.push((field.name, Setting::Number(value))),
                // It has fewer bytes than its features would have it have.
                Err(ringway_driver::error::TransportError::Range { .. }) => {}
                Err(error) => return Err(Refusal::new(error)),
            }
        }
        if id == DeviceId::NETWORK {
            join_address(&mut config);
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
            .map(|(name, value)| ((*name).to_owned(), value.json()))
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
            row(f, head, Named(name, value))?;
        }
        Ok(())
    }
}

/// Most columns that words are put in, one after the other.
const COLUMNS: usize = 78;

fn row(f: &mut fmt::Formatter<'_>, head: &str, what: impl fmt::Display) -> fmt::Result {
    writeln!(f, "{STRONG}{head:14}{STRONG:#}{what}")
}

/// What a field of the configuration holds.
enum Setting {
    Number(u64),
    /// An address of a network card, whose bytes are fields of their own.
    Address(Address),
}

impl Setting {
    fn json(&self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Address(address) => json!(address.to_string()),
        }
    }
}

/// Makes one setting of the bytes of an address, which come first, if they are there.
fn join_address(config: &mut Vec<(&'static str, Setting)>) {
    let bytes = config
        .iter()
        .take_while(|(name, _)| name.starts_with("mac["));
    let bytes = bytes.map(|(_, value)| match value {
        // Of one byte each.
        Setting::Number(byte) => *byte as u8,
        Setting::Address(_) => 0,
    });
    if let Ok(mac) = Mac::try_from(bytes.collect::<Vec<_>>()) {
        let address = ("mac", Setting::Address(Address(mac)));
        config.splice(..mac.len(), [address]);
    }
}

struct Named<'n>(&'static str, &'n Setting);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, setting) = self;
        write!(f, "{name} = ")?;
        match (*name, setting) {
            ("capacity", Setting::Number(sectors)) => {
                let bytes = u128::from(*sectors) * 512;
                write!(f, "{sectors}{FAINT} sectors, {bytes} bytes{FAINT:#}")
            }
            ("status", Setting::Number(status)) => {
                // Of 16 bits.
                let names = LinkStatus::from_bits_retain(*status as u16);
                let names: Vec<_> = names.iter_names().map(|(name, _)| name).collect();
                write!(f, "{status}{FAINT} {}{FAINT:#}", names.join(" "))
            }
            (_, Setting::Number(number)) => write!(f, "{number}"),
            (_, Setting::Address(address)) => write!(f, "{address}"),
        }
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
    field: &config::Named,
) -> Result<u64, ringway_driver::error::TransportError> {
    let mut bytes = [0; 8];
    if let Some(bytes) = bytes.get_mut(..field.len) {
        transport.read_config(field.offset, bytes)?;
    }
    Ok(u64::from_le_bytes(bytes))
}
