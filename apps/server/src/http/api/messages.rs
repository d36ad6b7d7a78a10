//! What was said to whoever looks after an account.

use actix_web::web;
use billing_core::id::{AccountId, MessageId};
use billing_core::invoice::Locale;
use billing_core::message::{Delivery, DeliveryState, Message, text};
use billing_core::money::Money;
use billing_core::port::directory::{Directory, Role};
use billing_core::port::messages::{Messages, MessagesError};
use billing_core::subscription::EndReason;
use billing_core::zone::Zone;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{self, SignedIn};
use super::error::{ApiError, Problem};
use super::extract::Query;
use super::wire::{MoneyDto, Page, PageOf, PageParams, instant};

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageDto {
    /// Its id.
    #[schema(example = "msg_0001fv5kz4y00")]
    id: String,
    /// `trial_began`, `trial_ending`, `invoiced`, `paid`, `recovered`, `payment_failed`,
    /// `access_closed`, `paused`, `will_end`, `resumed` or `ended`.
    #[schema(value_type = String, example = "payment_failed")]
    kind: &'static str,
    /// Whom it is for.
    account: String,
    /// Of which subscription.
    subscription: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// What it says.
    facts: FactsDto,
    /// The same in English.
    en: TextDto,
    /// The same in simplified Chinese.
    #[serde(rename = "zh-CN")]
    zh_cn: TextDto,
    /// How far it has come with sending it; missing where it is not to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryDto>,
}

/// How far it has come with sending a message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDto {
    /// `waits`, `sent` or `given_up`.
    #[schema(value_type = String, example = "sent")]
    state: &'static str,
    /// How often it was tried.
    tries: u32,
    /// When it is tried next, was taken, or was given up.
    #[schema(format = DateTime)]
    at: String,
}

/// What a message says; what does not belong to its kind is left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactsDto {
    /// What is asked for or was paid, with taxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<MoneyDto>,
    /// The number of the invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<String>,
    /// When what is paid for begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    period_start: Option<String>,
    /// When it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    period_end: Option<String>,
    /// How often it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u8>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    next_try_at: Option<String>,
    /// Until when calls go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    grace_until: Option<String>,
    /// When it ends, or has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    ends_at: Option<String>,
    /// Why it has ended: `cancelled`, `ran_out`, `never_paid` or `unpaid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<EndReason>,
}

/// A text for people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TextDto {
    /// What it is about, in one line.
    subject: String,
    /// What it says.
    body: String,
}

impl MessageDto {
    /// A message with dates of a zone in its texts.
    pub(crate) fn of(message: &Message, zone: &Zone) -> Self {
        let facts = &message.facts;
        let said = |locale| {
            let text = text(message.kind, facts, (locale, zone));
            TextDto {
                subject: text.subject,
                body: text.body,
            }
        };
        let amount = facts.amount.zip(facts.currency);
        let amount = amount.and_then(|(amount, currency)| Money::of_minor(amount, currency).ok());
        let period = facts.period;
        Self {
            id: message.id.to_string(),
            kind: message.kind.name(),
            account: message.account.to_string(),
            subscription: message.subscription.to_string(),
            created_at: instant(message.made_at),
            facts: FactsDto {
                amount: amount.map(|money| MoneyDto::of(money.nanos(), money.currency())),
                invoice: facts.invoice.clone(),
                period_start: period.map(|period| instant(period.start)),
                period_end: period.map(|period| instant(period.end)),
                tries: facts.tries,
                next_try_at: facts.next_try_at.map(instant),
                grace_until: facts.grace_until.map(instant),
                ends_at: facts.ends_at.map(instant),
                reason: facts.reason,
            },
            en: said(Locale::En),
            zh_cn: said(Locale::ZhCn),
            delivery: message.delivery.map(DeliveryDto::of),
        }
    }
}

impl DeliveryDto {
    fn of(delivery: Delivery) -> Self {
        let (DeliveryState::Waits(at) | DeliveryState::Sent(at) | DeliveryState::GivenUp(at)) =
            delivery.state;
        Self {
            state: delivery.state.name(),
            tries: delivery.tries,
            at: instant(at),
        }
    }
}

/// List the messages of an account
///
/// What was said about its subscription, invoices and payments, newest first, in English and
/// Chinese with dates of the account's zone.
#[utoipa::path(
    get, path = "/api/v1/accounts/{account}/messages", operation_id = "list_messages",
    tag = "subscriptions",
    params(
        ("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00"),
        PageParams,
    ),
    responses(
        (status = 200, description = "A page of messages", body = Page<MessageDto>),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A parameter is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
pub(crate) async fn list(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    page: Query<PageOf<MessageId>>,
    directory: web::Data<dyn Directory>,
    messages: web::Data<dyn Messages>,
) -> Result<web::Json<Page<MessageDto>>, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Member).await?;
    let page = page.0;
    let found = messages.list(account.id, page.cursor, page.fetch()).await?;
    let zone = zone_of(&account.zone);
    Ok(page.answer(
        found,
        |message| message.id,
        |message| MessageDto::of(&message, &zone),
    ))
}

/// The zone of a name; UTC where it is not known here any more.
pub(crate) fn zone_of(name: &str) -> Zone {
    name.parse().unwrap_or_else(|_| Zone::utc())
}

impl From<MessagesError> for ApiError {
    fn from(error: MessagesError) -> Self {
        match error {
            MessagesError::Unreadable(_) => super::error::broken(&error),
            MessagesError::Unavailable(_) => super::error::away(&error),
        }
    }
}
