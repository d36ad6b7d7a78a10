//! The customers of a demo's past: what they buy, what they change, and what they forget.

use std::collections::BTreeSet;

use billing_core::budget::Amount;
use billing_core::id::{
    AccountId, ChangeQuoteId, CouponId, LotId, PlanId, PlanVersionId, QuotaId, SubscriptionId,
    UserId,
};
use billing_core::invoice::{BillingDetails, Coupon, CouponDuration, CouponOff, Locale, Party};
use billing_core::money::{Currency, Nanos};
use billing_core::plan::PlanTerms;
use billing_core::port::coupons::NewCoupon;
use billing_core::port::directory::{Account, Role, User};
use billing_core::port::orders::{NewOrder, QuoteAsk};
use billing_core::port::plans::{NewSubscription, NewVersion};
use billing_core::proration::ProrationUnit;
use billing_core::subscription_order::Order;
use billing_core::wallet::{AccountStatus, Credit, LotKind};
use serde_json::{Value, json};
use time::Duration;

use crate::cli::CliError;
use crate::cli::billing::over;
use crate::cli::keys::{NewKey, make_key};
use crate::orders::place;
use crate::secrets;
use crate::wiring::Ports;

/// Takes a fifth off three periods.
const COUPON: &str = "WELCOME20";
const DOLLAR: i64 = 1_000_000_000;

/// Something that a customer does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// Buys so many dollars of credit.
    TopUp(i64),
    /// Is given so many dollars, for so many days.
    Given(i64, i64),
    /// Takes a plan, with a coupon or without.
    Subscribe(&'static str, Option<&'static str>),
    /// Changes to a plan at once.
    Change(&'static str),
    /// Lets the plan end with its period.
    Cancel,
}

/// A customer.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) account: AccountId,
    /// The secrets of its keys.
    pub(super) keys: Vec<String>,
    script: &'static Script,
    /// How many things it has done.
    done: u32,
}

/// What is known of a customer before it comes.
#[derive(Debug)]
struct Script {
    name: &'static str,
    zone: &'static str,
    locale: Locale,
    country: &'static str,
    address: &'static [&'static str],
    keys: &'static [&'static str],
    /// How many calls it makes in each of a day's hours at most, at first.
    calls: usize,
    /// What it does on which day.
    events: &'static [(u16, Event)],
}

const SCRIPTS: [Script; 4] = [
    // Begins with a coupon and grows out of its plan.
    Script {
        name: "Aurora Labs",
        zone: "America/New_York",
        locale: Locale::En,
        country: "US",
        address: &["500 Example Avenue", "New York, NY 10001"],
        keys: &["production", "staging", "notebooks"],
        calls: 5,
        events: &[
            (0, Event::TopUp(300)),
            (3, Event::Subscribe("pro", Some(COUPON))),
            (41, Event::Change("team")),
        ],
    },
    // Pays as it goes, and leaves a part of what it was given.
    Script {
        name: "晨星科技",
        zone: "Asia/Shanghai",
        locale: Locale::ZhCn,
        country: "CN",
        address: &["示例路 88 号", "200000 上海"],
        keys: &["线上", "测试"],
        calls: 4,
        events: &[
            (5, Event::TopUp(50)),
            (5, Event::Given(5, 30)),
            (45, Event::TopUp(50)),
        ],
    },
    // Forgets to top up, and comes back.
    Script {
        name: "Borealis Analytics",
        zone: "Europe/Berlin",
        locale: Locale::En,
        country: "DE",
        address: &["Beispielweg 7", "10115 Berlin"],
        keys: &["etl"],
        calls: 3,
        events: &[
            (8, Event::TopUp(45)),
            (8, Event::Subscribe("pro", None)),
            (71, Event::TopUp(40)),
        ],
    },
    // Tries, stays for a while, and leaves.
    Script {
        name: "Cedar Studio",
        zone: "UTC",
        locale: Locale::En,
        country: "GB",
        address: &["1 Sample Street", "London"],
        keys: &["site"],
        calls: 2,
        events: &[
            (12, Event::TopUp(60)),
            (12, Event::Subscribe("starter", None)),
            (50, Event::Cancel),
        ],
    },
];

