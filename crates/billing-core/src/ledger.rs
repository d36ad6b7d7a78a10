//! The journal: double entry, append-only, one account a transaction.

use std::collections::BTreeMap;

use thiserror::Error;
use time::OffsetDateTime;

use crate::id::{AccountId, LedgerTxnId, LotId};
use crate::money::{Currency, MoneyError, Nanos};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A ledger account of a customer. Sums over customers give the house's books.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LedgerCode { $($(#[$doc])* $name,)* }

        impl LedgerCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The storage and wire name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code that a name means.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|c| c.name() == name).copied()
            }
        }
    };
}

codes! {
    /// Liability: bought credit.
    WalletPaid "wallet_paid";
    /// Liability: given credit.
    WalletPromo "wallet_promo";
    /// Asset: usage on credit that no invoice lists yet.
    Unbilled "unbilled";
    /// Asset: fees and tax on finalized invoices that are not paid.
    Receivable "receivable";
    /// Asset: usage on finalized invoices that is not paid. It counts against the credit limit until
    /// it is.
    ReceivableUsage "receivable_usage";
    /// Income: usage.
    RevenueUsage "revenue_usage";
    /// Income: what corrections of charged usage add, or, above zero, take away.
    RevenueAdjustment "revenue_adjustment";
    /// Income that is taken away: discounts on usage that an invoice gives.
    Discount "discount";
    /// Income: what an invoice charges at once and no call or subscription brings.
    RevenueOther "revenue_other";
    /// Income: subscription fees.
    RevenueSubscription "revenue_subscription";
    /// Liability: subscription fees billed in advance.
    DeferredSubscription "deferred_subscription";
    /// Income: bought credit that lapsed.
    Breakage "breakage";
    /// Asset: captured payments that are not settled yet.
    PaymentClearing "payment_clearing";
    /// Expense: given credit.
    PromoExpense "promo_expense";
    /// Expense: usage beyond what the customer agreed to, which the house bears.
    Overrun "overrun";
    /// Expense: what invoices asked for and nobody will pay.
    BadDebt "bad_debt";
    /// Expense: what the upstream provider charges.
    ProviderCost "provider_cost";
    /// Liability: what is owed to the upstream provider.
    ProviderPayable "provider_payable";
    /// Liability: tax collected.
    TaxPayable "tax_payable";
    /// Liability: credit notes that no invoice has used yet.
    CustomerCredit "customer_credit";
    /// Liability: refunds that are under way.
    RefundPayable "refund_payable";
    /// Expense: residues of rounding. What is left of them in an account's books goes on its next
    /// invoice as soon as it makes a minor unit.
    Rounding "rounding";
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// What a ledger transaction records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LedgerKind { $($(#[$doc])* $name,)* }

        impl LedgerKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The storage and wire name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The kind that a name means.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|c| c.name() == name).copied()
            }
        }
    };
}

kinds! {
    /// Credit was bought.
    TopUp "top_up";
    /// Credit was given.
    Promo "promo";
    /// Calls were settled together.
    Settlement "settlement";
    /// What was charged before is corrected.
    Adjustment "adjustment";
    /// Credit whose time was over was taken away.
    Expiry "expiry";
    /// A fee of a subscription was paid from the wallet.
    Fee "fee";
    /// What was paid of such fees and not used was given back to the wallet, in journals from before
    /// credit notes did that.
    FeeCredit "fee_credit";
    /// An invoice was finalized.
    Invoice "invoice";
    /// Credit of the customer pays for an invoice.
    InvoiceCredit "invoice_credit";
    /// A payment for an invoice.
    InvoicePayment "invoice_payment";
    /// What was booked for an invoice is undone.
    InvoiceVoid "invoice_void";
    /// What an invoice asks for is given up.
    WriteOff "write_off";
    /// A credit note was issued.
    CreditNote "credit_note";
    /// A part of a fee that was billed in advance has been earned.
    Recognition "recognition";
}

/// One leg of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which ledger account.
    pub code: LedgerCode,
    /// Debit above zero, credit below; never zero.
    pub amount: Nanos,
    /// The lot that it touches, where it touches one.
    pub lot: Option<LotId>,
}

