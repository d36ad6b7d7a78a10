//! How amounts, quantities, dates and meters are written.

use billing_core::charge_model::Quantity;
use billing_core::invoice::{LineUnit, Locale, StatedPrice, TaxRate};
use billing_core::meter::{Meter, MeterUnit};
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::period::Period;
use billing_core::zone::Zone;
use time::{Duration, OffsetDateTime};

use crate::words::Word;

/// A language, and the zone whose calendar dates are written in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hand<'a> {
    pub(crate) locale: Locale,
    pub(crate) zone: &'a Zone,
}

impl Hand<'_> {
    /// A word.
    pub(crate) fn word(self, word: Word) -> String {
        word.text(self.locale).to_owned()
    }

    /// A local date: `Nov 23, 2026`, `2026年11月23日`.
    pub(crate) fn date(self, at: OffsetDateTime) -> String {
        let local = self.zone.local(at);
        let (year, month, day) = local.to_calendar_date();
        match self.locale {
            Locale::En => {
                let name = month.to_string();
                let short = name.get(..3).unwrap_or_default();
                format!("{short} {day}, {year}")
            }
            Locale::ZhCn => format!("{year}年{}月{day}日", u8::from(month)),
        }
    }

    /// The first and the last day of a period; one day where they are the same.
    pub(crate) fn period(self, period: Period) -> String {
        let last = period
            .end
            .saturating_sub(Duration::SECOND)
            .max(period.start);
        let (first, last) = (self.date(period.start), self.date(last));
        if first == last {
            return first;
        }
        match self.locale {
            Locale::En => format!("{first} – {last}"),
            Locale::ZhCn => format!("{first}至{last}"),
        }
    }

    /// A quantity and what it counts.
    pub(crate) fn quantity(self, quantity: Quantity, unit: LineUnit) -> String {
        let figure = grouped(&quantity.to_string());
        let (one, many) = match unit {
            LineUnit::Calls => (Word::Call, Word::Calls),
            LineUnit::Tokens => (Word::Token, Word::Tokens),
            LineUnit::Seats => (Word::Seat, Word::Seats),
            LineUnit::Packs => (Word::Pack, Word::Packs),
            LineUnit::Periods | LineUnit::Units => return figure,
        };
        let is_one = quantity == Quantity::whole(1);
        let word = self.word(if is_one { one } else { many });
        format!("{figure} {word}")
    }

    /// A price as it is stated: `2.50 / 1M`.
    pub(crate) fn price(self, price: StatedPrice) -> Option<String> {
        let many = Quantity::whole(price.per).at(price.price).ok()?;
        let text = two_places(&many.to_string());
        let per = match (price.per, self.locale) {
            (1, _) => return Some(grouped(&text)),
            (1_000, _) => "1K".to_owned(),
            (1_000_000, Locale::En) => "1M".to_owned(),
            (1_000_000, Locale::ZhCn) => "百万".to_owned(),
            (per, _) => grouped(&per.to_string()),
        };
        Some(format!("{} / {per}", grouped(&text)))
    }

    /// How much of a meter was used.
    pub(crate) fn meter(self, meter: Meter, quantity: u64) -> String {
        let name = meter_name(meter, self.locale);
        let figure = match meter.unit() {
            MeterUnit::Token | MeterUnit::Each => grouped(&quantity.to_string()),
            MeterUnit::Millisecond => {
                let rest = quantity.checked_rem(1000).unwrap_or(0);
                let seconds = quantity.checked_div(1000).unwrap_or(0);
                let text = format!("{seconds}.{rest:03}");
                let text = text.trim_end_matches('0').trim_end_matches('.');
                format!("{} s", grouped(text))
            }
        };
        // A space that no line is broken at.
        format!("{name}\u{a0}{figure}")
    }

    /// A list in a line.
    pub(crate) fn list(self, parts: &[String]) -> String {
        parts.join(match self.locale {
            Locale::En => ", ",
            Locale::ZhCn => "，",
        })
    }

    /// A tax: `VAT 19% (DE)`.
    pub(crate) fn tax(self, rate: &TaxRate) -> String {
        let TaxRate {
            name,
            jurisdiction,
            percent,
            ..
        } = rate;
        match self.locale {
            Locale::En => format!("{name} {percent}% ({jurisdiction})"),
            Locale::ZhCn => format!("{name} {percent}%（{jurisdiction}）"),
        }
    }
}

/// An amount with its decimal places: `1,234.50`.
pub(crate) fn amount(amount: Minor, currency: Currency) -> String {
    grouped(&amount.text(currency))
}

/// An amount with its currency: `USD 1,234.50`.
pub(crate) fn money(value: Minor, currency: Currency) -> String {
    format!("{currency} {}", amount(value, currency))
}

