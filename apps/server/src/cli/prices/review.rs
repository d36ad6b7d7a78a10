//! What a file of prices is looked at for before it is taken over: the same in a dry run as in earnest.

use std::collections::BTreeMap;

use billing_core::port::directory::Directory;
use billing_core::price_book::PriceBook;
use billing_core::price_change::{PriceChange, TierChange};
use billing_core::reach::Audience;
use billing_core::sale::SalePrice;

use super::draft::{Draft, line};
use super::tiers::change_in_words;
use crate::cli::CliError;

/// How many changes a refusal names.
const NAMED: usize = 10;

/// What is said of a rule that [`reach_nothing`] names.
pub(super) const REACHES_NOTHING: &str = "reaches no model of the catalogue; look at its `models`";

/// Refuses rules for accounts that do not exist, or whose wallets are in another currency: their calls
/// would be refused, and their windows never closed. Without a directory there are no accounts.
pub(super) async fn known_accounts(
    directory: Option<&dyn Directory>,
    draft: &Draft,
) -> Result<(), CliError> {
    let sales = draft.edition.sales.iter().map(|rule| match &rule.price {
        SalePrice::Fixed { currency, .. } => ("sale rule", &rule.reach, Some(*currency)),
        SalePrice::Markup { .. } | SalePrice::Withdrawn => ("sale rule", &rule.reach, None),
    });
    let tiers = draft.edition.tiers.iter().map(|schedule| {
        let currency = schedule.terms.as_ref().map(|terms| terms.currency);
        ("tier schedule", &schedule.reach, currency)
    });
    let mut wallets = BTreeMap::new();
    for (kind, reach, currency) in sales.chain(tiers) {
        let Audience::Account(id) = reach.audience else {
            continue;
        };
        let refused = |why: String| {
            let file = &draft.name;
            CliError::Argument(format!("{file}: the {kind} {reach}: {why}"))
        };
        let wallet = if let Some(wallet) = wallets.get(&id) {
            *wallet
        } else {
            let account = match directory {
                Some(directory) => directory.account(id).await?,
                None => None,
            };
            let unknown = || {
                let list = "`tollgate accounts list` lists those that there are";
                refused(format!("there is no account {id}; {list}"))
            };
            let wallet = account.ok_or_else(unknown)?.currency;
            wallets.insert(id, wallet);
            wallet
        };
        if let Some(currency) = currency.filter(|currency| *currency != wallet) {
            return Err(refused(format!(
                "it is in {currency}, but the wallet of the account is in {wallet}; state it in \
                 {wallet}"
            )));
        }
    }
    Ok(())
}

/// Refuses what changes by more than so many percent, or otherwise than can be said in percent.
pub(super) fn not_too_much(draft: &Draft, book: &PriceBook, most: u32) -> Result<(), CliError> {
    let later = book.amended(&draft.edition);
    let changes = book.changes(draft.from, &later, draft.from);
    let beyond = changes.iter().filter(|change| change.is_beyond(most));
    let beyond: Vec<&PriceChange> = beyond.collect();
    let tiers = book.tier_changes(&draft.edition);
    let tiers = tiers.iter().filter(|change| change.is_beyond(most));
    let tiers: Vec<&TierChange> = tiers.collect();
    if beyond.is_empty() && tiers.is_empty() {
        return Ok(());
    }
    let mut named: Vec<String> = beyond.iter().take(NAMED).map(|c| line(c)).collect();
    let schedules = tiers.iter().take(NAMED);
    named.extend(schedules.flat_map(|change| change_in_words(change, draft.from)));
    Err(CliError::Argument(format!(
        "{}, so nothing was changed:\n  {}\nLook at all of them with `tollgate prices diff`; then \
         repeat with --confirm, or with a larger --max-change",
        too_much(beyond.len(), tiers.len(), most),
        named.join("\n  ")
    )))
}

/// How many prices and tier schedules change too much.
fn too_much(prices: usize, tiers: usize, most: u32) -> String {
    let count = |number: usize, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    let prices = (prices > 0).then(|| {
        let prices = count(prices, "price");
        format!("{prices} would change by more than {most} %")
    });
    let tiers = (tiers > 0).then(|| {
        let tiers = count(tiers, "tier schedule");
        format!("{tiers} would change prices by more than {most} %, or charge otherwise than by the list")
    });
    let both: Vec<String> = prices.into_iter().chain(tiers).collect();
    both.join(", and ")
}

/// The rules and schedules of a file for models of which the catalogue, the file's included, has none.
pub(super) fn reach_nothing(draft: &Draft, book: &PriceBook) -> Vec<String> {
    let edition = &draft.edition;
    let sales = edition.sales.iter().map(|rule| ("sale rule", &rule.reach));
    let tiers = edition.tiers.iter();
    let tiers = tiers.map(|schedule| ("tier schedule", &schedule.reach));
    let nothing = sales
        .chain(tiers)
        .filter(|(_, reach)| !book.has_model_in(&reach.models));
    nothing
        .map(|(kind, reach)| format!("{kind} {reach}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_changes_is_said_in_whole_words() {
        for (prices, tiers, said) in [
            (1, 0, "1 price would change by more than 50 %"),
            (2, 0, "2 prices would change by more than 50 %"),
            (
                0,
                1,
                "1 tier schedule would change prices by more than 50 %, or charge otherwise than by \
                 the list",
            ),
            (
                1,
                2,
                "1 price would change by more than 50 %, and 2 tier schedules would change prices by \
                 more than 50 %, or charge otherwise than by the list",
            ),
        ] {
            assert_eq!(too_much(prices, tiers, 50), said);
        }
    }
}
