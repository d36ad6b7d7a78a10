//! A receipt in words.

use billing_core::call::UsageSource;
use billing_core::money::Currency;
use billing_core::port::reports::CallDetail;

use super::{Due, Later, quotas};
use crate::http::tiers::TieredDto;

/// What was due, and why.
pub(super) fn explanation(
    call: &CallDetail,
    due: &Due,
    tiers: Option<&TieredDto>,
    later: &Later,
    currency: Currency,
) -> String {
    let (charge, held) = (call.charge, call.held);
    let mut text = match due {
        Due::Nothing => format!(
            "Nothing was delivered, so nothing is charged; {held} {currency} that had been held \
             came back."
        ),
        Due::Hold(_) => format!(
            "The provider reported {} prompt and {} answer tokens, which this model cannot \
             produce, so what had been held is charged: {charge} {currency}.",
            call.usage.prompt_tokens(),
            call.usage.answer_tokens()
        ),
        Due::Rated(_) if call.source == Some(UsageSource::Estimated) => format!(
            "The provider gave no count that can be used, so what was delivered was counted here and costs \
             {charge} {currency}."
        ),
        Due::Rated(_) => format!(
            "The provider counted {} prompt and {} answer tokens, which cost {charge} {currency} \
             at the prices below.",
            call.usage.prompt_tokens(),
            call.usage.answer_tokens()
        ),
        Due::Unexplained => format!(
            "{charge} {currency} are on record; the stored price and usage do not derive them. \
             Ask whoever runs this Tollgate."
        ),
    };
    if let (Due::Rated(_), Some(off)) = (due, call.rating.discount) {
        let less = format!(" Your plan took {off} % off these prices.");
        text.push_str(&less);
    }
    if let Some(tiers) = tiers {
        text.push(' ');
        text.push_str(&tiers.explanation);
    }
    if let Some(covered) = quotas::words(call, currency) {
        text.push_str(&covered);
    }
    if !call.overrun.is_zero() {
        let more = format!(
            " The house bears {} {currency} beyond hold and funds.",
            call.overrun
        );
        text.push_str(&more);
    }
    if !later.of_call.is_empty() {
        let net = later.net(call.charge);
        let more = format!(
            " It was corrected later, as `adjustments` tells, and costs {net} {currency} now."
        );
        text.push_str(&more);
    }
    if !later.of_window.is_empty() {
        text.push_str(
            " When the window of its tiers was over, what all of it costs was settled with the \
             account, as `window_adjustments` tells.",
        );
    }
    text
}
