//! Calls that were rated with a wrong price version, and what puts them right.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::adjustment::{AdjustedSoFar, Adjustment, CallPart};
use crate::budget::Amount;
use crate::charge::charge;
use crate::id::{CallId, LotId, PriceVersionId};
use crate::money::{Currency, MoneyError, Nanos};
use crate::port::reports::CallDetail;
use crate::price::RatingError;
use crate::price_book::PriceBook;
use crate::wallet::{LotDraw, LotKind, unwind};

/// A version of a model's price that was wrong, and the one that its calls should have had.
#[derive(Debug, Clone, Copy)]
pub struct Correction<'a> {
    /// All versions, with the rules that were in force when calls were rated.
    pub book: &'a PriceBook,
    /// The version that was wrong.
    pub wrong: PriceVersionId,
    /// The version of the same model that is right.
    pub right: PriceVersionId,
}

/// Why a call cannot be corrected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CorrectionError {
    /// The book knows no such version of its model, or not the rule that it was sold by.
    #[error("{0}: what it was rated with is not on record")]
    NotOnRecord(CallId),
    /// The right version cannot rate it.
    #[error("{call}: it cannot be rated with {version}: {why}")]
    Unratable {
        /// The call.
        call: CallId,
        /// The version.
        version: PriceVersionId,
        /// Why not.
        why: RatingError,
    },
    /// An amount does not fit.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

impl Correction<'_> {
    /// What puts one call right, with all corrections so far; `None` where nothing does, or nothing
    /// needs to. What the house bore of it stays with the house, and what quotas gave stays given.
    ///
    /// # Errors
    /// [`CorrectionError`].
    pub fn part(
        &self,
        call: &CallDetail,
        so_far: AdjustedSoFar,
    ) -> Result<Option<CallPart>, CorrectionError> {
        if call.price_version != self.wrong || call.source.is_none() || call.quarantined {
            return Ok(None);
        }
        let terms = self.book.terms(&call.model, self.right, &call.rating);
        let terms = terms.ok_or(CorrectionError::NotOnRecord(call.id))?;
        let right = charge(&call.usage, &terms, &call.circumstances(), call.position());
        let right = right.map_err(|why| CorrectionError::Unratable {
            call: call.id,
            version: self.right,
            why,
        })?;
        // What the house bore stays with the house: the account had no more.
        let right = call.split(right.exact)?.due.money();
        let due = if call.overrun.is_zero() {
            right
        } else {
            right.min(call.charge)
        };
        let amount = due.minus(call.charge.plus(so_far.amount)?)?;
        let part = CallPart {
            call: call.id,
            amount,
            after: so_far.times,
            window: call.rating.tiers.map(|of| (of.schedule, of.window_start)),
        };
        Ok(Some(part).filter(|part| !part.amount.is_zero()))
    }

    /// What puts calls of one account right, by what they had been paid with: what was drawn last goes
    /// back first, and given credit as given credit.
    ///
    /// # Errors
    /// [`CorrectionError`].
    pub fn parts(
        &self,
        calls: &[CallDetail],
        so_far: &BTreeMap<CallId, AdjustedSoFar>,
    ) -> Result<BTreeMap<LotKind, Vec<CallPart>>, CorrectionError> {
        let mut parts: BTreeMap<LotKind, Vec<CallPart>> = BTreeMap::new();
        for call in calls {
            let so_far = so_far.get(&call.id).copied().unwrap_or_default();
            let Some(part) = self.part(call, so_far)? else {
                continue;
            };
            // The later of two parts of a call comes after the one before it.
            let mut after = part.after;
            for (kind, amount) in
                by_kind((&call.draws, call.on_credit), so_far.amount, part.amount)?
            {
                let part = CallPart {
                    amount,
                    after,
                    ..part
                };
                after = after.saturating_add(1);
                parts.entry(kind).or_default().push(part);
            }
        }
        Ok(parts)
    }

    /// The adjustment that books parts; `None` where they come to nothing. The same correction has
    /// the same key, whoever makes it, and one that comes after it has another.
    ///
    /// # Errors
    /// [`MoneyError`] where the sum does not fit.
    pub fn adjustment(
        &self,
        (model, currency): (&str, Currency),
        (kind, parts): (LotKind, Vec<CallPart>),
        lot: LotId,
    ) -> Result<Option<Adjustment>, MoneyError> {
        let amounts = parts.iter().map(|part| part.amount);
        let amount = amounts.into_iter().try_fold(Nanos::ZERO, Nanos::plus)?;
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(None);
        };
        let earlier: u64 = parts.iter().map(|part| u64::from(part.after)).sum();
        let (wrong, right) = (self.wrong, self.right);
        let key = format!(
            "rerate:{right}:{}:{}:{earlier}:{amount}",
            first.call, last.call
        );
        let adjustment = Adjustment {
            key,
            amount,
            currency,
            lot,
            kind,
            calls: parts,
            note: format!("{model}: rated with {wrong}, should be {right}"),
            takes_what_is_there: false,
        };
        Ok(Some(adjustment).filter(|adjustment| !adjustment.amount.is_zero()))
    }
}

