//! Linux's end: its interface, its `ping`, and programs of its own network.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use crate::machine::PORT;
use crate::{BYTES, LIMIT, LINUX, OURS, Result, byte};

/// What is done by a thread meanwhile.
pub(crate) type Meanwhile = JoinHandle<Result<(), String>>;

/// The kernel that this runs on.
pub(crate) struct Linux {
    busybox: OsString,
}

impl Linux {
    pub(crate) fn new(busybox: OsString) -> Self {
        Self { busybox }
    }

    /// Gives the interface its addresses, and has it up.
    pub(crate) fn set_up(&self, interface: &str) -> Result {
        let address = format!("{LINUX}/24");
        let mac = mac().map(|byte| format!("{byte:02x}")).join(":");
        for words in [
            &["link", "set", interface, "address", &mac][..],
            &["addr", "add", &address, "dev", interface],
            &["link", "set", interface, "up"],
        ] {
            let mut ip = self.command("ip");
            let done = ip.args(words).output()?;
            if !done.status.success() {
                let why = String::from_utf8_lossy(&done.stderr);
                return Err(format!("ip {words:?}: {why}").into());
            }
        }
        Ok(())
    }

    /// Pings `whom`, while `meanwhile` is done until it has ended.
    pub(crate) fn ping(
        &self,
        whom: Ipv4Addr,
        meanwhile: impl FnOnce(&mut dyn FnMut() -> Result<bool>) -> Result,
    ) -> Result {
        let mut ping = self.command("ping");
        ping.args(["-c", "3", "-i", "0.1", "-s", "1400", "-W", "10"])
            .arg(whom.to_string())
            .stdout(Stdio::piped());
        let mut ping = Ended(ping.spawn()?);
        meanwhile(&mut || Ok(ping.0.try_wait()?.is_some()))?;
        if ping.0.wait()?.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut out) = ping.0.stdout.take() {
            out.read_to_string(&mut said)?;
        }
        Err(format!("nobody answered Linux:\n{said}").into())
    }

    /// Connects to the machine, and exchanges bytes.
    pub(crate) fn connects(&self) -> Result<Meanwhile> {
        Ok(thread::spawn(|| {
            let to = (OURS, PORT).into();
            let stream = TcpStream::connect_timeout(&to, LIMIT);
            exchange(&stream.map_err(|e| format!("Linux did not reach the machine: {e}"))?)
        }))
    }

    /// Waits for the machine, and exchanges bytes.
    pub(crate) fn listens(&self) -> Result<Meanwhile> {
        let listener = TcpListener::bind((LINUX, PORT))?;
        Ok(thread::spawn(move || {
            let stream = listener.accept().map(|(stream, _)| stream);
            exchange(&stream.map_err(|e| format!("the machine did not reach Linux: {e}"))?)
        }))
    }

    fn command(&self, applet: &str) -> Command {
        let mut command = Command::new(&self.busybox);
        command.arg(applet);
        command
    }
}

/// The address of Linux's interface.
pub(crate) fn mac() -> [u8; 6] {
    [2, 0, 0, 0, 0, 1]
}

/// A child that does not outlive its handle.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends and receives at the same time, and compares each byte.
fn exchange(stream: &TcpStream) -> Result<(), String> {
    let told = |error: std::io::Error| format!("Linux's connection: {error}");
    stream.set_read_timeout(Some(LIMIT)).map_err(told)?;
    stream.set_write_timeout(Some(LIMIT)).map_err(told)?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let bytes: Vec<u8> = (0..BYTES).map(byte).collect();
            let (mut stream, bytes) = (stream, bytes.as_slice());
            stream.write_all(bytes)?;
            stream.shutdown(Shutdown::Write)
        });
        let (mut stream, mut bytes) = (stream, Vec::new());
        let received = stream.read_to_end(&mut bytes).map_err(told);
        sending
            .join()
            .map_err(|_| "Linux's sender panicked")?
            .map_err(told)?;
        received?;
        match bytes.iter().copied().eq((0..BYTES).map(byte)) {
            true => Ok(()),
            false => Err(format!(
                "{} bytes came to Linux, and not those of {BYTES}",
                bytes.len()
            )),
        }
    })
}
