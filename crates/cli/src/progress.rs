//! What is seen while there is nothing to report yet: a line on standard error, if that is a
//! terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is shown while nobody knows how much there is to do, and then.
const UNSIZED: &str = "{spinner} {msg}";
const SIZED: &str =
    "{spinner} {msg:28} {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}";

/// One line that says what is going on, and how far it has come.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        // Hidden by itself where nobody looks.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(UNSIZED));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Something begins, and nobody knows yet how much of it there is.
    pub(crate) fn begin(&self, what: String) {
        self.bar.set_style(style(UNSIZED));
        self.bar.set_message(what);
        self.bar.unset_length();
        self.bar.reset();
    }

    /// `done` of `total` bytes of what was begun are done.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if self.bar.length().is_none() {
            self.bar.set_length(total);
            self.bar.set_style(style(SIZED));
        }
        self.bar.set_position(done);
    }

    /// Takes the line away while `f` may write to the terminal.
    pub(crate) fn pause<X>(&self, f: impl FnOnce() -> X) -> X {
        self.bar.suspend(f)
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A style whose template is known to be one.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_begins_anew_with_everything_that_begins() {
        let progress = Progress::new();
        progress.begin("one".to_owned());
        progress.at(7, 9);

        progress.begin("two".to_owned());
        let between = (progress.bar.length(), progress.bar.position());
        progress.at(1, 5);

        assert_eq!(between, (None, 0));
        assert_eq!(progress.bar.length(), Some(5));
        assert_eq!(progress.bar.position(), 1);
    }
}
