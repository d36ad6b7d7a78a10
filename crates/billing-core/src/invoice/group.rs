//! Lines that are taxed alike.
//!
//! A discount and a tax are spread over such groups first and over the lines of a group then, so
//! that a group whose lines cancel out gets no part of either.

use super::tax::TaxTreatment;
use crate::charge_model::minor::spread;
use crate::money::{Minor, MoneyError};

/// Lines of one treatment, by their place on the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group<'a> {
    /// How they are taxed.
    pub(super) treatment: &'a TaxTreatment,
    /// Their places, rising.
    pub(super) lines: Vec<usize>,
}

impl Group<'_> {
    /// The sum of its lines' amounts.
    pub(super) fn total(&self, amounts: &[Minor]) -> Result<Minor, MoneyError> {
        Minor::total(self.pick(amounts))
    }

    /// Its lines' amounts.
    pub(super) fn pick(&self, amounts: &[Minor]) -> Vec<Minor> {
        let of = |line: &usize| amounts.get(*line).copied().unwrap_or(Minor::ZERO);
        self.lines.iter().map(of).collect()
    }
}

/// The groups of lines, in the order of their first lines.
pub(super) fn groups<'a>(treatments: &[&'a TaxTreatment]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (line, treatment) in treatments.iter().enumerate() {
        match groups.iter_mut().find(|g| g.treatment == *treatment) {
            Some(group) => group.lines.push(line),
            None => groups.push(Group {
                treatment,
                lines: vec![line],
            }),
        }
    }
    groups
}

/// Spreads an amount over items in proportion; the parts add up to it.
pub(super) fn spread_over(amount: Minor, items: &[Minor]) -> Result<Vec<Minor>, MoneyError> {
    let items: Vec<i64> = items.iter().map(|item| item.get()).collect();
    let parts = spread(amount.get(), &items)?;
    Ok(parts.into_iter().map(Minor::new).collect())
}

/// Adds a group's part of something to its lines, in proportion to their amounts.
pub(super) fn add_to_lines(
    part: Minor,
    group: &Group<'_>,
    amounts: &[Minor],
    parts: &mut [Minor],
) -> Result<(), MoneyError> {
    for (line, part) in group
        .lines
        .iter()
        .zip(spread_over(part, &group.pick(amounts))?)
    {
        if let Some(sum) = parts.get_mut(*line) {
            *sum = sum.plus(part)?;
        }
    }
    Ok(())
}
