//! Exact figures: amounts as they are written, turned into nanos without a float in between.

use serde_json::Value;

use crate::Failure;

/// Decimal digits of a nano.
const NANO: usize = 9;
/// Decimal digits of an unrounded amount.
const FINE: usize = 27;

/// The nanos of a decimal text such as `0.003210` or `-1`.
///
/// # Errors
/// The text is no decimal number, or finer than a nano.
pub fn nanos_of_text(text: &str) -> Result<i128, Failure> {
    scaled(text, NANO)
}

/// An unrounded amount on the wire, in steps of 10⁻²⁷.
///
/// # Errors
/// It is none, or finer than that.
pub fn unrounded(value: &Value) -> Result<i128, Failure> {
    scaled(amount(value)?, FINE)
}

fn amount(value: &Value) -> Result<&str, Failure> {
    let text = value.get("amount").unwrap_or(value).as_str();
    Ok(text.ok_or_else(|| format!("`{value}` is no amount"))?)
}

/// Rounds an unrounded amount to nanos, half to even.
pub const fn round(unrounded: i128) -> i128 {
    const ONE: i128 = 1_000_000_000_000_000_000;
    let (whole, rest) = (unrounded.div_euclid(ONE), unrounded.rem_euclid(ONE));
    if rest > ONE / 2 || (rest == ONE / 2 && whole % 2 != 0) {
        whole + 1
    } else {
        whole
    }
}

fn scaled(text: &str, scale: usize) -> Result<i128, Failure> {
    let wrong = || Failure::from(format!("`{text}` is no amount with {scale} places"));
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fine = fraction.get(scale..).unwrap_or("");
    if whole.is_empty() || fine.bytes().any(|byte| byte != b'0') {
        return Err(wrong());
    }
    let fraction = fraction.get(..scale).unwrap_or(fraction);
    let all = format!("{whole}{fraction:0<scale$}");
    if !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let value: i128 = all.parse().map_err(|_| wrong())?;
    Ok(if negative { -value } else { value })
}

/// The nanos of an amount on the wire: `{"amount":"1.00","currency":"USD"}` or a decimal text.
///
/// # Errors
/// It is neither.
pub fn nanos(value: &Value) -> Result<i128, Failure> {
    nanos_of_text(amount(value)?)
}

/// Nanos as a decimal text, for messages and requests.
pub fn text(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (whole, fraction) = (nanos.abs() / 1_000_000_000, nanos.abs() % 1_000_000_000);
    format!("{sign}{whole}.{fraction:09}")
}

/// The number that stands behind the last `"name":` of a JSON text, as it is written.
pub fn written<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\":");
    let behind = json.get(json.rfind(&key)? + key.len()..)?.trim_start();
    let end = behind.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)))?;
    behind.get(..end).filter(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_read_to_the_nano() {
        assert_eq!(nanos_of_text("0.003210").unwrap(), 3_210_000);
        assert_eq!(nanos_of_text("-1").unwrap(), -1_000_000_000);
        assert_eq!(nanos_of_text("2.0000000010").unwrap(), 2_000_000_001);
        assert!(nanos_of_text("0.0000000001").is_err());
        assert!(nanos_of_text("1e3").is_err() && nanos_of_text("").is_err());
        assert_eq!(round(unrounded(&json!("0.0000000015")).unwrap()), 2);
        assert_eq!(round(unrounded(&json!("0.0000000025")).unwrap()), 2);
        assert_eq!(round(-1), 0);
        let wire = json!({ "amount": "1.5", "currency": "USD" });
        assert_eq!(nanos(&wire).unwrap(), 1_500_000_000);
        assert_eq!(text(-1_500_000_000), "-1.500000000");
    }

    #[test]
    fn a_number_is_read_as_it_is_written() {
        let json = r#"{"cost":0.1,"cost_nanos":7,"usage":{"cost": 0.000004}}"#;
        assert_eq!(written(json, "cost"), Some("0.000004"));
        assert_eq!(written(json, "cost_nanos"), Some("7"));
        assert_eq!(written(json, "none"), None);
    }
}
