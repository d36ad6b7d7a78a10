//! `tollgate billing messages`: what was said to an account.

use billing_core::id::MessageId;
use billing_core::invoice::Locale;
use billing_core::message::text;
use clap::Args;

use super::at;
use crate::cli::keys::account_id;
use crate::cli::{CliError, Place, say};
use crate::http::api::messages::{MessageDto, zone_of};

/// How many are read at a time.
const PAGE: u32 = 100;

/// Arguments of `billing messages`.
#[derive(Debug, Args)]
pub(in crate::cli) struct MessagesArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    account: String,
    /// The language of the texts, en or zh-CN
    #[arg(long, default_value = "en")]
    lang: String,
    /// Print a line of JSON for each, as the control API answers
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(args: MessagesArgs) -> Result<(), CliError> {
    let id = account_id(&args.account)?;
    let lang: Result<Locale, _> = args.lang.parse();
    let lang = lang.map_err(|error| CliError::Argument(format!("--lang: {error}")))?;
    let ports = args.place.ports().await?;
    let account = ports.directory.account(id).await?;
    let account = account.ok_or_else(|| CliError::Argument(format!("there is no account {id}")))?;
    let zone = zone_of(&account.zone);
    let mut before: Option<MessageId> = None;
    loop {
        let page = ports.messages.list(id, before, PAGE).await?;
        for message in &page {
            if args.json {
                let shown = serde_json::to_string(&MessageDto::of(message, &zone));
                say(&shown.map_err(|error| CliError::Argument(error.to_string()))?);
                continue;
            }
            let text = text(message.kind, &message.facts, (lang, &zone));
            let (made, kind) = (at(message.made_at), message.kind.name());
            say(&format!("{made} {kind} {}", message.id));
            say(&format!("  {}: {}", text.subject, text.body));
        }
        before = page.last().map(|message| message.id);
        if u32::try_from(page.len()).is_ok_and(|read| read < PAGE) {
            return Ok(());
        }
    }
}
