//! Subscriptions that are billed, and their fees, in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use billing_core::billing_run::{Saving, due_at};
use billing_core::budget::BudgetScope;
use billing_core::fee_payment::{FEE_WAITS, FeePayment, pay_from_wallet, payment_key};
use billing_core::id::{AccountId, LotId, PlanId, PlanVersionId, SubscriptionId};
use billing_core::invoice::FeeDocuments;
use billing_core::lease::{Claim, HOUSE, HOUSE_CLAIM_FOR};
use billing_core::money::Minor;
use billing_core::plan::{AfterQuota, PlanVersion};
use billing_core::port::directory::ChangeSubject;
use billing_core::port::plans::{NewSubscription, PlansError};
use billing_core::port::subscriptions::{
    Collected, Collector, RecordError, Standing, Subscriptions,
};
use billing_core::proration::{ProrationUnit, Share};
use billing_core::settlement::Booking;
use billing_core::subscription::{
    Effect, Fee, FeeKind, Start, State as Stands, Subscription, charged,
};
use billing_core::subscription_order::can_pay;
use billing_core::wallet::{Credit, LotKind};
use time::OffsetDateTime;

use super::plans::Published;
use super::{Booked, Memory, State};

/// Subscriptions that are billed.
#[derive(Debug, Default)]
pub(super) struct Billed {
    all: BTreeMap<SubscriptionId, Kept>,
    /// Fees by key: whose, and when each was paid.
    fees: BTreeMap<String, (SubscriptionId, Fee, Option<OffsetDateTime>)>,
    /// What came of each try, and since when it goes on.
    tries: BTreeMap<(String, u8), (Collected, OffsetDateTime)>,
    /// What coupons took off fees, by key.
    discounts: BTreeMap<String, i64>,
}

#[derive(Debug)]
struct Kept {
    subscription: Subscription,
    after_quota: Option<AfterQuota>,
    due_at: Option<OffsetDateTime>,
    parked: Option<String>,
}

impl Memory {
    pub(super) fn begin_billed(&self, made: &NewSubscription) -> Result<Subscription, PlansError> {
        let mut state = self.state();
        let account = state.accounts.get(&made.account).cloned();
        let account = account.ok_or(PlansError::NoSuchAccount)?;
        let (_, version) = state.version(made.version).ok_or(PlansError::NotOnSale)?;
        made.check(&version, account.currency)?;
        if let Some(code) = state.standing_code(made.account) {
            return Err(PlansError::Already(code));
        }
        let had = state.subscriptions.iter();
        let had = had
            .filter(|(of, subscribed, _)| *of == made.account && subscribed.plan == version.plan);
        let billed = state.billed.all.values();
        let mut billed = billed.filter(|kept| kept.subscription.account == made.account);
        let tried = billed.any(|kept| {
            let of = state.version(kept.subscription.version);
            of.is_some_and(|(_, of)| of.plan == version.plan)
        });
        let start = Start {
            id: made.id,
            account: made.account,
            version: &version,
            quantity: made.quantity,
            zone: account.zone.parse().unwrap(),
            may_try: had.count() == 0 && !tried,
        };
        let (mut subscription, effects) = Subscription::start(start, made.now)?;
        if let Some(code) = &made.coupon {
            let on = (account.currency, Some(version.plan));
            state.redeem((made.account, code), on, made.now)?;
        }
        let bills = state.bill(&mut subscription, &effects, made.now).unwrap();
        let kept = Kept {
            due_at: due_at(&subscription, &state.dunning),
            subscription: subscription.clone(),
            after_quota: made.after_quota,
            parked: None,
        };
        state.billed.all.insert(made.id, kept);
        state.sync(made.id, made.now);
        let applied = (effects.as_slice(), bills);
        state.apply(&subscription, applied, made.now).unwrap();
        Ok(subscription)
    }
}

impl State {
    pub(super) fn version(&self, id: PlanVersionId) -> Option<Published> {
        self.plans.iter().find(|(_, v)| v.id == id).cloned()
    }