/// What an amount given back had been paid with, after so much was given back before. What is charged
/// afterwards is paid with what there is.
fn by_kind(
    (draws, on_credit): (&[LotDraw], Nanos),
    so_far: Nanos,
    amount: Nanos,
) -> Result<BTreeMap<LotKind, Nanos>, MoneyError> {
    if !amount.is_negative() {
        return Ok(BTreeMap::from([(LotKind::Paid, amount)]));
    }
    let before = Amount::of(so_far.min(Nanos::ZERO).negated()?);
    let all = before.plus(Amount::of(amount.negated()?));
    let [before, all] = [before, all].map(|back| {
        // Credit was drawn on last. What it paid goes back as what pays it off.
        let owed = Amount::of(on_credit);
        let given = unwind(&mut [], draws, back.less(owed));
        let promo = given.iter().filter(|draw| draw.kind == LotKind::Promo);
        let promo = promo.fold(Amount::ZERO, |sum, draw| sum.plus(draw.amount));
        [back.less(promo), promo]
    });
    let kinds = [LotKind::Paid, LotKind::Promo].into_iter();
    let parts = kinds.zip(all.into_iter().zip(before));
    parts
        .map(|(kind, (all, before))| Ok((kind, all.less(before).money().negated()?)))
        .filter(|part| !matches!(part, Ok((_, amount)) if amount.is_zero()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price_book::PriceBook;

    fn adjustment(parts: &[(i64, u32)]) -> Option<Adjustment> {
        let book = PriceBook::default();
        let correction = Correction {
            book: &book,
            wrong: PriceVersionId::new(1),
            right: PriceVersionId::new(2),
        };
        let part = |(at, (amount, after)): (usize, &(i64, u32))| CallPart {
            call: CallId::new(i64::try_from(at).unwrap()),
            amount: Nanos::new(*amount),
            after: *after,
            window: None,
        };
        let parts = parts.iter().enumerate().map(part).collect();
        let made =
            correction.adjustment(("m", Currency::USD), (LotKind::Paid, parts), LotId::new(1));
        made.unwrap()
    }

    #[test]
    fn the_same_correction_has_one_key_and_a_later_one_another() {
        let [first, again, later] =
            [0, 0, 2].map(|after| adjustment(&[(5, after), (3, after)]).unwrap());
        assert_eq!(first.amount, Nanos::new(8));
        assert_eq!(first, again);
        // The price was right, then wrong again, then right again: the amounts are the same.
        assert_ne!(first.key, later.key);
    }

    #[test]
    fn what_was_drawn_last_goes_back_first_and_given_credit_as_given_credit() {
        let draw = |lot, kind, amount| LotDraw {
            lot: LotId::new(lot),
            kind,
            amount: Amount::new(amount),
        };
        let draws = [draw(1, LotKind::Promo, 9), draw(2, LotKind::Paid, 1)];
        let back = |so_far, amount, on_credit| {
            let paid_by = (&draws[..], Nanos::new(on_credit));
            let kinds = by_kind(paid_by, Nanos::new(so_far), Nanos::new(amount)).unwrap();
            [LotKind::Paid, LotKind::Promo].map(|kind| kinds.get(&kind).map_or(0, |a| a.get()))
        };
        assert_eq!(back(0, -1, 0), [-1, 0]);
        assert_eq!(back(0, -8, 0), [-1, -7]);
        assert_eq!(back(-1, -8, 0), [0, -8]);
        assert_eq!(back(-8, -2, 0), [0, -2]);
        assert_eq!(back(0, -8, 5), [-6, -2]);
        assert_eq!(back(-8, 3, 0), [3, 0]);
    }

    #[test]
    fn what_comes_to_nothing_is_not_booked() {
        assert_eq!(adjustment(&[]), None);
        assert_eq!(adjustment(&[(5, 0), (-5, 0)]), None);
    }
}
