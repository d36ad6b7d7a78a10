//! Being told to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::CliError;

/// SIGTERM and Ctrl-C, heard from the start of the process on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Hears them from now on; they no longer end the process by themselves.
    pub(crate) fn hear() -> Result<Self, CliError> {
        let hear = |kind| signal(kind).map_err(CliError::io("signals cannot be heard"));
        Ok(Self {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