/// Publishes the plans and the coupon, and makes the customers' accounts and keys.
///
/// # Errors
/// [`CliError`].
pub(super) async fn customers(ports: &Ports) -> Result<Vec<Customer>, CliError> {
    let quota = |unit: &str, amount: u64| json!({ "models": "sim/*", "unit": unit, "amount": amount, "window": "period" });
    let terms = |dollars: i64, more: Value| {
        let mut terms = json!({
            "currency": "USD", "price": dollars.saturating_mul(DOLLAR),
            "billing": { "every": "P1M" }, "after_quota": "wallet",
        });
        if let (Some(terms), Value::Object(more)) = (terms.as_object_mut(), more) {
            terms.extend(more);
        }
        terms
    };
    for (code, name, terms) in [
        (
            "starter",
            "Starter",
            terms(
                9,
                json!({ "trial_days": 14, "quotas": [quota("calls", 100)] }),
            ),
        ),
        (
            "pro",
            "Pro",
            terms(
                20,
                json!({
                    "included_credit": 2 * DOLLAR,
                    "quotas": [quota("calls", 150), quota("tokens", 60_000)],
                }),
            ),
        ),
        (
            "team",
            "Team",
            terms(
                60,
                json!({
                    "discount": "20", "speed_boost": true,
                    "quotas": [quota("calls", 600), quota("tokens", 300_000)],
                }),
            ),
        ),
    ] {
        publish(ports, (code, name), terms).await?;
    }
    give_coupon(ports).await?;
    let mut customers = Vec::new();
    for script in &SCRIPTS {
        customers.push(Customer::new(ports, script).await?);
    }
    Ok(customers)
}

/// Whether somebody has begun to make them on this database.
///
/// # Errors
/// [`CliError`].
pub(super) async fn are_there(ports: &Ports) -> Result<bool, CliError> {
    let code = COUPON.parse().map_err(wrong)?;
    Ok(ports.coupons.find(&code).await?.is_some())
}

async fn publish(ports: &Ports, (code, name): (&str, &str), terms: Value) -> Result<(), CliError> {
    let terms: PlanTerms = serde_json::from_value(terms).map_err(wrong)?;
    let made = NewVersion {
        plan: PlanId::new(ports.ids.next()),
        code: code.to_owned(),
        name: name.to_owned(),
        version: PlanVersionId::new(ports.ids.next()),
        quotas: terms
            .quotas
            .iter()
            .map(|_| QuotaId::new(ports.ids.next()))
            .collect(),
        terms,
        now: ports.clock.now(),
    };
    ports.plans.publish(made).await?;
    Ok(())
}

async fn give_coupon(ports: &Ports) -> Result<(), CliError> {
    let coupon = Coupon {
        code: COUPON.parse().map_err(wrong)?,
        name: "Welcome: 20 % off".to_owned(),
        off: CouponOff::Percent("20".parse().map_err(wrong)?),
        duration: CouponDuration::Periods(3),
        minimum: None,
        redeem_by: None,
        most_redemptions: None,
        plans: BTreeSet::new(),
    };
    let made = NewCoupon {
        id: CouponId::new(ports.ids.next()),
        coupon,
        plans: BTreeSet::new(),
        now: ports.clock.now(),
    };
    ports.coupons.create(made).await?;
    Ok(())
}

fn wrong(why: impl std::fmt::Display) -> CliError {
    CliError::Argument(format!("the demo's past: {why}"))
}

impl Customer {
    async fn new(ports: &Ports, script: &'static Script) -> Result<Self, CliError> {
        let account = AccountId::new(ports.ids.next());
        let made = Account {
            id: account,
            name: script.name.to_owned(),
            currency: Currency::USD,
            zone: script.zone.to_owned(),
            status: AccountStatus::Active,
            credit_limit: Amount::ZERO,
            created_at: ports.clock.now(),
        };
        ports.directory.create_account(made).await?;
        let details = BillingDetails {
            party: Party {
                address: script.address.iter().map(|&line| line.to_owned()).collect(),
                country: script.country.parse().map_err(wrong)?,
                ..Party::named(script.name)
            },
            locale: script.locale,
        };
        ports
            .invoices
            .set_billing_details(account, &details)
            .await?;
        let mut keys = Vec::new();
        for name in script.keys {
            let new = NewKey {
                account,
                member: None,
                name: (*name).to_owned(),
                limit: None,
                models: Vec::new(),
            };
            keys.push(make_key(ports, new).await?.1);
        }
        Ok(Self {
            account,
            keys,
            script,
            done: 0,
        })
    }

