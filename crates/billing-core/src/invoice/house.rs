//! How the house invoices what it charges: who sells, in which series, taxed how; and the draft of what
//! subscriptions are charged.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::assembly::{AssemblyError, Draft, InvoiceHead, InvoiceParts, assemble};
use super::discount::Discount;
use super::line::{Component, LineItem, LineUnit};
use super::number::{DocumentNumber, Numbering};
use super::party::{Country, Locale, Party, PartyError};
use super::tax::TaxCategory;
use super::tax_table::TaxTable;
use super::{Invoice, Issue};
use crate::charge_model::Quantity;
use crate::id::{AccountId, InvoiceId, PlanId};
use crate::money::{Currency, Minor, Money, Nanos};
use crate::subscription::{Fee, FeeKind};

/// What the house says of itself on invoices, and how it numbers and taxes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoicing {
    /// Who sells.
    pub seller: Party,
    /// The series of invoices.
    pub invoices: Numbering,
    /// The series of credit notes. Never that of invoices.
    pub credit_notes: Numbering,
    /// Which taxes are due.
    pub taxes: TaxTable,
    /// What fees of plans are, for taxes.
    pub category: TaxCategory,
    /// In how many days an invoice is to be paid.
    pub due_days: u16,
    /// The language of invoices to accounts that have chosen none.
    pub locale: Locale,
    /// What stands at the foot of each invoice, a paragraph each.
    pub notes: Vec<String>,
}

/// To whom an account's invoices are written, and in which language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingDetails {
    /// Who buys.
    pub party: Party,
    /// The language.
    pub locale: Locale,
}

/// Fees that were charged together, for one invoice.
#[derive(Debug, Clone)]
pub struct FeesSold {
    /// The invoice's id.
    pub id: InvoiceId,
    /// Who owes them.
    pub account: AccountId,
    /// Their currency.
    pub currency: Currency,
    /// To whom and how it is written.
    pub buyer: BillingDetails,
    /// The fees.
    pub fees: Vec<SoldFee>,
    /// What comes off fees of whole periods.
    pub discounts: Vec<Discount>,
}

/// A fee, and what it is for.
#[derive(Debug, Clone)]
pub struct SoldFee {
    /// The fee.
    pub fee: Fee,
    /// What the plan is called.
    pub subject: String,
    /// The plan; `None` where it is not known.
    pub plan: Option<PlanId>,
    /// How many of it.
    pub quantity: u32,
    /// Of a credit, what of the fee that it gives back is not earned yet.
    pub unearned: Nanos,
}

impl Default for Invoicing {
    /// Plain invoices of nobody in particular, without taxes.
    fn default() -> Self {
        Self {
            seller: Party::named("Tollgate"),
            invoices: Numbering::invoices(),
            credit_notes: Numbering::credit_notes(),
            taxes: TaxTable::untaxed(),
            category: TaxCategory::standard(),
            due_days: 0,
            locale: Locale::En,
            notes: Vec::new(),
        }
    }
}

impl Party {
    /// A party of which the name is known, and nothing else.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: Vec::new(),
            country: Country::UNKNOWN,
            region: None,
            tax_id: None,
            email: None,
        }
    }
}

impl BillingDetails {
    /// Whether an invoice can be written to them.
    ///
    /// # Errors
    /// [`PartyError`].
    pub fn check(&self) -> Result<(), PartyError> {
        self.party.check()
    }
}

impl Invoicing {
    /// To whom an account's invoices are written that has said nothing of it: to its name, as far as
    /// that can be set on paper.
    pub fn unnamed_buyer(&self, account: AccountId, name: &str) -> BillingDetails {
        let named = Party::named(name);
        let party = match named.check() {
            Ok(()) => named,
            Err(_) => Party::named(&account.to_string()),
        };
        BillingDetails {
            party,
            locale: self.locale,
        }
    }

    /// What makes a draft final now, with the next number of the series.
    pub fn issue(&self, number: DocumentNumber, at: OffsetDateTime) -> Issue {
        let due_at = at.saturating_add(Duration::days(i64::from(self.due_days)));
        Issue { number, at, due_at }
    }

