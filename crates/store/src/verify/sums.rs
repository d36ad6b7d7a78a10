//! What calls and journal add up to, and how much of it need not be read again.

use std::collections::BTreeMap;

use billing_core::id::time_of_id;
use billing_core::ledger::LedgerCode;
use serde::{Deserialize, Serialize};

use super::fingerprint::{Fingerprint, Name};

/// The form in which sums are remembered. What was remembered in another one is not used.
const FORM: u32 = 1;
/// Calls that last longer than this, and transactions that another node books with a clock that is
/// further behind, are found by a full proof: the incremental one does not believe itself then.
const CALLS_FINAL_MS: i64 = 60 * 60 * 1000;
const JOURNAL_FINAL_MS: i64 = 2 * 60 * 1000;

/// What a call takes and a settlement books, leg by leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// All that is due: charge and overrun.
    Due,
    /// What was drawn from a lot.
    Lot(i64),
    /// What no lot covered.
    Credit,
    /// What the house bears.
    Overrun,
}

impl Part {
    /// The name of this part of a transaction.
    pub(super) fn of(self, txn: i64) -> Name {
        let (kind, lot) = match self {
            Self::Due => (1, 0),
            Self::Lot(lot) => (2, lot),
            Self::Credit => (3, 0),
            Self::Overrun => (4, 0),
        };
        Name::of(kind).number(txn).number(lot)
    }
}

/// The name of a lot's grant.
pub(super) fn grant_of(lot: i64) -> Name {
    Name::of(5).number(lot)
}

/// What calls add up to.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct CallSums {
    pub(super) count: u64,
    /// By transaction and part.
    pub(super) due: Fingerprint,
    /// By limit or quota, wallet apart.
    pub(super) uses: Fingerprint,
    /// By bucket, key, model and column.
    pub(super) rollup: Fingerprint,
    /// By bucket, version of a plan, quota and column. An earlier build remembered none of it: then
    /// a proof that begins there fails, and another one begins at the beginning.
    #[serde(default)]
    pub(super) plans: Fingerprint,
}

/// What the journal adds up to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct JournalSums {
    pub(super) count: u64,
    /// By ledger account.
    #[serde(with = "by_code")]
    pub(super) totals: BTreeMap<LedgerCode, i128>,
    /// By lot; one that is used up may be missing.
    pub(super) lots: BTreeMap<i64, i128>,
    /// What each lot was granted.
    pub(super) granted: Fingerprint,
    /// What settlements book, by transaction and part.
    pub(super) booked: Fingerprint,
}

impl JournalSums {
    pub(super) fn owed(&self) -> i128 {
        self.totals.get(&LedgerCode::Unbilled).copied().unwrap_or(0)
    }

    /// Without what says nothing, for keeping.
    pub(super) fn trimmed(mut self) -> Self {
        self.lots.retain(|_, sum| *sum != 0);
        self.totals.retain(|_, sum| *sum != 0);
        self
    }
}

/// Sums over the rows that a proof read, and over those of them that are final.
#[derive(Debug, Clone, Default)]
pub(super) struct Walked<S> {
    /// Over all rows.
    pub(super) all: S,
    /// Over the rows up to a position, which the next proof need not read.
    pub(super) sealed: S,
    /// That position.
    pub(super) upto: i64,
}

/// What a proof hands on to the next one: sums, and the positions from which to go on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Carried {
    form: u32,
    /// What began before this instant was not compared with calls; they may be deleted.
    pub(super) since: i64,
    pub(super) call: i64,
    pub(super) calls: CallSums,
    pub(super) txn: i64,
    pub(super) journal: JournalSums,
    pub(super) bucket: i64,
    pub(super) rollup: Fingerprint,
    #[serde(default)]
    pub(super) plans: Fingerprint,
}

impl Carried {
    /// Nothing was proved yet.
    pub(super) fn nothing(since: i64) -> Self {
        Self {
            form: FORM,
            since,
            call: i64::MIN,
            calls: CallSums::default(),
            txn: i64::MIN,
            journal: JournalSums::default(),
            bucket: i64::MIN,
            rollup: Fingerprint::default(),
            plans: Fingerprint::default(),
        }
    }

    /// What was remembered, if it can be used still: in this form, and from no earlier than calls
    /// are kept.
    pub(super) fn read(text: &str, kept_since: i64) -> Option<Self> {
        let carried: Self = serde_json::from_str(text).ok()?;
        let reaches = time_of_id(carried.call).saturating_mul(1000) >= kept_since;
        (carried.form == FORM && (reaches || kept_since == i64::MIN)).then_some(carried)
    }

    pub(super) fn rows(&self) -> u64 {
        self.calls.count.saturating_add(self.journal.count)
    }
}

/// The ids up to which calls and transactions no longer change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Final {
    pub(super) call: i64,
    pub(super) txn: i64,
}

impl Final {
    /// At an instant, in milliseconds since the Unix epoch.
    pub(super) fn at(now_ms: i64) -> Self {
        let before = |ms| billing_core::id::first_id_at(now_ms.saturating_sub(ms));
        Self {
            call: before(CALLS_FINAL_MS),
            txn: before(JOURNAL_FINAL_MS),
        }
    }
}

mod by_code {
    use std::collections::BTreeMap;

    use billing_core::ledger::LedgerCode;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        totals: &BTreeMap<LedgerCode, i128>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(totals.iter().map(|(code, sum)| (code.name(), sum)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<LedgerCode, i128>, D::Error> {
        let named = BTreeMap::<String, i128>::deserialize(deserializer)?;
        let read = |(name, sum): (String, i128)| {
            let code = LedgerCode::of_name(&name);
            let code = code.ok_or_else(|| D::Error::custom(format!("no code {name}")))?;
            Ok((code, sum))
        };
        named.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_reads_back() {
        let mut carried = Carried::nothing(i64::MIN);
        carried.call = 7;
        carried.calls.due.add(Part::Lot(3).of(9), -5);
        let huge = i128::from(i64::MAX) * 4;
        carried.journal.totals.insert(LedgerCode::WalletPaid, huge);
        carried.journal.lots.insert(3, -huge);
        let text = serde_json::to_string(&carried).unwrap();
        let read = Carried::read(&text, i64::MIN).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(Carried::read("{}", i64::MIN).is_none());
        assert!(
            Carried::read(&text, i64::MAX).is_none(),
            "its calls are gone"
        );
    }
}