    /// The code of the plan that an account is on and that has not ended.
    pub(super) fn standing_code(&self, account: AccountId) -> Option<String> {
        let billed = self.billed.all.values().find(|kept| {
            let is_over = matches!(kept.subscription.state, Stands::Ended { .. });
            kept.subscription.account == account && !is_over
        });
        let of_billed = billed.and_then(|kept| self.version(kept.subscription.version));
        of_billed.map(|(code, _)| code).or_else(|| {
            self.subscribed(account)
                .map(|subscribed| subscribed.code.clone())
        })
    }

    /// The plan that an account is on and that has not ended.
    pub(super) fn standing_plan(&self, account: AccountId) -> Option<PlanId> {
        let code = self.standing_code(account)?;
        let mut plans = self.plans.iter();
        let of = plans.find(|(of, _)| *of == code);
        of.map(|(_, version)| version.plan)
    }

    /// Ends what an account is billed for; says whether it was.
    pub(super) fn end_billed(
        &mut self,
        account: AccountId,
        now: OffsetDateTime,
    ) -> Result<bool, PlansError> {
        let live = self.billed.all.values().find(|kept| {
            let is_over = matches!(kept.subscription.state, Stands::Ended { .. });
            kept.subscription.account == account && !is_over
        });
        let Some(kept) = live else {
            return Ok(false);
        };
        if kept.parked.is_some() {
            return Err(PlansError::Parked);
        }
        let mut subscription = kept.subscription.clone();
        let (_, version) = self.version(subscription.version).unwrap();
        let nothing = (ProrationUnit::Second, Share::new(0, 1));
        let effects = subscription.cancel_now(&version, nothing, false, now)?;
        let kept = self.billed.all.get_mut(&subscription.id).unwrap();
        (kept.subscription, kept.due_at) = (subscription.clone(), None);
        self.sync(subscription.id, now);
        let nothing = (effects.as_slice(), FeeDocuments::Nothing);
        self.apply(&subscription, nothing, now).unwrap();
        Ok(true)
    }

    /// Shows calls what has become of a subscription.
    pub(super) fn sync(&mut self, id: SubscriptionId, now: OffsetDateTime) {
        let kept = &self.billed.all[&id];
        let account = kept.subscription.account;
        let published = self.version(kept.subscription.version).unwrap();
        let zone = self.accounts[&account].zone.parse().unwrap();
        let open = kept
            .subscription
            .subscribed(published, kept.after_quota, zone);
        for (_, shown, closed) in &mut self.subscriptions {
            if shown.subscription == id && closed.is_none() {
                *closed = Some(now);
            }
        }
        self.subscriptions
            .extend(open.map(|open| (account, open, None)));
    }

    /// What documents the fees of a change.
    fn bill(
        &mut self,
        subscription: &mut Subscription,
        effects: &[Effect],
        now: OffsetDateTime,
    ) -> Result<FeeDocuments, RecordError> {
        let house = self.documents.house.clone();
        let of = (&*subscription, subscription.version);
        let bill_to = self.bill_to(&house, of, now);
        let currency = self.books[&subscription.account].wallet.currency;
        let documents = bill_to.bill((subscription, currency), &charged(effects), now);
        documents.map_err(|e| RecordError::Inconsistent(e.to_string()))
    }

    fn apply(
        &mut self,
        subscription: &Subscription,
        (effects, documents): (&[Effect], FeeDocuments),
        now: OffsetDateTime,
    ) -> Result<(), RecordError> {
        let fees = self.charge_all(subscription, effects)?;
        self.document_fees(subscription, (&fees, documents), now)?;
        self.follow(subscription, effects, now);
        Ok(())
    }

