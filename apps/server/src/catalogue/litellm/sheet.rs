//! What the keys of an entry state together.

use std::collections::BTreeSet;

use billing_core::meter::Meter;
use billing_core::price::{Asked, Attribute, DailyWindow, Hours, UnitPrice, Weekdays, When, clock};
use billing_core::zone::Zone;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use time::macros::datetime;

use super::key::{Key, RateKey};
use super::{Reader, whole};
use crate::catalogue::number;
use crate::catalogue::object::{members, sequence};
use crate::catalogue::report::Unmapped;

/// Keys of `provider_specific_entry` that are factors, with the attribute that they are for.
const FACTORS: [(&str, Attribute); 2] = [("us", Attribute::Region), ("fast", Attribute::Speed)];
/// Keys of `provider_specific_entry` that are about money and cannot be used.
const FREE_WITHIN_A_CALL: &str = "minimax_free_input_images";
/// Sizes of a search's context.
const SIZES: [(&str, Meter); 3] = [
    ("search_context_size_low", Meter::SearchLow),
    ("search_context_size_medium", Meter::SearchMedium),
    ("search_context_size_high", Meter::SearchHigh),
];

/// A price as one key states it; `None` is a stated zero.
pub(super) struct Stated {
    pub(super) key: String,
    pub(super) at: RateKey,
    pub(super) when: Option<When>,
    pub(super) price: Option<UnitPrice>,
}

/// By how much a model is dearer where an attribute is so.
pub(super) struct Factor {
    pub(super) attribute: Attribute,
    pub(super) asked: Asked,
    pub(super) times: Decimal,
}

#[derive(Default)]
pub(super) struct Sheet {
    pub(super) stated: Vec<Stated>,
    pub(super) factors: Vec<Factor>,
    pub(super) unmapped: Vec<String>,
}

impl Sheet {
    fn state(&mut self, key: &str, at: RateKey, when: Option<When>, price: Option<UnitPrice>) {
        let key = key.to_owned();
        self.stated.push(Stated {
            key,
            at,
            when,
            price,
        });
    }
}

impl Reader {
    /// Every key about money: as a price, or counted as not used.
    pub(super) fn sheet(
        &mut self,
        name: &str,
        fields: &[(String, &RawValue)],
    ) -> Result<Sheet, String> {
        let mut sheet = Sheet::default();
        let mut fault = None;
        for (key, raw) in fields.iter().filter(|(_, raw)| raw.get() != "null") {
            let read = match Key::read(key) {
                Key::Other => Ok(()),
                Key::Rate(at) => self
                    .amount(name, key, raw)
                    .map(|price| sheet.state(key, at, None, price)),
                Key::Varied(at, when) => self
                    .amount(name, key, raw)
                    .map(|price| sheet.state(key, at, Some(when), price)),
                Key::SearchBySize => self.search(name, key, raw, &mut sheet),
                Key::Tiered => self.tiered(name, key, raw, &mut sheet),
                Key::OffPeak => self.off_peak(name, key, raw, &mut sheet),
                Key::Factor(attribute, asked) => factor(key, raw).map(|times| {
                    sheet.factors.push(Factor {
                        attribute,
                        asked,
                        times,
                    });
                }),
                Key::Factors => self.factors(key, raw, &mut sheet),
                Key::Modifier(reason) => {
                    self.count_unmapped(key, reason);
                    Ok(())
                }
                Key::Unmapped(reason) => {
                    self.count_unmapped(key, reason);
                    sheet.unmapped.push(key.clone());
                    Ok(())
                }
            };
            fault = fault.or(read.err());
        }
        fault.map_or(Ok(sheet), Err)
    }

    fn count_unmapped(&mut self, key: &str, reason: &str) {
        let unmapped = self.unmapped.entry(key.to_owned()).or_insert(Unmapped {
            count: 0,
            reason: reason.to_owned(),
        });
        unmapped.count += 1;
    }

    /// The price that a raw value states; `None` for zero.
    fn amount(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
    ) -> Result<Option<UnitPrice>, String> {
        let malformed = |what: String| format!("malformed price: {key}: {what}");
        let number = number::parse(raw.get()).map_err(|e| malformed(e.to_string()))?;
        if number.value.is_sign_negative() && !number.value.is_zero() {
            return Err(format!("negative price: {key}"));
        }
        if number.rounded {
            self.note(name, format!("{key} rounded to 24 decimal places"));
        }
        if number.value.is_zero() {
            return Ok(None);
        }
        let price = UnitPrice::per_unit(number.value).map_err(|e| malformed(e.to_string()))?;
        Ok(Some(price))
    }

