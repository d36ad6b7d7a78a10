//! What is asked of a subscription: another plan or quantity, cancelling, resuming, pausing.
//!
//! Each is done whole or refused with nothing changed. With `preview` it is only said what would
//! come of it.

use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use billing_core::id::{AccountId, ChangeQuoteId};
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, Role, User};
use billing_core::port::orders::{NewOrder, Orders, QuoteAsk};
use billing_core::port::plans::Plans;
use billing_core::proration::ProrationUnit;
use billing_core::subscription::Dunning;
use billing_core::subscription::change::Timing;
use billing_core::subscription_order::Order;
use utoipa::ToSchema;

use super::quantity;
use super::shown::{DoneDto, QuoteDto, Shown};
use crate::http::api::access::{self, SignedIn};
use crate::http::api::error::{ApiError, Problem};
use crate::http::api::extract::Body;
use crate::http::api::fields::{Fields, FromFields, Noted};
use crate::http::api::wallet::idempotency_key;
use crate::ids::Ids;
use crate::orders;

/// A wish for another plan or quantity.
#[derive(ToSchema)]
pub(crate) struct ChangeWish {
    /// The plan's code: its newest version is changed to. Left out, another quantity of what there
    /// is.
    #[schema(required = false, example = "team")]
    plan: Option<String>,
    /// How many; left out, as many as there are.
    #[schema(required = false, minimum = 1, maximum = 100_000)]
    quantity: Option<u32>,
    /// `now` or `period_end`; left out, at once where more is paid, and at the end of the period
    /// where less is.
    #[schema(value_type = Option<String>, example = "now")]
    when: Option<Timing>,
}

impl FromFields for ChangeWish {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let plan = fields.text("plan", 1, 40);
        let quantity = quantity(fields);
        let when = when(fields);
        let wish = Self {
            plan: plan?,
            quantity: quantity?,
            when: when?,
        };
        if wish.plan.is_none() && wish.quantity.is_none() {
            return fields.wrong("plan", "required", "Name a plan, a quantity, or both.");
        }
        Ok(wish)
    }
}

fn when(fields: &mut Fields) -> Result<Option<Timing>, Noted> {
    let timing = |word: &str| match word {
        "now" => Some(Timing::Now),
        "period_end" => Some(Timing::PeriodEnd),
        _ => None,
    };
    fields.word("when", timing, "now, period_end")
}

/// Ask what a change of plan would cost
///
/// Item by item, for this instant. The quote is kept: taking it within half an hour does and charges
/// what it says.
#[utoipa::path(
    post, path = "/api/v1/accounts/{account}/subscription/quote", operation_id = "quote_change",
    tag = "subscriptions",
    params(("account" = String, Path, description = "The account", example = "acc_0001fv5kz4y00")),
    request_body = ChangeWish,
    responses(
        (status = 201, description = "The quote", body = QuoteDto),
        (status = 400, description = "The body is not JSON", body = Problem,
            content_type = "application/problem+json"),
        (status = 401, description = "Nobody is signed in", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "The role does not allow it", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such account, or not the user's, or no such plan, or \
            nothing is billed to it", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It cannot be changed to that: `same_plan`, `not_on_sale`, \
            `other_currency`, `fee_owed`, `wrong_state` and others", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A field is wrong", body = Problem,
            content_type = "application/problem+json"),
    ),
    security(("session" = [])),
)]
#[expect(
    clippy::too_many_arguments,
    reason = "a handler takes each thing that it uses"
)]
pub(crate) async fn quote(
    path: web::Path<AccountId>,
    SignedIn(user): SignedIn,
    body: Body<ChangeWish>,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    orders: web::Data<dyn Orders>,
    dunning: web::Data<Dunning>,
    ids: web::Data<Ids>,
    clock: web::Data<dyn Clock>,
) -> Result<HttpResponse, ApiError> {
    let account = access::account(&**directory, &user, path.into_inner(), Role::Admin).await?;
    let now = clock.now();
    let wish = body.0;
    let to = if let Some(code) = &wish.plan {
        plans.newest(code).await?.map(|version| version.id)
    } else {
        let standing = orders.standing_of(account.id, now).await?;
        let standing = standing.ok_or(ApiError::NotFound("subscription that is billed"))?;
        Some(standing.subscription.version)
    };
    let ask = QuoteAsk {
        id: ChangeQuoteId::new(ids.next()),
        account: account.id,
        to: to.ok_or(ApiError::NotFound("plan"))?,
        quantity: wish.quantity,
        timing: wish.when,
        by: ProrationUnit::Second,
        is_kept: true,
        now,
    };
    let kept = orders.quote(&ask).await?;
    let shown = Shown {
        plans: &**plans,
        dunning: &dunning,
        now,
    };
    Ok(HttpResponse::Created().json(shown.quote(&kept).await?))
}

