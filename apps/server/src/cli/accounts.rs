//! `tollgate accounts`: what an operator needs before anybody can sign in.

use billing_core::budget::Amount;
use billing_core::id::{AccountId, LotId, UserId};
use billing_core::money::{Currency, Nanos};
use billing_core::port::books::{BooksError, Credited};
use billing_core::port::directory::{Account, User};
use billing_core::port::proofs::Depth;
use billing_core::wallet::{AccountStatus, Credit, LotKind};
use clap::{Args, Subcommand};
use serde_json::json;
use time::OffsetDateTime;

use super::keys::account_id;
use super::ledger::no_account;
use super::prices::instant;
use super::{CliError, Place, say};
use crate::secrets;
use crate::wiring::Ports;

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountsCommand {
    /// Make an account with an empty wallet
    Create(CreateArgs),
    /// List all accounts
    List(ListArgs),
    /// Add funds to an account's wallet
    TopUp(TopUpArgs),
    /// Let an account go on that was parked because its books did not hold, once they do
    Unpark(UnparkArgs),
    /// Make an operator, who may sign in and see and change every account
    Operator(OperatorArgs),
}

/// Arguments of `accounts create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// What people call it
    #[arg(long)]
    name: String,
    /// The currency of its wallet
    #[arg(long, default_value = "USD")]
    currency: String,
}

/// Arguments of `accounts list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

/// Arguments of `accounts top-up`.
#[derive(Debug, Args)]
pub(crate) struct TopUpArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    #[arg(long)]
    account: String,
    /// How much, such as 10.00
    #[arg(long)]
    amount: String,
    /// Recorded once for this key, however often the command is repeated
    #[arg(long)]
    key: String,
    /// It is given, not bought: it pays for calls only, and before what was bought
    #[arg(long)]
    given: bool,
    /// When what is left of it lapses, such as 2027-01-31T00:00:00Z; never unless said
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    expires: Option<OffsetDateTime>,
}

/// Arguments of `accounts unpark`.
#[derive(Debug, Args)]
pub(crate) struct UnparkArgs {
    #[command(flatten)]
    place: Place,
    /// The account, as acc_…
    account: String,
}

/// Arguments of `accounts operator`.
#[derive(Debug, Args)]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    place: Place,
    /// The address to sign in with
    #[arg(long)]
    email: String,
}

/// Runs it.
pub(crate) async fn run(command: AccountsCommand) -> Result<(), CliError> {
    match command {
        AccountsCommand::Create(args) => {
            let currency = Currency::parse(&args.currency)
                .map_err(|error| CliError::Argument(error.to_string()))?;
            let ports = args.place.ports().await?;
            let id = make_account(&ports, &args.name, currency).await?;
            say(&id.to_string());
            Ok(())
        }
        AccountsCommand::List(args) => list(&args).await,
        AccountsCommand::TopUp(args) => top_up(args).await,
        AccountsCommand::Unpark(args) => unpark(args).await,
        AccountsCommand::Operator(args) => {
            let ports = args.place.ports().await?;
            let password = make_operator(&ports, &args.email).await?;
            say(&format!(
                "{} signs in with the password {password}",
                args.email
            ));
            Ok(())
        }
    }
}

/// Makes an account with an empty wallet.
pub(crate) async fn make_account(
    ports: &Ports,
    name: &str,
    currency: Currency,
) -> Result<AccountId, CliError> {
    let account = Account {
        id: AccountId::new(ports.ids.next()),
        name: name.to_owned(),
        currency,
        zone: "UTC".to_owned(),
        status: AccountStatus::Active,
        credit_limit: Amount::ZERO,
        created_at: ports.clock.now(),
    };
    let id = account.id;
    ports.directory.create_account(account).await?;
    Ok(id)
}

/// Makes an operator with a password of its own, and answers with it.
pub(crate) async fn make_operator(ports: &Ports, email: &str) -> Result<String, CliError> {
    let password = secrets::new_password()?;
    let hash = secrets::hash_password(&password)?;
    let user = User {
        id: UserId::new(ports.ids.next()),
        email: email.to_lowercase(),
        operator: true,
        created_at: ports.clock.now(),
    };
    ports.directory.create_user(user, &hash).await?;
    Ok(password)
}