    /// Records fees that are charged together.
    pub(super) fn charge_all(
        &mut self,
        subscription: &Subscription,
        effects: &[Effect],
    ) -> Result<Vec<Fee>, RecordError> {
        let fees = charged(effects);
        if let Some(fee) = fees
            .iter()
            .find(|fee| self.billed.fees.contains_key(&fee.key))
        {
            let twice = format!("{} is charged twice", fee.key);
            return Err(RecordError::Inconsistent(twice));
        }
        let charged = fees.iter().cloned();
        let charged = charged.map(|fee| (fee.key.clone(), (subscription.id, fee, None)));
        self.billed.fees.extend(charged);
        Ok(fees)
    }

    /// Records what follows from a change besides its fees.
    pub(super) fn follow(
        &mut self,
        subscription: &Subscription,
        effects: &[Effect],
        now: OffsetDateTime,
    ) {
        let account = subscription.account;
        self.end_invoices(subscription, now);
        self.keep_messages(subscription, effects, now);
        for effect in effects {
            match effect {
                Effect::Grant {
                    key,
                    amount,
                    expires_at,
                } => {
                    let lot = LotId::new(self.txn_id(now).get());
                    let txn = self.txn_id(now);
                    let page = self.books.get_mut(&account).unwrap();
                    let credit = Credit {
                        lot,
                        kind: LotKind::Promo,
                        amount: amount.money(),
                        currency: page.wallet.currency,
                        priority: 0,
                        expires_at: Some(*expires_at),
                        key: key.clone(),
                        note: "included in the plan".to_owned(),
                    };
                    page.add_credit(account, credit, txn, now).unwrap();
                }
                Effect::Charge(_) | Effect::Retry(_) | Effect::Tell(_) => {}
            }
        }
        self.changes.push(ChangeSubject::Account(account));
    }

    /// A subscription as it stands.
    pub(super) fn standing(&mut self, id: SubscriptionId, now: OffsetDateTime) -> Option<Standing> {
        let subscription = self.billed.all.get(&id)?.subscription.clone();
        let house = self.documents.house.clone();
        let bill_to = self.bill_to(&house, (&subscription, subscription.version), now);
        let version = |id| -> PlanVersion { self.version(id).unwrap().1 };
        let (now_on, next) = (version(subscription.version), subscription.pending);
        let page = &self.books[&subscription.account];
        let of = (&subscription, &now_on);
        let wallet = (page.wallet, page.lots.clone());
        Some(Standing {
            open_fee: self.open_fee(&subscription),
            can_pay: can_pay(of, wallet, &bill_to, now),
            next: next.map(|next| version(next.version)),
            version: now_on,
            subscription,
        })
    }

    /// Records what has become of a subscription.
    pub(super) fn record(
        &mut self,
        saving: &Saving,
        now: OffsetDateTime,
    ) -> Result<(), RecordError> {
        let mut saving = saving.clone();
        let bills = self.bill(&mut saving.subscription, &saving.effects, now)?;
        let saving = &saving;
        let subscription = &saving.subscription;
        let before = self.stand(saving)?;
        let applied = (saving.effects.as_slice(), bills);
        if let Err(error) = self.apply(subscription, applied, now) {
            let kept = self.billed.all.get_mut(&subscription.id).unwrap();
            (kept.subscription, kept.due_at) = before;
            return Err(error);
        }
        if let Some(fee) = &saving.paid {
            self.billed.paid(fee, now);
            self.paid_for(fee);
        }
        self.sync(subscription.id, now);
        Ok(())
    }

    /// Notes what a subscription has become, where it stands at the revision; says what it was.
    pub(super) fn stand(
        &mut self,
        saving: &Saving,
    ) -> Result<(Subscription, Option<OffsetDateTime>), RecordError> {
        let kept = self.billed.all.get_mut(&saving.subscription.id);
        let kept = kept
            .filter(|kept| kept.parked.is_none() && kept.subscription.revision == saving.revision);
        let kept = kept.ok_or(RecordError::Changed)?;
        let before = (kept.subscription.clone(), kept.due_at);
        (kept.subscription, kept.due_at) = (saving.subscription.clone(), saving.due_at);
        Ok(before)
    }

