//! Messages that are to be sent.

use super::{Finding, Level};
use crate::config::Config;
use crate::wiring::Ports;

/// How many wait, and how many were given up; nothing is said where none is to be sent.
pub(super) async fn outbox(config: &Config, ports: &Ports) -> Option<Finding> {
    const WHAT: &str = "messages";
    let outbox = match ports.messages.outbox().await {
        Ok(outbox) => outbox,
        Err(error) => return Some(Finding::new(WHAT, Level::Fail, error.to_string())),
    };
    let (waiting, given_up) = (outbox.waiting, outbox.given_up);
    let receiver = match config.messages.receiver() {
        Ok(receiver) => receiver.is_some(),
        Err(why) => return Some(Finding::new(WHAT, Level::Fail, why)),
    };
    if !receiver && waiting == 0 && given_up == 0 {
        return None;
    }
    if !receiver && waiting > 0 {
        let detail = format!("{waiting} wait, and `messages.url` does not say for whom: set it");
        return Some(Finding::new(WHAT, Level::Warn, detail));
    }
    if given_up > 0 {
        let detail = format!(
            "{waiting} wait, {given_up} were given up: their receiver did not take them for two \
             days; accounts have them under `tollgate billing messages`"
        );
        return Some(Finding::new(WHAT, Level::Warn, detail));
    }
    Some(Finding::new(WHAT, Level::Ok, format!("{waiting} wait")))
}