/// A quote to be taken.
#[derive(ToSchema)]
pub(crate) struct Taking {
    /// The quote's id.
    #[schema(value_type = String, example = "chq_0001fv5kz4y00")]
    quote: ChangeQuoteId,
    /// Only say what would come of it.
    #[schema(required = false, default = false)]
    preview: bool,
}

impl FromFields for Taking {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let quote = fields.id("quote");
        let quote = fields.required("quote", quote);
        let preview = fields.flag("preview");
        Ok(Self {
            quote: quote?,
            preview: preview?.unwrap_or(false),
        })
    }
}

/// How a subscription is to be cancelled.
#[derive(ToSchema)]
pub(crate) struct Cancelling {
    /// `period_end`, or `now`.
    #[schema(value_type = Option<String>, example = "period_end")]
    when: Timing,
    /// Whether what was paid and not used goes back to the wallet, where it ends now.
    #[schema(required = false, default = true)]
    credit: bool,
    /// Only say what would come of it.
    #[schema(required = false, default = false)]
    preview: bool,
}

impl FromFields for Cancelling {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let when = when(fields);
        let credit = fields.flag("credit");
        let preview = fields.flag("preview");
        let (when, credit) = (when?.unwrap_or(Timing::PeriodEnd), credit?);
        if when == Timing::PeriodEnd && credit.is_some() {
            return fields.wrong(
                "credit",
                "without_effect",
                "credit is for what ends now: nothing is left at the end of the period.",
            );
        }
        Ok(Self {
            when,
            credit: credit.unwrap_or(true),
            preview: preview?.unwrap_or(false),
        })
    }
}

/// What is asked without more words.
#[derive(ToSchema)]
pub(crate) struct Asking {
    /// Only say what would come of it.
    #[schema(required = false, default = false)]
    preview: bool,
}

impl FromFields for Asking {
    fn read(fields: &mut Fields) -> Result<Self, Noted> {
        let preview = fields.flag("preview")?;
        Ok(Self {
            preview: preview.unwrap_or(false),
        })
    }
}

/// What an order goes through, and whose it is.
#[derive(Debug)]
pub(crate) struct Desk {
    user: User,
    account: AccountId,
    headers: HeaderMap,
    directory: web::Data<dyn Directory>,
    plans: web::Data<dyn Plans>,
    orders: web::Data<dyn Orders>,
    dunning: web::Data<Dunning>,
    clock: web::Data<dyn Clock>,
}

impl Desk {
    /// Carries out an order, or says what would come of it.
    async fn place(self, order: Order, preview: bool) -> Result<HttpResponse, ApiError> {
        let (directory, id) = (&**self.directory, self.account);
        let account = access::account(directory, &self.user, id, Role::Admin).await?;
        let key = match idempotency_key(&self.headers) {
            Err(_) if preview => String::new(),
            key => key?,
        };
        let made = NewOrder {
            account: account.id,
            order,
            key,
            now: self.clock.now(),
        };
        let done = if preview {
            self.orders.preview(&made).await?
        } else {
            orders::place(&**self.orders, &**self.clock, made).await?
        };
        let shown = Shown {
            plans: &**self.plans,
            dunning: &self.dunning,
            now: self.clock.now(),
        };
        let mut response = HttpResponse::Ok();
        if done.is_replayed {
            response.insert_header(("idempotent-replayed", "true"));
        }
        Ok(response.json(shown.done(&done, preview).await?))
    }
}