    fn open_fee(&self, subscription: &Subscription) -> Option<Fee> {
        let owes = matches!(
            subscription.state,
            Stands::Incomplete { .. } | Stands::Grace(_) | Stands::PastDue(_)
        );
        let (_, period) = subscription.billed_period().filter(|_| owes)?;
        let mut fees = self.billed.fees.values();
        let fee = fees.find(|(of, fee, paid)| {
            let is_owed = paid.is_none() && fee.kind == FeeKind::Plan;
            *of == subscription.id && is_owed && fee.period == period
        });
        fee.map(|(_, fee, _)| fee.clone())
    }
}

impl Billed {
    /// What an account is billed for and that has not ended, and whether it is set aside.
    pub(super) fn live(&self, account: AccountId) -> Option<(SubscriptionId, bool)> {
        let mut all = self.all.values();
        let live = all.find(|kept| {
            let is_over = matches!(kept.subscription.state, Stands::Ended { .. });
            kept.subscription.account == account && !is_over
        });
        live.map(|kept| (kept.subscription.id, kept.parked.is_some()))
    }

    /// All that have not ended: each with whose it is and its version.
    pub(super) fn all_live(
        &self,
    ) -> impl Iterator<Item = (SubscriptionId, AccountId, PlanVersionId)> {
        let all = self.all.values().map(|kept| &kept.subscription);
        let live = all.filter(|of| !matches!(of.state, Stands::Ended { .. }));
        live.map(|of| (of.id, of.account, of.version))
    }

    /// Notes that a fee is paid, for the period that it turned out to be for.
    pub(super) fn paid(&mut self, fee: &Fee, now: OffsetDateTime) {
        let (_, on_record, paid) = self.fees.get_mut(&fee.key).unwrap();
        (*on_record, *paid) = (fee.clone(), Some(now));
    }

    /// What was paid for a subscription less what was given back, in minor units.
    pub(super) fn paid_for(&self, id: SubscriptionId) -> i64 {
        let fees = self.fees.values();
        let paid = fees.filter(|(of, _, paid)| *of == id && paid.is_some());
        let off = |fee: &Fee| self.discounts.get(&fee.key).copied().unwrap_or(0);
        paid.map(|(_, fee, _)| fee.amount - off(fee)).sum()
    }

    /// Notes what coupons took off fees that are charged together.
    pub(super) fn discounted(&mut self, fees: &[Fee], off: Minor) {
        let whole = fees.iter().find(|fee| fee.kind == FeeKind::Plan);
        let whole = whole.map(|fee| (fee.key.clone(), off.get()));
        self.discounts.extend(whole);
    }
}