    /// The invoice of fees, before it is final.
    ///
    /// # Errors
    /// [`AssemblyError`]; [`AssemblyError::CreditsExceedCharges`] where they give back more than they
    /// charge.
    pub fn draft(&self, sold: FeesSold, at: OffsetDateTime) -> Result<Draft, AssemblyError> {
        let buyer = &sold.buyer.party;
        let treatment = self
            .taxes
            .treatment(&self.seller, buyer, &self.category, at);
        let mut periods = sold.fees.iter().map(|sold| sold.fee.period);
        let first = periods.next();
        let period = first.filter(|first| periods.all(|other| other == *first));
        let mut items = Vec::with_capacity(sold.fees.len());
        for fee in &sold.fees {
            items.push(self.item(fee, sold.currency)?);
        }
        assemble(InvoiceParts {
            head: InvoiceHead {
                id: sold.id,
                account: sold.account,
                currency: sold.currency,
                seller: self.seller.clone(),
                buyer: sold.buyer.party,
                locale: sold.buyer.locale,
                period,
                notes: self.notes.clone(),
            },
            items,
            minimum: None,
            carried: None,
            discounts: sold.discounts,
            promo: Minor::ZERO,
            treatments: [(self.category.clone(), treatment)].into(),
        })
    }

    fn item(&self, sold: &SoldFee, currency: Currency) -> Result<LineItem, AssemblyError> {
        let fee = &sold.fee;
        Ok(LineItem {
            key: fee.key.clone(),
            component: Component::of_fee(fee.kind, sold.unearned),
            subject: sold.subject.clone(),
            period: Some(fee.period),
            quantity: Quantity::whole(u64::from(sold.quantity)),
            unit: LineUnit::Units,
            unit_price: None,
            meters: Vec::new(),
            exact: Money::of_minor(fee.amount, currency)?.nanos(),
            tax_category: self.category.clone(),
            // What is prorated has its discount inside already.
            discountable: fee.kind == FeeKind::Plan,
            plan: sold.plan,
        })
    }
}

