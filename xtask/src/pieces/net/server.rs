//! A server of documents: `/SEED/BYTES` is so many bytes that follow from a seed.

use std::io::Cursor;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};
use tiny_http::{Response, StatusCode};

use crate::failure::{Failure, Result};
use crate::pieces::pattern;

/// Most bytes of a document.
const LEN_MAX: usize = 64 << 20;

/// A server on the loopback interface. It ends on drop.
pub(super) struct Server {
    server: Arc<tiny_http::Server>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts it, on a port that is free.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn start() -> Result<Self> {
        let server = tiny_http::Server::http(("127.0.0.1", 0));
        let server = server.map_err(|e| Failure::new(format!("no port to serve on: {e}")))?;
        let port = server.server_addr().to_ip().map(|address| address.port());
        let port = port.ok_or_else(|| Failure::new("the server has no port"))?;
        let server = Arc::new(server);
        let served = Arc::clone(&server);
        let thread = thread::spawn(move || serve(&served));
        Ok(Self {
            server,
            port,
            thread: Some(thread),
        })
    }

    /// The port that it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended.
            let _ = thread.join();
        }
    }
}

/// The SHA-256 of a document, in hexadecimal.
pub(super) fn sha256(seed: u64, len: usize) -> String {
    format!("{:x}", Sha256::digest(pattern::bytes(seed, len)))
}

fn serve(server: &tiny_http::Server) {
    for request in server.incoming_requests() {
        let response = match document(request.url()) {
            Some(bytes) => {
                let len = bytes.len();
                let body = Cursor::new(bytes);
                Response::new(StatusCode(200), Vec::new(), body, Some(len), None)
            }
            None => Response::new(
                StatusCode(404),
                Vec::new(),
                Cursor::default(),
                Some(0),
                None,
            ),
        };
        // Whoever asked and went is told nothing.
        let _ = request.respond(response.with_chunked_threshold(usize::MAX));
    }
}

fn document(url: &str) -> Option<Vec<u8>> {
    let (seed, len) = url.strip_prefix('/')?.split_once('/')?;
    let len = len.parse().ok().filter(|len| *len <= LEN_MAX)?;
    Some(pattern::bytes(seed.parse().ok()?, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn asked(server: &Server, url: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        let head = format!("GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_document_comes_whole_and_says_how_long_it_is() {
        let server = Server::start().unwrap();

        let answer = asked(&server, "/7/100001");

        let head = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let (head, body) = answer.split_at(head + 4);
        let head = String::from_utf8_lossy(head);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("Content-Length: 100001\r\n"), "{head}");
        assert_eq!(format!("{:x}", Sha256::digest(body)), sha256(7, 100_001));
        assert_ne!(sha256(7, 100_001), sha256(8, 100_001));
    }

    #[test]
    fn what_is_no_document_is_not_found() {
        let server = Server::start().unwrap();

        for url in ["/", "/7", "/a/5", "/7/-1", "/7/99999999999"] {
            let answer = asked(&server, url);

            assert!(answer.starts_with(b"HTTP/1.1 404 "), "{url}");
        }
    }
}
