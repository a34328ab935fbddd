//! What an HTTP server answers, as it comes: a head, then as many bytes as the head says.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Most bytes of a head.
const HEAD_MAX: usize = 4096;

/// Most fields of a head.
const FIELDS_MAX: usize = 32;

/// An answer that comes in pieces.
#[derive(Debug, Default)]
pub struct Answer {
    /// What has come of the head.
    head: Vec<u8>,
    /// How many bytes the body has, once the head has said so.
    len: Option<u64>,
    /// How many of them have come.
    come: u64,
}

impl Answer {
    /// Takes the next bytes, and hands those of the body to `body`.
    ///
    /// # Errors
    ///
    /// In words, if it is no answer, no good one, or has more bytes than it says.
    pub fn take(&mut self, bytes: &[u8], body: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let rest = match self.len {
            Some(_) => bytes,
            None => self.begin(bytes)?,
        };
        let Some(len) = self.len else {
            return Ok(());
        };
        self.come += rest.len() as u64;
        if self.come > len {
            return Err(format!("a body of {len} bytes has {}", self.come));
        }
        body(rest);
        Ok(())
    }

    /// How many bytes of the body have come.
    pub fn come(&self) -> u64 {
        self.come
    }

    /// Whether all has come.
    pub fn is_whole(&self) -> bool {
        self.len == Some(self.come)
    }

    /// Takes bytes of the head. What comes after it is the body's.
    fn begin<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        let before = self.head.len();
        let room = HEAD_MAX - before;
        self.head
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let end = match head.parse(&self.head) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if self.head.len() < HEAD_MAX => return Ok(&[]),
            Ok(httparse::Status::Partial) => return Err("its head has no end".to_string()),
            Err(why) => return Err(format!("it is no HTTP: {why}")),
        };
        if head.code != Some(200) {
            return Err(format!("it is not fine: {:?}", head.code));
        }
        let len = head.headers.iter().find(|field| {
            let name = field.name;
            name.eq_ignore_ascii_case("content-length")
        });
        let len = len.and_then(|len| core::str::from_utf8(len.value).ok()?.parse().ok());
        self.len = Some(len.ok_or("it does not say how long it is")?);
        // The head did not end in what was there before.
        Ok(bytes.get(end.saturating_sub(before)..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: 5\r\n\r\n";

    fn taken(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), String> {
        let (mut answer, mut body) = (Answer::default(), Vec::new());
        for piece in pieces {
            answer.take(piece, &mut |bytes| body.extend_from_slice(bytes))?;
        }
        Ok((body, answer.is_whole()))
    }

    #[test]
    fn an_answer_is_the_same_however_it_is_cut() {
        let whole = [HEAD, b"hello"].concat();

        for cut in 0..=whole.len() {
            let (begin, end) = whole.split_at(cut);

            assert_eq!(taken(&[begin, end]), Ok((b"hello".to_vec(), true)), "{cut}");
            assert!(!taken(&[begin]).unwrap().1 || cut == whole.len());
        }
    }

    #[test]
    fn what_is_no_good_answer_is_an_error() {
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 5000]].concat();

        for wrong in [
            &b"SSH-2.0-OpenSSH\r\n"[..],
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
            &[HEAD, b"hello!"].concat(),
            &endless,
        ] {
            assert!(taken(&[wrong]).is_err(), "{}", wrong.escape_ascii());
        }
    }
}