/// Why entries are not a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Debits and credits differ by so many nanos.
    #[error("entries do not balance: they sum to {0} nanos")]
    Unbalanced(i128),
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A balanced set of entries of one account, recorded once under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerTxn {
    id: LedgerTxnId,
    account: AccountId,
    currency: Currency,
    kind: LedgerKind,
    key: String,
    booked_at: OffsetDateTime,
    entries: Vec<Entry>,
}

/// What a transaction is, apart from its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerHead {
    /// Its id.
    pub id: LedgerTxnId,
    /// Whose books.
    pub account: AccountId,
    /// The currency of all entries.
    pub currency: Currency,
    /// What it records.
    pub kind: LedgerKind,
    /// The key under which the account's books hold it once.
    pub key: String,
    /// When it counts.
    pub booked_at: OffsetDateTime,
}

impl LedgerTxn {
    /// A transaction of these entries; empty legs are left out, equal ones are put together.
    ///
    /// # Errors
    /// [`LedgerError::Unbalanced`] unless the entries sum to zero.
    pub fn new(
        head: LedgerHead,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Result<Self, LedgerError> {
        let mut legs = BTreeMap::<(LedgerCode, Option<LotId>), Nanos>::new();
        for entry in entries {
            let leg = legs.entry((entry.code, entry.lot)).or_default();
            *leg = leg.plus(entry.amount)?;
        }
        let entries: Vec<Entry> = legs
            .into_iter()
            .filter(|(_, amount)| !amount.is_zero())
            .map(|((code, lot), amount)| Entry { code, amount, lot })
            .collect();
        match Nanos::total(entries.iter().map(|e| e.amount)) {
            0 => {}
            sum => return Err(LedgerError::Unbalanced(sum)),
        }
        let LedgerHead {
            id,
            account,
            currency,
            kind,
            key,
            booked_at,
        } = head;
        Ok(Self {
            id,
            account,
            currency,
            kind,
            key,
            booked_at,
            entries,
        })
    }

    /// Its id.
    pub const fn id(&self) -> LedgerTxnId {
        self.id
    }

    /// Whose books.
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The currency of all entries.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// What it records.
    pub const fn kind(&self) -> LedgerKind {
        self.kind
    }

    /// The key under which the account's books hold it once.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// When it counts.
    pub const fn booked_at(&self) -> OffsetDateTime {
        self.booked_at
    }

    /// Its legs: none is zero, together they are.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// What replaying an account's entries says its wallet must hold: the wallet's credit less what is
/// owed. Compare with [`crate::wallet::Wallet::posted`].
pub fn replayed_balance(totals: &BTreeMap<LedgerCode, i128>) -> i128 {
    let of = |code| totals.get(&code).copied().unwrap_or(0);
    let credit = of(LedgerCode::WalletPaid).saturating_add(of(LedgerCode::WalletPromo));
    credit
        .saturating_add(of(LedgerCode::Unbilled))
        .saturating_add(of(LedgerCode::ReceivableUsage))
        .saturating_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> LedgerHead {
        LedgerHead {
            id: LedgerTxnId::new(1),
            account: AccountId::new(1),
            currency: Currency::USD,
            kind: LedgerKind::Settlement,
            key: "k".to_owned(),
            booked_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn entry(code: LedgerCode, amount: i64) -> Entry {
        Entry {
            code,
            amount: Nanos::new(amount),
            lot: None,
        }
    }

    #[test]
    fn entries_that_do_not_balance_are_refused() {
        let one_leg = LedgerTxn::new(head(), [entry(LedgerCode::Unbilled, 5)]);
        assert_eq!(one_leg, Err(LedgerError::Unbalanced(5)));
    }

    #[test]
    fn equal_legs_are_put_together() {
        let legs = [
            entry(LedgerCode::WalletPaid, 3),
            entry(LedgerCode::WalletPaid, 4),
            entry(LedgerCode::RevenueUsage, -7),
            entry(LedgerCode::Overrun, 0),
        ];
        let txn = LedgerTxn::new(head(), legs).unwrap();
        assert_eq!(txn.entries().len(), 2);
    }
}
