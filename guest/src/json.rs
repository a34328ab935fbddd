//! JSON objects written as they are made: no tree, no allocation of its own.
//!
//! The failure report goes through here too, with nothing under it but the serial port.

use core::fmt::{self, Display, Write};

/// One JSON object on its way into `out`. Errors of `out` are kept until [`end`](Self::end).
pub struct Object<W: Write> {
    out: W,
    fields: usize,
    result: fmt::Result,
}

impl<W: Write> Object<W> {
    /// Begins an object whose first field is `event`.
    pub fn event(out: W, event: &str) -> Self {
        let object = Self {
            out,
            fields: 0,
            result: Ok(()),
        };
        object.text("event", event)
    }

    /// Adds a string, escaped as it is formatted.
    #[must_use]
    pub fn text(self, key: &str, value: impl Display) -> Self {
        self.field(key, |out| {
            out.write_char('"')?;
            write!(Escape(&mut *out), "{value}")?;
            out.write_char('"')
        })
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, key: &str, value: u64) -> Self {
        self.field(key, |out| write!(out, "{value}"))
    }

    /// Adds `true` or `false`.
    #[must_use]
    pub fn flag(self, key: &str, value: bool) -> Self {
        self.field(key, |out| write!(out, "{value}"))
    }

    /// Ends the object and gives back what it was written to.
    ///
    /// # Errors
    ///
    /// The first error of `out`; what it holds is then cut short.
    pub fn end(mut self) -> Result<W, fmt::Error> {
        self.result.and_then(|()| self.out.write_char('}'))?;
        Ok(self.out)
    }

    fn field(mut self, key: &str, value: impl FnOnce(&mut W) -> fmt::Result) -> Self {
        let before = if self.fields == 0 { '{' } else { ',' };
        self.fields += 1;
        self.result = self.result.and_then(|()| {
            self.out.write_char(before)?;
            write!(self.out, "\"{key}\":")?;
            value(&mut self.out)
        });
        self
    }
}

/// What is written here arrives as the inside of a JSON string.
struct Escape<'a, W: Write>(&'a mut W);

impl<W: Write> Write for Escape<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| self.write_char(c))
    }

    fn write_char(&mut self, c: char) -> fmt::Result {
        match c {
            '"' | '\\' => {
                self.0.write_char('\\')?;
                self.0.write_char(c)
            }
            '\n' => self.0.write_str("\\n"),
            '\0'..='\x1f' => write!(self.0, "\\u{:04x}", u32::from(c)),
            _ => self.0.write_char(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_the_event_in_order() {
        let object = Object::event(String::new(), "start")
            .number("memory", 268_435_456)
            .flag("ok", true);

        let written = object.end().unwrap();

        assert_eq!(written, r#"{"event":"start","memory":268435456,"ok":true}"#);
    }

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        let object = Object::event(String::new(), "failed").text("detail", "a \"b\\c\"\n\t\u{1b}é");

        let written = object.end().unwrap();

        assert_eq!(
            written,
            r#"{"event":"failed","detail":"a \"b\\c\"\n\u0009\u001bé"}"#
        );
    }

    #[test]
    fn an_error_of_the_output_is_told_at_the_end() {
        struct Full;
        impl Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }

        let object = Object::event(Full, "start").number("memory", 1);

        assert!(object.end().is_err());
    }
}
