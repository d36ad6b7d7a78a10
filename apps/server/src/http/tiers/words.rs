//! Tiers in words.

use billing_core::charge_model::{Package, Percent, Quantity};
use billing_core::meter::MeterUnit;
use billing_core::price::UnitPrice;
use billing_core::terms::InTiers;
use billing_core::tier_schedule::{
    Measure, TierLine, TierPrice, TierPricing, TierStep, TierTerms, TierWindow, Tiered,
};

use crate::http::rates::{LinePrice, one};

/// What a call or a token costs, for as much as people quote prices for.
pub(super) fn per_unit(price: UnitPrice, measure: Measure) -> LinePrice {
    match measure {
        Measure::Tokens => LinePrice::of(MeterUnit::Token, price),
        Measure::Calls => LinePrice::each(price, "call"),
        Measure::Spend => LinePrice::each(price, "one"),
    }
}

/// All lines of a call, and what else its payer should know of them.
pub(super) fn explanation(tiered: &Tiered, of: &InTiers) -> String {
    let terms = &*of.terms;
    let lines = tiered.lines.iter();
    let lines: Vec<String> = lines
        .map(|part| line(part, terms, tiered.is_provisional))
        .collect();
    let mut text = capitalized(&lines.join("; "));
    text.push('.');
    if tiered.is_provisional {
        text.push_str(
            " The amount is provisional: everything used in the window costs what the tier says \
             that its total reaches, and the difference is credited or charged when the window is \
             over.",
        );
    }
    if let Some(minimum) = terms.minimum {
        let more = format!(
            " At least {} {} are due for a window; what is missing is charged when it is over.",
            minimum, terms.currency
        );
        text.push_str(&more);
    }
    text
}

/// One line: which tier since when, and what holds in it.
pub(super) fn line(line: &TierLine, terms: &TierTerms, is_provisional: bool) -> String {
    let mut text = match &line.step {
        TierStep::Tier { price, .. } if is_provisional => match price {
            TierPrice::PerUnit(price) => {
                format!("tier 1 for the time being: {}", unit_price(*price, terms))
            }
            TierPrice::Discount(_) | TierPrice::Rates(_) => {
                "the list price for the time being".to_owned()
            }
        },
        TierStep::Tier { number, price } => {
            format!("{}: {}", place(*number, terms), held(price, terms))
        }
        TierStep::Packages { package, count } => {
            let count = grouped(&count.to_string());
            format!("{count} × {}", packages(package, terms))
        }
    };
    if line.flat.get() != 0 {
        let fee = format!(
            ", and {} {} once for entering it",
            line.flat, terms.currency
        );
        text.push_str(&fee);
    }
    text
}

/// What holds in a tier.
pub(crate) fn held(price: &TierPrice, terms: &TierTerms) -> String {
    match price {
        TierPrice::Discount(percent) if *percent == Percent::ZERO => "the list price".to_owned(),
        TierPrice::Discount(percent) => format!("{percent} % off the list price"),
        TierPrice::Rates(_) => "rates of its own".to_owned(),
        TierPrice::PerUnit(price) => unit_price(*price, terms),
    }
}

/// What a package is and costs, and how packages are counted.
pub(crate) fn packages(package: &Package, terms: &TierTerms) -> String {
    let size = grouped(&package.size().to_string());
    let (each, free) = (one(package.each()), package.free());
    let (measure, currency) = (terms.measure.name(), terms.currency);
    let span = match terms.pricing {
        TierPricing::PerCall(_) => "in each call",
        TierPricing::Graduated(_) | TierPricing::Volume(_) | TierPricing::Package(_) => {
            span(terms.window)
        }
    };
    let free = if free.is_zero() {
        String::new()
    } else {
        let free = grouped(&free.to_string());
        format!(" after {free} free ones")
    };
    format!("{size} {measure} at {each} {currency}{free}, counted {span}")
}

fn unit_price(price: UnitPrice, terms: &TierTerms) -> String {
    let LinePrice { amount, per } = per_unit(price, terms.measure);
    let per = per.replace('_', " ");
    format!("{amount} {} a {per}", terms.currency)
        .replace(" a million tokens", " for a million tokens")
}

/// Since when a tier holds: `tier 2 since 10,001 calls this month`.
pub(crate) fn place(number: usize, terms: &TierTerms) -> String {
    let tiers = terms.pricing.tiers();
    let span = span(terms.window);
    let before = number.checked_sub(2).and_then(|at| tiers.get(at));
    let begins = before.and_then(|tier| tier.up_to);
    let amount = |quantity: Quantity| {
        let text = grouped(&quantity.to_string());
        match terms.measure {
            Measure::Calls => format!("{text} calls"),
            Measure::Tokens => format!("{text} tokens"),
            Measure::Spend => format!("{text} {} at list prices", terms.currency),
        }
    };
    match (begins, tiers.first().and_then(|tier| tier.up_to)) {
        (Some(begins), _) if terms.measure == Measure::Spend => {
            format!("tier {number} above {} {span}", amount(begins))
        }
        (Some(begins), _) => {
            let first = begins.plus(Quantity::whole(1)).unwrap_or(begins);
            format!("tier {number} since {} {span}", amount(first))
        }
        (None, Some(end)) => format!("tier {number} up to {} {span}", amount(end)),
        (None, None) => format!("tier {number}, the only one"),
    }
}

const fn span(window: TierWindow) -> &'static str {
    match window {
        TierWindow::Day => "this day",
        TierWindow::Week => "this week",
        TierWindow::Month => "this month",
        TierWindow::Period => "this billing period",
        TierWindow::Lifetime => "in all",
    }
}

/// A decimal number with its thousands apart: `10,001`.
fn grouped(number: &str) -> String {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let mut text = String::with_capacity(number.len() + number.len() / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("1234567.5", "1,234,567.5"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