/// A handler of an order: everything that it takes is the same but its body.
macro_rules! orders {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident($path:literal, $id:literal, $body:ty, $refused:literal)
            |$read:ident| $order:expr;
    )*) => {$(
        $(#[doc = $doc])*
        #[utoipa::path(
            post, path = $path, operation_id = $id, tag = "subscriptions",
            params(
                ("account" = String, Path, description = "The account",
                    example = "acc_0001fv5kz4y00"),
                ("Idempotency-Key" = Option<String>, Header, description = "Names this once and \
                    for all, 1 to 255 visible ASCII characters; needed unless it is a preview"),
            ),
            request_body = $body,
            responses(
                (status = 200, description = "It is done, or previewed", body = DoneDto,
                    headers(("idempotent-replayed" = String, description = "`true` where the key \
                        was used before and nothing was done now"))),
                (status = 400, description = "The Idempotency-Key is missing, or the body is not \
                    JSON", body = Problem, content_type = "application/problem+json"),
                (status = 401, description = "Nobody is signed in", body = Problem,
                    content_type = "application/problem+json"),
                (status = 402, description = "The wallet has too little bought credit \
                    (`insufficient_funds`)", body = Problem,
                    content_type = "application/problem+json"),
                (status = 403, description = "The role does not allow it, or the account is \
                    stopped", body = Problem, content_type = "application/problem+json"),
                (status = 404, description = "No such account, or not the user's, or nothing is \
                    billed to it, or no such quote of it", body = Problem,
                    content_type = "application/problem+json"),
                (status = 409, description = $refused, body = Problem,
                    content_type = "application/problem+json"),
                (status = 422, description = "A field is wrong, or the key was used for something \
                    else", body = Problem, content_type = "application/problem+json"),
                (status = 503, description = "The books cannot be reached; repeat with the same \
                    key", body = Problem, content_type = "application/problem+json"),
            ),
            security(("session" = [])),
        )]
        #[expect(
            clippy::too_many_arguments,
            reason = "a handler takes each thing that it uses"
        )]
        pub(crate) async fn $name(
            request: HttpRequest,
            path: web::Path<AccountId>,
            SignedIn(user): SignedIn,
            body: Body<$body>,
            directory: web::Data<dyn Directory>,
            plans: web::Data<dyn Plans>,
            orders: web::Data<dyn Orders>,
            dunning: web::Data<Dunning>,
            clock: web::Data<dyn Clock>,
        ) -> Result<HttpResponse, ApiError> {
            let headers = request.headers().clone();
            let account = path.into_inner();
            let desk = Desk { user, account, headers, directory, plans, orders, dunning, clock };
            let $read = body.0;
            let order = $order;
            desk.place(order, $read.preview).await
        }
    )*};
}

orders! {
    /// Change a subscription as a quote says
    ///
    /// What the quote credits and charges moves with the change, or nothing does: its total, with
    /// taxes, is paid from the wallet's bought credit, or goes back there.
    change("/api/v1/accounts/{account}/subscription/change", "change_subscription", Taking,
        "The quote is too old (`quote_expired`), was taken (`quote_taken`), the subscription has \
            changed since (`subscription_changed`), more of the plan was used since \
            (`used_since_quote`), its taxes have changed (`tax_changed`), or what coupons take off it \
            (`discount_changed`), or it would give back more than was paid (`more_than_paid`), or \
            calls that are running hold the funds (`funds_in_use`)")
        |taking| Order::Take(taking.quote);

    /// Cancel a subscription
    ///
    /// At the end of its period, which can be taken back until then; or now, with what was paid and
    /// not used back in the wallet.
    cancel("/api/v1/accounts/{account}/subscription/cancel", "cancel_subscription", Cancelling,
        "It does not stand where it can be cancelled so (`wrong_state`), or it would give back more \
            than was paid (`more_than_paid`)")
        |cancelling| match cancelling.when {
            Timing::PeriodEnd => Order::CancelAtEnd,
            Timing::Now => Order::CancelNow { is_credited: cancelling.credit },
        };

    /// Take back that a subscription is to end, or to change
    resume("/api/v1/accounts/{account}/subscription/resume", "resume_subscription", Asking,
        "There is nothing to take back (`nothing_to_resume`)")
        |asking| Order::Resume;

    /// Let a subscription rest
    ///
    /// Nothing is billed and nothing given until it is taken up again; what is left of its period is
    /// lost.
    pause("/api/v1/accounts/{account}/subscription/pause", "pause_subscription", Asking,
        "It does not stand where it can be paused (`wrong_state`)")
        |asking| Order::Pause;

    /// Take up again a subscription that rests
    ///
    /// A period begins now and is paid from the wallet's bought credit.
    unpause("/api/v1/accounts/{account}/subscription/unpause", "unpause_subscription", Asking,
        "It does not rest (`wrong_state`), or calls that are running hold the funds \
            (`funds_in_use`)")
        |asking| Order::Unpause;
}
