//! `tollgate keys`: make, list and revoke API keys.

use billing_core::budget::{Amount, LimitWindow};
use billing_core::id::{AccountId, KeyId, UserId};
use billing_core::money::Nanos;
use billing_core::port::directory::{ApiKey, DirectoryError, KeyLimit};
use clap::{Args, Subcommand};

use super::ledger::no_account;
use super::screen::complain;
use super::{CliError, Place, say};
use crate::secrets;
use crate::wiring::Ports;

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; it is shown once
    Create(CreateArgs),
    /// List the keys of an account
    List(ListArgs),
    /// Revoke a key for good
    Revoke(RevokeArgs),
}

/// Arguments of `keys create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// What people call the key
    #[arg(long, default_value = "key")]
    name: String,
    /// The member of the account whose it is, for good, by the address that the user signs in with:
    /// usage is reported by it [default: nobody's]
    #[arg(long, value_name = "EMAIL")]
    member: Option<String>,
    /// The most that may be spent with it, such as 10.00
    #[arg(long, value_name = "AMOUNT")]
    limit: Option<String>,
    /// How often the limit starts anew: lifetime, daily, weekly or monthly
    #[arg(long, default_value = "lifetime")]
    window: String,
    /// A model that it may use, or a prefix with *; may be given several times [default: all]
    #[arg(long)]
    model: Vec<String>,
}

/// Arguments of `keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
}

/// Arguments of `keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// The key, as key_…
    key: String,
}

/// Runs it.
pub(crate) async fn run(command: KeysCommand) -> Result<(), CliError> {
    match command {
        KeysCommand::Create(args) => create(args).await,
        KeysCommand::List(args) => list(args).await,
        KeysCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: CreateArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let window = LimitWindow::of_name(&args.window).ok_or_else(|| {
        CliError::Argument(format!(
            "\"{}\" is not a window: lifetime, daily, weekly or monthly",
            args.window
        ))
    })?;
    let limit = args.limit.as_deref().map(|text| {
        let amount = Nanos::parse(text).map_err(|error| CliError::Argument(error.to_string()))?;
        Ok::<_, CliError>(KeyLimit {
            amount: Amount::of(amount),
            window,
        })
    });
    let ports = args.place.ports().await?;
    let member = match &args.member {
        Some(email) => Some(member_of(&ports, account, email).await?),
        None => None,
    };
    let wanted = NewKey {
        account,
        member,
        name: args.name,
        limit: limit.transpose()?,
        models: args.model,
    };
    let (key, secret) = make_key(&ports, wanted).await?;
    // Apart from the secret, so that a script that takes the output has the secret alone.
    complain(&format!(
        "{key}; this is the only time that its secret is shown:"
    ));
    say(&secret);
    Ok(())
}

/// The member of an account with an address.
async fn member_of(ports: &Ports, account: AccountId, email: &str) -> Result<UserId, CliError> {
    let email = email.trim().to_lowercase();
    let found = ports.directory.user_by_email(&email).await?;
    if let Some((user, _)) = found
        && ports.directory.role(account, user.id).await?.is_some()
    {
        return Ok(user.id);
    }
    Err(CliError::Argument(format!(
        "{email} is no member of {account}; an owner makes one with PUT \
         /api/v1/accounts/{account}/members/usr_…"
    )))
}

/// A key to be made.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) account: AccountId,
    /// Whose it is.
    pub(crate) member: Option<UserId>,
    pub(crate) name: String,
    pub(crate) limit: Option<KeyLimit>,
    pub(crate) models: Vec<String>,
}

/// Makes a key and answers with its id and its secret.
pub(crate) async fn make_key(ports: &Ports, new: NewKey) -> Result<(KeyId, String), CliError> {
    let account = new.account;
    let secret = secrets::new_api_key()?;
    let key = ApiKey {
        id: KeyId::new(ports.ids.next()),
        account: new.account,
        member: new.member,
        name: new.name,
        visible_prefix: secrets::visible_prefix(&secret),
        limit: new.limit,
        models: new.models,
        cap_output: false,
        created_at: ports.clock.now(),
        expires_at: None,
        revoked_at: None,
    };
    let id = key.id;
    match ports
        .directory
        .create_key(key, secrets::hash(&secret))
        .await
    {
        Err(DirectoryError::NotFound) => Err(no_account(account)),
        other => Ok(other.map(|()| (id, secret))?),
    }
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    if ports.directory.account(account).await?.is_none() {
        return Err(no_account(account));
    }
    let mut after = None;
    loop {
        let keys = ports.directory.keys(account, after, 100).await?;
        for key in &keys {
            let state = if key.revoked_at.is_some() {
                "revoked"
            } else {
                "active"
            };
            say(&format!(
                "{}  {}…  {state}  {}",
                key.id, key.visible_prefix, key.name
            ));
        }
        match keys.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

async fn revoke(args: RevokeArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let key = args.key.parse().map_err(|_| {
        let (key, account) = (&args.key, &args.account);
        CliError::Argument(format!(
            "{key} is not a key id, which is key_ and 13 characters; `tollgate keys list \
                 --account {account}` shows them"
        ))
    })?;
    let ports = args.place.ports().await?;
    let key = match ports
        .directory
        .revoke_key(account, key, ports.clock.now())
        .await
    {
        Err(DirectoryError::NotFound) => {
            return Err(CliError::Argument(format!(
                "there is no {key} in {account}; `tollgate keys list --account {account}` shows \
                 those that there are"
            )));
        }
        other => other?,
    };
    say(&format!(
        "{} is revoked; every node knows within a second",
        key.id
    ));
    Ok(())
}

/// An account id from the command line.
pub(crate) fn account_id(text: &str) -> Result<AccountId, CliError> {
    text.parse()
        .map_err(|_| CliError::Argument(format!("{text} is not an account id, which is acc_ and 13 characters; `tollgate accounts list` shows them")))
}