    /// A search by the size of its context. Where nobody says the size, the dearest price holds.
    fn search(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let mut sizes = Vec::new();
        let members =
            members(raw).map_err(|_| format!("malformed price: {key}: not an object of sizes"))?;
        for (size, raw) in members.iter().filter(|(_, raw)| raw.get() != "null") {
            let known = SIZES.iter().find(|(known, _)| known == size);
            let (_, meter) =
                known.ok_or_else(|| format!("malformed price: {key}: {size} is not a size"))?;
            sizes.push((*meter, self.amount(name, key, raw)?));
        }
        let Some(dearest) = sizes.iter().map(|(_, price)| *price).max() else {
            return Ok(());
        };
        if sizes.iter().any(|(_, price)| *price != dearest) {
            for (meter, price) in sizes {
                sheet.state(key, RateKey::plain(meter), None, price);
            }
        }
        sheet.state(key, RateKey::plain(Meter::Search), None, dearest);
        Ok(())
    }

    /// A list of prices by prompt size: each range prices the whole call, from above its start on.
    fn tiered(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let malformed = |what: &str| format!("malformed price: {key}: {what}");
        let ranges = sequence(raw).map_err(|_| malformed("not a list"))?;
        let mut end = 0;
        let mut classes: Option<BTreeSet<String>> = None;
        for range in ranges {
            let fields = members(range).map_err(|_| malformed("not a list of objects"))?;
            let by_prompt = fields.iter().any(|(field, _)| field == "range");
            let field = if by_prompt {
                "range"
            } else {
                "max_results_range"
            };
            let (from, to) = bounds(&fields, field).map_err(malformed)?;
            // Sizes of a prompt meet; numbers of results are counted.
            let follows = from == end || (!by_prompt && from == end + 1);
            if !follows || to <= from {
                return Err(malformed(
                    "the ranges have a gap, overlap or do not start at zero",
                ));
            }
            let above = (end > 0).then_some(end);
            end = to;
            let prices = fields.iter().filter(|(name, _)| name != field);
            let prices: Vec<_> = prices.collect();
            let priced: BTreeSet<String> = prices.iter().map(|(field, _)| field.clone()).collect();
            if classes.get_or_insert_with(|| priced.clone()) != &priced {
                return Err(malformed("the ranges do not price the same classes"));
            }
            for (field, raw) in prices {
                let inner = format!("{key}.{field}");
                let Key::Rate(at @ RateKey { above: None, .. }) = Key::read(field) else {
                    return Err(malformed("a range holds a key that is not a plain price"));
                };
                let price = self.amount(name, &inner, raw)?;
                if by_prompt {
                    sheet.state(&inner, RateKey { above, ..at }, None, price);
                } else {
                    let when = above.map(|n| When::default().and_above(Meter::SearchResult, n));
                    sheet.state(&inner, at, when, price);
                }
            }
            if !by_prompt && above.is_none() {
                // Results are counted to find the range, and cost nothing by themselves.
                let results = RateKey::plain(Meter::SearchResult);
                sheet.state(key, results, None, Some(UnitPrice::FREE));
            }
        }
        Ok(())
    }

    /// Prices for hours of the week.
    fn off_peak(
        &mut self,
        name: &str,
        key: &str,
        raw: &RawValue,
        sheet: &mut Sheet,
    ) -> Result<(), String> {
        let malformed = |what: &str| format!("malformed price: {key}: {what}");
        let fields = members(raw).map_err(|_| malformed("not an object"))?;
        let when = When::default().and_during(hours(&fields).map_err(malformed)?);
        for (field, raw) in &fields {
            if matches!(field.as_str(), "windows" | "hours_utc" | "weekday_timezone") {
                continue;
            }
            let inner = format!("{key}.{field}");
            let Key::Rate(at) = Key::read(field) else {
                return Err(malformed("it holds a key that is not a plain price"));
            };
            let price = self.amount(name, &inner, raw)?;
            sheet.state(&inner, at, Some(when.clone()), price);
        }
        Ok(())
    }

