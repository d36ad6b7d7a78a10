//! A JSON number as an exact decimal, read from its text; no float on the way.

use rust_decimal::Decimal;
use thiserror::Error;

/// Decimal places of a price; a finer number is rounded half to even.
const PLACES: i64 = 24;
/// Digits that fit a [`Decimal`] whatever they are.
const DIGITS: usize = 28;

/// A number and whether it had to be rounded to 24 places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) value: Decimal,
    pub(super) rounded: bool,
}

/// Why a JSON value is not a usable number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum NumberError {
    #[error("{0} is not a number")]
    NotANumber(String),
    #[error("{0} is too large")]
    TooLarge(String),
    #[error("{0} is not zero but smaller than 10⁻²⁴")]
    TooSmall(String),
}

/// Reads the raw text of a JSON value.
pub(super) fn parse(text: &str) -> Result<Number, NumberError> {
    let shown = || text.chars().take(40).collect::<String>();
    let not_a_number = || NumberError::NotANumber(shown());
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (plain, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let well_formed = !whole.is_empty() && !power.is_empty();
    if !(well_formed && all_digits(whole) && all_digits(fraction) && all_digits(power)) {
        return Err(not_a_number());
    }

    let written = format!("{whole}{fraction}");
    let kept = written.trim_end_matches('0');
    let digits = kept.trim_start_matches('0');
    if digits.is_empty() {
        let (value, rounded) = (Decimal::ZERO, false);
        return Ok(Number { value, rounded });
    }
    let power = power.parse::<i64>().unwrap_or(i64::MAX / 4);
    let power = if exponent.starts_with('-') {
        -power
    } else {
        power
    };
    let places = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 4);
    let scale = places(fraction.len()) - power - places(written.len() - kept.len());

    let (mantissa, scale, rounded) = if scale > PLACES {
        let drop = usize::try_from(scale - PLACES).unwrap_or(usize::MAX);
        (round_off(digits, drop), PLACES, true)
    } else {
        (to_integer(digits, scale), scale.max(0), false)
    };
    let mantissa = mantissa.ok_or_else(|| NumberError::TooLarge(shown()))?;
    if mantissa == 0 {
        return Err(NumberError::TooSmall(shown()));
    }
    let scale = u32::try_from(scale).map_err(|_| not_a_number())?;
    let mut value = Decimal::try_from_i128_with_scale(mantissa, scale)
        .map_err(|_| NumberError::TooLarge(shown()))?
        .normalize();
    value.set_sign_negative(negative);
    Ok(Number { value, rounded })
}

/// The digits without the last few, rounded half to even.
fn round_off(digits: &str, drop: usize) -> Option<i128> {
    let Some(keep) = digits.len().checked_sub(drop) else {
        return Some(0);
    };
    let (kept, dropped) = digits.split_at(keep);
    let whole = if kept.is_empty() {
        0
    } else {
        to_integer(kept, 0)?
    };
    let half = format!("5{}", "0".repeat(dropped.len().saturating_sub(1)));
    let up = match dropped.cmp(&half) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    Some(whole + i128::from(up))
}

/// The digits as an integer, followed by `-scale` zeros where the scale is negative.
fn to_integer(digits: &str, scale: i64) -> Option<i128> {
    let zeros = usize::try_from(-scale.min(0)).ok()?;
    if digits.len().checked_add(zeros)? > DIGITS {
        return None;
    }
    format!("{digits}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> String {
        let number = parse(text).unwrap();
        assert!(!number.rounded, "{text}");
        number.value.to_string()
    }

    #[test]
    fn numbers_are_read_digit_by_digit() {
        for (text, value) in [
            ("0", "0"),
            ("0.0", "0"),
            ("-0.0e5", "0"),
            ("1e-07", "0.0000001"),
            ("2.857142857142857E-7", "0.0000002857142857142857"),
            ("2.0000000000000002E-7", "0.00000020000000000000002"),
            ("0.000033333333333333335", "0.000033333333333333335"),
            ("1.5e+3", "1500"),
            ("256000.0", "256000"),
            ("-2.50", "-2.5"),
            ("0e999999999999999999999", "0"),
            ("0.000000000000000000000001", "0.000000000000000000000001"),
        ] {
            assert_eq!(exact(text), value, "{text}");
        }
    }

    #[test]
    fn more_than_24_places_are_rounded_half_to_even() {
        for (text, value) in [
            ("1.5e-24", "0.000000000000000000000002"),
            ("2.5e-24", "0.000000000000000000000002"),
            ("2.50000001e-24", "0.000000000000000000000003"),
            ("0.6e-24", "0.000000000000000000000001"),
            (
                "1.00000000000000000000000049",
                "1.0000000000000000000000000",
            ),
        ] {
            let number = parse(text).unwrap();
            assert!(number.rounded, "{text}");
            assert_eq!(number.value, value.parse::<Decimal>().unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_no_usable_number_is_refused() {
        for text in [
            "NaN", "null", "\"1\"", "", "-", "1e", "e5", ".5", "1..2", "{}",
        ] {
            assert!(
                matches!(parse(text), Err(NumberError::NotANumber(_))),
                "{text}"
            );
        }
        for text in [
            "1e400",
            "1e99999999999999999999",
            "99999999999999999999999999999",
        ] {
            assert!(
                matches!(parse(text), Err(NumberError::TooLarge(_))),
                "{text}"
            );
        }
        for text in ["1e-400", "5e-25", "1e-99999999999999999999"] {
            assert!(
                matches!(parse(text), Err(NumberError::TooSmall(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn any_number_equals_the_decimal_of_its_text() {
        // A fixed linear congruence: the same cases in every run.
        let mut state = 42_u64;
        let mut next = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        for _ in 0..20_000 {
            let mantissa = next(1_000_000_000) * 1_000_000 + next(1_000_000);
            let places = u32::try_from(next(9)).unwrap();
            let value = Decimal::from_i128_with_scale(i128::from(mantissa), places);
            let plain = value.to_string();
            assert_eq!(parse(&plain).unwrap().value, value, "{plain}");
            let power = u32::try_from(next(16)).unwrap();
            let scientific = format!("{plain}e-{power}");
            let shifted = value.normalize();
            if i64::from(shifted.scale() + power) > PLACES || shifted.is_zero() {
                continue;
            }
            let expected =
                Decimal::from_i128_with_scale(shifted.mantissa(), shifted.scale() + power);
            assert_eq!(parse(&scientific).unwrap().value, expected, "{scientific}");
        }
    }
}