impl Invoice {
    /// The key under which the account's books hold once that it was voided or given up.
    pub fn end_key(&self) -> String {
        format!("invoice_end:{}", self.content.head.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::LedgerTxnId;
    use crate::invoice::{InvoiceStatus, TaxRate, TaxRule, TaxTreatment};
    use crate::ledger::{LedgerCode, LedgerHead, LedgerKind, LedgerTxn};
    use crate::period::Period;

    const EPOCH: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn taxed(included: bool) -> Invoicing {
        let treatment = TaxTreatment::Taxed {
            rates: vec![TaxRate {
                name: "VAT".to_owned(),
                jurisdiction: "DE".to_owned(),
                percent: "19".parse().unwrap(),
                included,
            }],
        };
        let rule = TaxRule {
            country: "DE".parse().unwrap(),
            region: None,
            category: None,
            from: None,
            until: None,
            treatment,
            reverse_charge: false,
        };
        let elsewhere = TaxTreatment::Exempt {
            reason: "export".to_owned(),
        };
        Invoicing {
            taxes: TaxTable::new(vec![rule], elsewhere).unwrap(),
            ..Invoicing::default()
        }
    }

    fn sold(country: &str, amounts: &[(FeeKind, i64)]) -> FeesSold {
        let mut party = Party::named("上海示例科技有限公司");
        party.country = country.parse().unwrap();
        let period = Period {
            start: EPOCH,
            end: EPOCH.saturating_add(Duration::days(30)),
        };
        let fee = |(kind, amount): &(FeeKind, i64)| SoldFee {
            fee: Fee {
                key: format!("sub_1:0:{kind:?}"),
                kind: *kind,
                period,
                amount: *amount,
            },
            subject: "Pro".to_owned(),
            plan: None,
            quantity: 1,
            unearned: Nanos::new(i64::MAX),
        };
        FeesSold {
            id: InvoiceId::new(1),
            account: AccountId::new(2),
            currency: Currency::USD,
            buyer: BillingDetails {
                party,
                locale: Locale::ZhCn,
            },
            fees: amounts.iter().map(fee).collect(),
            discounts: Vec::new(),
        }
    }

    fn totals(house: &Invoicing, sold: FeesSold) -> (i64, i64, i64) {
        let totals = house.draft(sold, EPOCH).unwrap().totals;
        (totals.net.get(), totals.tax.get(), totals.total.get())
    }

    #[test]
    fn a_fee_is_taxed_by_the_buyers_country() {
        let fee = [(FeeKind::Plan, 900)];
        assert_eq!(totals(&taxed(false), sold("DE", &fee)), (900, 171, 1071));
        assert_eq!(totals(&taxed(true), sold("DE", &fee)), (756, 144, 900));
        assert_eq!(totals(&taxed(false), sold("US", &fee)), (900, 0, 900));
        let plain = Invoicing::default();
        assert_eq!(totals(&plain, sold("DE", &fee)), (900, 0, 900));
    }

    #[test]
    fn a_change_of_plan_is_one_invoice_of_what_it_adds() {
        let change = [(FeeKind::Unused, -300), (FeeKind::Rest, 900)];
        assert_eq!(totals(&taxed(false), sold("DE", &change)), (600, 114, 714));
        let less = [(FeeKind::Unused, -900), (FeeKind::Rest, 300)];
        let draft = taxed(false).draft(sold("DE", &less), EPOCH);
        assert!(matches!(draft, Err(AssemblyError::CreditsExceedCharges(_))));
    }

    #[test]
    fn what_is_given_up_is_a_loss_as_far_as_it_was_earned() {
        let house = taxed(false);
        let draft = house.draft(sold("DE", &[(FeeKind::Plan, 900)]), EPOCH);
        let number = house.invoices.series(EPOCH).after(None);
        let issue = house.issue(number, EPOCH);
        let invoice = draft.unwrap().finalize(issue, &[]).unwrap().invoice;
        let cents = |cents: i64| Nanos::new(cents.saturating_mul(10_000_000));
        let booked = invoice.write_off(cents(600), EPOCH).unwrap();
        assert_eq!(booked.invoice.status, InvoiceStatus::Uncollectible(EPOCH));
        assert_eq!(booked.invoice.check(), Ok(()));
        let head = LedgerHead {
            id: LedgerTxnId::new(1),
            account: AccountId::new(2),
            currency: Currency::USD,
            kind: LedgerKind::WriteOff,
            key: booked.invoice.end_key(),
            booked_at: EPOCH,
        };
        let txn = LedgerTxn::new(head, booked.entries).unwrap();
        let of = |code| txn.entries().iter().find(|e| e.code == code);
        let amount = |code| of(code).map(|entry| entry.amount);
        assert_eq!(amount(LedgerCode::BadDebt), Some(cents(471)));
        assert_eq!(amount(LedgerCode::DeferredSubscription), Some(cents(600)));
        assert_eq!(amount(LedgerCode::Receivable), Some(cents(-1071)));
        let again = booked.invoice.write_off(Nanos::ZERO, EPOCH);
        assert!(again.is_err());
    }

    #[test]
    fn a_name_that_cannot_be_printed_gives_way_to_the_accounts_id() {
        let house = Invoicing::default();
        let account = AccountId::new(7);
        assert_eq!(house.unnamed_buyer(account, "Ada").party.name, "Ada");
        let odd = house.unnamed_buyer(account, "A\u{202e}da");
        assert_eq!(odd.party.name, account.to_string());
    }

    #[test]
    fn an_invoice_reads_back_as_it_was_written() {
        let house = taxed(true);
        let change = [(FeeKind::Unused, -300), (FeeKind::Rest, 900)];
        let draft = house.draft(sold("DE", &change), EPOCH).unwrap();
        let number = house.invoices.series(EPOCH).after(Some(6));
        let invoice = draft.finalize(house.issue(number, EPOCH), &[]).unwrap();
        let text = serde_json::to_string(&invoice.invoice).unwrap();
        let read: Invoice = serde_json::from_str(&text).unwrap();
        assert_eq!(read, invoice.invoice);
    }
}