/// Exact amounts of one column, all with as many places as the one that needs most of them.
pub(crate) fn aligned(amounts: &[Nanos]) -> Vec<String> {
    let texts: Vec<String> = amounts.iter().map(Nanos::to_string).collect();
    let places = |text: &str| text.split_once('.').map_or(0, |(_, rest)| rest.len());
    let most = texts.iter().map(|text| places(text)).max().unwrap_or(0);
    let padded = texts.iter().map(|text| {
        let missing = most.saturating_sub(places(text));
        grouped(&format!("{text}{}", "0".repeat(missing)))
    });
    padded.collect()
}

/// At least two decimal places.
fn two_places(text: &str) -> String {
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, fraction)) if fraction.len() < 2 => format!("{text}0"),
        Some(_) => text.to_owned(),
    }
}

/// Commas between thousands, and a true minus.
fn grouped(text: &str) -> String {
    let (sign, size) = match text.strip_prefix('-') {
        Some(size) => ("−", size),
        None => ("", text),
    };
    let (whole, fraction) = match size.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (size, None),
    };
    let mut figure = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len().saturating_sub(at);
        if at > 0 && left.is_multiple_of(3) {
            figure.push(',');
        }
        figure.push(digit);
    }
    if let Some(fraction) = fraction {
        figure.push('.');
        figure.push_str(fraction);
    }
    figure
}

/// What a meter is called: its name with spaces, or the Chinese one of the common meters.
fn meter_name(meter: Meter, locale: Locale) -> String {
    let plain = meter.name().replace('_', " ");
    if locale == Locale::En {
        return plain;
    }
    let chinese = [
        (Meter::Input, "输入"),
        (Meter::CacheRead, "缓存读取"),
        (Meter::CacheWrite5m, "缓存写入"),
        (Meter::CacheWrite1h, "缓存写入（1 小时）"),
        (Meter::Output, "输出"),
        (Meter::Reasoning, "推理"),
        (Meter::AudioInput, "音频输入"),
        (Meter::AudioOutput, "音频输出"),
        (Meter::ImageInput, "图像输入"),
        (Meter::ImageOutput, "图像输出"),
        (Meter::Request, "请求"),
        (Meter::InputImage, "输入图片"),
        (Meter::OutputImage, "生成图片"),
    ];
    let named = chinese.iter().find(|(of, _)| *of == meter);
    named.map_or(plain, |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped() {
        for (text, figure) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.50", "−1,234,567.50"),
            ("123456", "123,456"),
        ] {
            assert_eq!(grouped(text), figure);
        }
    }

    #[test]
    fn one_is_not_many() {
        let zone = Zone::utc();
        let (locale, unit) = (Locale::En, LineUnit::Calls);
        let hand = Hand {
            locale,
            zone: &zone,
        };
        assert_eq!(hand.quantity(Quantity::whole(1), unit), "1 call");
        assert_eq!(hand.quantity(Quantity::whole(1200), unit), "1,200 calls");
        let seats = hand.quantity("1.5".parse().unwrap(), LineUnit::Seats);
        assert_eq!(seats, "1.5 seats");
    }

    #[test]
    fn exact_amounts_stand_one_below_the_other() {
        let amounts = ["1000", "-0.00321"].map(|text| Nanos::parse(text).unwrap());
        assert_eq!(aligned(&amounts), ["1,000.00000", "−0.00321"]);
    }

    #[test]
    fn dates_are_those_of_the_zone() {
        let at = OffsetDateTime::from_unix_timestamp(1_793_462_400).unwrap();
        let zone: Zone = "Asia/Shanghai".parse().unwrap();
        let utc = Zone::utc();
        let hand = |locale, zone| Hand { locale, zone };
        // 2026-10-31T16:00:00Z
        assert_eq!(hand(Locale::En, &utc).date(at), "Oct 31, 2026");
        assert_eq!(hand(Locale::ZhCn, &zone).date(at), "2026年11月1日");
        let month = Period {
            start: at,
            end: at + Duration::days(30),
        };
        let text = hand(Locale::ZhCn, &zone).period(month);
        assert_eq!(text, "2026年11月1日至2026年11月30日");
    }

    #[test]
    fn prices_are_shown_for_as_many_as_they_are_stated_for() {
        let price = StatedPrice {
            price: "0.0000025".parse().unwrap(),
            per: 1_000_000,
        };
        let zone = Zone::utc();
        let hand = |locale| Hand {
            locale,
            zone: &zone,
        };
        assert_eq!(hand(Locale::En).price(price).unwrap(), "2.50 / 1M");
        assert_eq!(hand(Locale::ZhCn).price(price).unwrap(), "2.50 / 百万");
    }
}