#[async_trait]
impl Subscriptions for Memory {
    async fn due(
        &self,
        by: OffsetDateTime,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        let state = self.state();
        let is_due = |kept: &Kept| kept.parked.is_none() && kept.due_at.is_some_and(|at| at <= by);
        let due = state.billed.all.iter().filter(|(_, kept)| is_due(kept));
        let due = due.map(|(id, _)| *id).filter(|id| Some(*id) > after);
        Ok(due.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn owing(
        &self,
        after: Option<SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<SubscriptionId>, RecordError> {
        let state = self.state();
        let owes = |kept: &Kept| {
            matches!(
                kept.subscription.state,
                Stands::Grace(_) | Stands::PastDue(_)
            )
        };
        let owing = state.billed.all.iter().filter(|(_, kept)| owes(kept));
        let owing = owing.map(|(id, _)| *id).filter(|id| Some(*id) > after);
        Ok(owing.take(usize::try_from(limit).unwrap()).collect())
    }

    async fn look_at(
        &self,
        id: SubscriptionId,
        revision: u64,
        due_at: Option<OffsetDateTime>,
    ) -> Result<(), RecordError> {
        let mut state = self.state();
        let kept = state.billed.all.get_mut(&id);
        let stands =
            |kept: &&mut Kept| kept.parked.is_none() && kept.subscription.revision == revision;
        if let Some(kept) = kept.filter(stands) {
            kept.due_at = due_at;
        }
        Ok(())
    }

    async fn load(
        &self,
        id: SubscriptionId,
        now: OffsetDateTime,
    ) -> Result<Option<Standing>, RecordError> {
        Ok(self.state().standing(id, now))
    }

    async fn save(&self, saving: &Saving, now: OffsetDateTime) -> Result<(), RecordError> {
        self.state().record(saving, now)
    }

    async fn park(
        &self,
        id: SubscriptionId,
        why: &str,
        _: OffsetDateTime,
    ) -> Result<(), RecordError> {
        if let Some(kept) = self.state().billed.all.get_mut(&id) {
            kept.parked = Some(why.to_owned());
        }
        Ok(())
    }

    async fn parked(&self) -> Result<Vec<(SubscriptionId, String)>, RecordError> {
        let state = self.state();
        let all = state.billed.all.iter();
        let parked = all.filter_map(|(id, kept)| Some((*id, kept.parked.clone()?)));
        Ok(parked.collect())
    }

    async fn unpark(&self, id: SubscriptionId, now: OffsetDateTime) -> Result<bool, RecordError> {
        let mut state = self.state();
        let kept = state.billed.all.get_mut(&id);
        let Some(kept) = kept.filter(|kept| kept.parked.is_some()) else {
            return Ok(false);
        };
        (kept.parked, kept.due_at) = (None, Some(now));
        Ok(true)
    }
}

#[async_trait]
impl Collector for Memory {
    async fn collect(
        &self,
        account: AccountId,
        fee: &Fee,
        attempt: u8,
        now: OffsetDateTime,
    ) -> Result<Collected, RecordError> {
        let mut state = self.state();
        let txn = state.txn_id(now);
        let key = payment_key(fee);
        let fingerprint = format!("fee {}", fee.amount);
        if let Some((before, ..)) = state.books[&account].keys.get(&key) {
            if *before != fingerprint {
                let what = format!("{} was paid as another amount", fee.key);
                return Err(RecordError::Inconsistent(what));
            }
            return Ok(Collected::Paid);
        }
        let tried = state.billed.tries.get(&(fee.key.clone(), attempt)).copied();
        if let Some((Collected::Declined, _)) = tried {
            return Ok(Collected::Declined);
        }
        let since = tried.map_or(now, |(_, since)| since);
        let invoice = state.invoice_of(fee);
        let page = state.books.get_mut(&account).unwrap();
        let booking = Booking { txn, now };
        let paid = pay_from_wallet(
            account,
            page.wallet,
            page.lots.clone(),
            (fee, invoice),
            booking,
        );
        let mut of_paid = None;
        let collected = match paid.unwrap() {
            FeePayment::Paid(paid) => {
                let balance = paid.wallet.posted;
                (page.wallet, page.lots) = (paid.wallet, paid.lots);
                of_paid = paid.invoice;
                let note = "fee of a subscription".to_owned();
                page.keys.insert(key, (fingerprint, txn, balance));
                page.journal.push(Booked {
                    txn: paid.txn,
                    note,
                });
                Collected::Paid
            }
            FeePayment::OnLease(wanted) if now < since + FEE_WAITS => {
                let claim = Claim {
                    node: HOUSE,
                    since: now,
                    wanted,
                    expires_at: now + HOUSE_CLAIM_FOR,
                };
                page.claims.insert((HOUSE, BudgetScope::Wallet), claim);
                Collected::Unknown
            }
            FeePayment::Forgiven => Collected::Paid,
            FeePayment::OnLease(_) | FeePayment::Short => Collected::Declined,
        };
        if collected != Collected::Unknown {
            page.claims.remove(&(HOUSE, BudgetScope::Wallet));
        }
        if let Some(invoice) = of_paid {
            state.invoice_paid(invoice);
        }
        let tries = &mut state.billed.tries;
        tries.insert((fee.key.clone(), attempt), (collected, since));
        if collected == Collected::Paid {
            state.changes.push(ChangeSubject::Account(account));
        }
        Ok(collected)
    }
}
