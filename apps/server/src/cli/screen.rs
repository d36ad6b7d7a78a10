//! What commands show: lines on the output, complaints on the error stream, progress bars.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints a line. A reader that has gone away is no error.
pub(crate) fn say(text: &str) {
    write_line(&mut std::io::stdout().lock(), text);
}

/// Prints a line on the error stream.
pub(crate) fn complain(text: &str) {
    write_line(&mut std::io::stderr().lock(), text);
}

fn write_line(out: &mut dyn Write, text: &str) {
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads the output");
    }
}

/// A bar over so many steps, with rate and time left; drawn only on a terminal.
pub(crate) fn progress(steps: u64, what: &'static str) -> ProgressBar {
    bar(
        steps,
        what,
        "{msg} [{bar:30}] {pos}/{len} {per_sec} eta {eta}",
    )
}

/// The same over so many bytes of a file.
pub(crate) fn progress_in_bytes(bytes: u64, what: &'static str) -> ProgressBar {
    let template = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
    bar(bytes, what, template)
}

fn bar(steps: u64, what: &'static str, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