    /// Factors beside what is about how the provider is called.
    fn factors(&mut self, key: &str, raw: &RawValue, sheet: &mut Sheet) -> Result<(), String> {
        let fields = members(raw).map_err(|_| format!("malformed price: {key}: not an object"))?;
        for (field, raw) in fields {
            let inner = format!("{key}.{field}");
            if field == FREE_WITHIN_A_CALL {
                self.count_unmapped(&inner, "free units within a call: each unit is charged");
                continue;
            }
            match FACTORS.iter().find(|(known, _)| *known == field) {
                Some((value, attribute)) => sheet.factors.push(Factor {
                    attribute: *attribute,
                    asked: Asked::Is((*value).into()),
                    times: factor(&inner, raw)?,
                }),
                None => self.count_unmapped(&inner, "how the provider is called, and no price"),
            }
        }
        Ok(())
    }
}

fn factor(key: &str, raw: &RawValue) -> Result<Decimal, String> {
    let number = number::parse(raw.get()).map_err(|e| format!("malformed price: {key}: {e}"))?;
    if number.value.is_sign_negative() || number.value.is_zero() {
        return Err(format!("malformed price: {key}: not a positive factor"));
    }
    Ok(number.value)
}

/// The two whole numbers of a range.
fn bounds(fields: &[(String, &RawValue)], field: &str) -> Result<(u64, u64), &'static str> {
    let range = fields.iter().find(|(name, _)| name == field);
    let (_, range) = range.ok_or("a range is missing")?;
    let bounds = sequence(range).unwrap_or_default();
    let &[from, to] = &bounds[..] else {
        return Err("a range is not [from, to]");
    };
    let bounds = whole(from).zip(whole(to));
    bounds.ok_or("a range is not of whole numbers")
}

/// The hours that a block of off-peak prices names. They are given in UTC; the day of the week may
/// be that of another zone, which must then be at one distance from UTC all year.
fn hours(fields: &[(String, &RawValue)]) -> Result<Hours, &'static str> {
    let find = |fields: &[(String, &RawValue)], name: &str| {
        let field = fields.iter().find(|(field, _)| field == name);
        field.map(|(_, raw)| raw.get().to_owned())
    };
    let zone = match find(fields, "weekday_timezone") {
        None => Zone::utc(),
        Some(name) => serde_json::from_str(&name).map_err(|_| "its time zone is unknown")?,
    };
    let shift = |at| zone.local(at).offset().whole_minutes();
    let shift = Some(shift(datetime!(2026-01-01 0:00 UTC)))
        .filter(|winter| *winter == shift(datetime!(2026-07-01 0:00 UTC)))
        .ok_or("hours in UTC on days of a zone with daylight saving")?;
    let mut windows = Vec::new();
    if let Some(spans) = find(fields, "hours_utc") {
        push_windows(&mut windows, &spans, Weekdays::DAILY, shift)?;
    }
    let rules = find(fields, "windows").unwrap_or_else(|| "[]".to_owned());
    let rules: Vec<Box<RawValue>> =
        serde_json::from_str(&rules).map_err(|_| "its windows are not a list")?;
    for rule in &rules {
        let rule = members(rule).map_err(|_| "a window is not an object")?;
        let days = match find(&rule, "weekdays") {
            None => Weekdays::DAILY,
            Some(days) => serde_json::from_str::<Vec<u8>>(&days)
                .ok()
                .and_then(Weekdays::numbered)
                .ok_or("its weekdays are not numbers from 1 to 7")?,
        };
        let spans = find(&rule, "hours_utc").ok_or("a window has no hours")?;
        push_windows(&mut windows, &spans, days, shift)?;
    }
    Hours::new(zone, windows).ok_or("it names no hours")
}

/// Spans such as `"22:00-06:00"`, one or a list, moved by minutes to the clocks of a zone.
fn push_windows(
    windows: &mut Vec<DailyWindow>,
    spans: &str,
    days: Weekdays,
    shift: i16,
) -> Result<(), &'static str> {
    const DAY: i16 = 24 * 60;
    let spans: Vec<String> = serde_json::from_str(spans)
        .or_else(|_| serde_json::from_str(spans).map(|one| vec![one]))
        .map_err(|_| "its hours are not text")?;
    for span in &spans {
        let (from, to) = span
            .split_once('-')
            .and_then(|(from, to)| clock(from.trim()).zip(clock(to.trim())))
            .ok_or("its hours are not HH:MM-HH:MM")?;
        let local = |at: u16| {
            let at = i16::try_from(at).unwrap_or(0).saturating_add(shift);
            u16::try_from(at.rem_euclid(DAY)).unwrap_or(0)
        };
        windows.extend(DailyWindow::around(days, local(from), local(to)));
    }
    Ok(())
}