/// Adds bought credit that never lapses, once for its key.
pub(crate) async fn add_funds(
    ports: &Ports,
    account: AccountId,
    amount: Nanos,
    texts: (&str, &str),
) -> Result<Credited, CliError> {
    add_credit(ports, account, (amount, LotKind::Paid, None), texts).await
}

async fn add_credit(
    ports: &Ports,
    account: AccountId,
    (amount, kind, expires_at): (Nanos, LotKind, Option<OffsetDateTime>),
    (key, note): (&str, &str),
) -> Result<Credited, CliError> {
    let wallet = match ports.books.wallet(account).await {
        Err(BooksError::NoSuchBudget) => return Err(no_account(account)),
        other => other?,
    };
    let credit = Credit {
        lot: LotId::new(ports.ids.next()),
        kind,
        amount,
        currency: wallet.currency,
        priority: 0,
        expires_at,
        key: format!("top_up:{key}"),
        note: note.to_owned(),
    };
    match ports
        .books
        .add_credit(account, credit, ports.clock.now())
        .await
    {
        Err(BooksError::KeyReused) => Err(CliError::Argument(format!(
            "the key \"{key}\" has recorded another amount, kind or end before, so nothing was added \
             now; give another --key to add {amount} as well"
        ))),
        other => Ok(other?),
    }
}

async fn list(args: &ListArgs) -> Result<(), CliError> {
    let ports = args.place.ports().await?;
    let mut after = None;
    loop {
        let accounts = ports.directory.accounts(None, after, 100).await?;
        for account in &accounts {
            let wallet = ports.books.wallet(account.id).await?;
            let (id, status, name) = (account.id, account.status.name(), &account.name);
            let (balance, currency) = (wallet.posted, wallet.currency);
            say(&if args.json {
                let listed = json!({
                    "account": id.to_string(), "name": name, "status": status,
                    "balance": balance.to_string(), "currency": currency,
                });
                listed.to_string()
            } else {
                format!("{id}  {status}  {balance} {currency}  {name}")
            });
        }
        match accounts.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

async fn top_up(args: TopUpArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let amount =
        Nanos::parse(&args.amount).map_err(|error| CliError::Argument(error.to_string()))?;
    let ports = args.place.ports().await?;
    if args.expires.is_some_and(|end| end <= ports.clock.now()) {
        let why = "--expires has passed; nothing was added".to_owned();
        return Err(CliError::Argument(why));
    }
    let kind = if args.given {
        LotKind::Promo
    } else {
        LotKind::Paid
    };
    let texts = (args.key.as_str(), "added on the command line");
    let credited = add_credit(&ports, account, (amount, kind, args.expires), texts).await?;
    let (balance, key) = (credited.balance, &args.key);
    say(&if credited.replayed {
        format!(
            "the key \"{key}\" has recorded this amount before, so nothing was added now; the \
             balance was {balance} then"
        )
    } else {
        format!("balance {balance}")
    });
    Ok(())
}

/// Proves the account's books from the beginning, and lets it go on when they hold.
async fn unpark(args: UnparkArgs) -> Result<(), CliError> {
    let account = account_id(&args.account)?;
    let ports = args.place.ports().await?;
    if ports.proofs.parked(account).await?.is_none() {
        return Err(CliError::Argument(format!("{account} is not parked")));
    }
    let now = ports.clock.now();
    for proof in ports.proofs.prove(&[account], Depth::Full, now).await? {
        if !proof.broken.is_empty() {
            say(&proof.broken.join("\n"));
            return Err(CliError::Found(format!(
                "the books of {account} do not hold yet, so it stays parked; mend what is listed \
                 above and try again"
            )));
        }
    }
    ports.proofs.unpark(account, now).await?;
    say(&format!(
        "the books of {account} hold; it goes on, and every node knows within a second"
    ));
    Ok(())
}