    /// Makes somebody who owns the account, and answers with the password.
    ///
    /// # Errors
    /// [`CliError`].
    pub(super) async fn owner(&self, ports: &Ports, email: &str) -> Result<String, CliError> {
        let password = secrets::new_password()?;
        let user = User {
            id: UserId::new(ports.ids.next()),
            email: email.to_owned(),
            operator: false,
            created_at: ports.clock.now(),
        };
        let id = user.id;
        let hash = secrets::hash_password(&password)?;
        ports.directory.create_user(user, &hash).await?;
        ports
            .directory
            .add_member(self.account, id, Role::Owner)
            .await?;
        Ok(password)
    }

    /// What it does on a day.
    pub(super) fn on(&self, day: u16) -> Vec<Event> {
        let events = self.script.events.iter().filter(|(on, _)| *on == day);
        events.map(|(_, event)| *event).collect()
    }

    /// How many calls it makes in an hour of a day at most: none before it has paid anything, half as
    /// many on two days of seven, and more as time passes.
    pub(super) fn calls_on(&self, day: u16) -> usize {
        let since = self.script.events.first().map_or(0, |(day, _)| *day);
        if day < since {
            return 0;
        }
        let grown = self.script.calls.saturating_mul(usize::from(day)) / 90;
        let calls = self.script.calls.saturating_add(grown);
        if day % 7 >= 5 { calls / 2 } else { calls }
    }

    /// Does something, now.
    ///
    /// # Errors
    /// [`CliError`].
    pub(super) async fn does(&mut self, ports: &Ports, event: Event) -> Result<(), CliError> {
        self.done = self.done.saturating_add(1);
        match event {
            Event::TopUp(dollars) => self.credited(ports, LotKind::Paid, dollars, None).await,
            Event::Given(dollars, days) => {
                self.credited(ports, LotKind::Promo, dollars, Some(days))
                    .await
            }
            Event::Subscribe(plan, coupon) => self.subscribe(ports, plan, coupon).await,
            Event::Change(plan) => self.change(ports, plan).await,
            Event::Cancel => self.order(ports, Order::CancelAtEnd).await,
        }
    }

    async fn credited(
        &self,
        ports: &Ports,
        kind: LotKind,
        dollars: i64,
        days: Option<i64>,
    ) -> Result<(), CliError> {
        let now = ports.clock.now();
        let credit = Credit {
            lot: LotId::new(ports.ids.next()),
            kind,
            amount: Nanos::new(dollars.saturating_mul(DOLLAR)),
            currency: Currency::USD,
            priority: 0,
            expires_at: days.map(|days| now.saturating_add(Duration::days(days))),
            key: format!("demo:{}", self.done),
            note: match kind {
                LotKind::Paid => "bank transfer".to_owned(),
                LotKind::Promo => "welcome".to_owned(),
            },
        };
        ports.books.add_credit(self.account, credit, now).await?;
        Ok(())
    }

    async fn subscribe(
        &self,
        ports: &Ports,
        plan: &str,
        coupon: Option<&str>,
    ) -> Result<(), CliError> {
        let version = ports.plans.newest(plan).await?;
        let made = NewSubscription {
            id: SubscriptionId::new(ports.ids.next()),
            account: self.account,
            version: version.ok_or_else(|| wrong(plan))?.id,
            quantity: 1,
            after_quota: None,
            coupon: coupon.map(str::parse).transpose().map_err(wrong)?,
            now: ports.clock.now(),
        };
        let began = ports.plans.begin(made).await?;
        over(ports, false).one(began.id, &mut Vec::new()).await?;
        Ok(())
    }

    async fn change(&self, ports: &Ports, plan: &str) -> Result<(), CliError> {
        let version = ports.plans.newest(plan).await?;
        let ask = QuoteAsk {
            id: ChangeQuoteId::new(ports.ids.next()),
            account: self.account,
            to: version.ok_or_else(|| wrong(plan))?.id,
            quantity: None,
            timing: None,
            by: ProrationUnit::Second,
            is_kept: true,
            now: ports.clock.now(),
        };
        let kept = ports.orders.quote(&ask).await?;
        self.order(ports, Order::Take(kept.id)).await
    }

    async fn order(&self, ports: &Ports, order: Order) -> Result<(), CliError> {
        let made = NewOrder {
            account: self.account,
            order,
            key: format!("demo:{}", self.done),
            now: ports.clock.now(),
        };
        place(&*ports.orders, &*ports.clock, made).await?;
        Ok(())
    }
}
