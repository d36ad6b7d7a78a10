//! Billing periods: their boundaries, from the first day of them all.

use billing_core::period::{Anchor, Cycle, Interval};
use billing_core::zone::Zone;
use serde_json::Value;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

use crate::text;

/// A date, a local date with a time, or an instant.
pub(crate) fn local(value: &Value) -> PrimitiveDateTime {
    let value = text(value).trim_end_matches('Z');
    let (date, time) = (
        format_description!("[year]-[month]-[day]"),
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]"),
    );
    Date::parse(value, date).map_or_else(
        |_| PrimitiveDateTime::parse(value, time).unwrap(),
        Date::midnight,
    )
}

pub(crate) fn utc(value: &Value) -> OffsetDateTime {
    local(value).assume_utc()
}

pub(crate) fn zone(input: &Value) -> Zone {
    let name = input["timezone"].as_str();
    name.map_or_else(Zone::utc, |name| name.parse().unwrap())
}

fn interval(input: &Value) -> Interval {
    text(&input["interval"]).parse().unwrap()
}

pub(crate) fn sequence(input: &Value, expected: &Value) {
    let anchor = Anchor::at(Zone::utc(), utc(&input["anchor"]));
    let count = input["count"].as_i64().unwrap();
    let dates = (0..count).map(|k| anchor.boundary(interval(input), k).unwrap());
    let expected = expected["dates"].as_array().unwrap().iter().map(utc);
    assert_eq!(dates.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

pub(crate) fn period_at(input: &Value, expected: &Value) {
    let cycle = Cycle::anniversary(zone(input), utc(&input["anchor"]), interval(input));
    check(&cycle, input, expected);
}

pub(crate) fn period_at_date(input: &Value, expected: &Value) {
    period_at(input, expected);
}

pub(crate) fn period_at_billing_day(input: &Value, expected: &Value) {
    check(&on_billing_day(input), input, expected);
}

pub(crate) fn elapsed(input: &Value, expected: &Value) {
    let elapsed = on_billing_day(input).elapsed(utc(&input["t"]));
    assert_eq!(elapsed, expected["cycles"].as_i64());
}

fn on_billing_day(input: &Value) -> Cycle {
    let day = u8::try_from(input["billing_day"].as_i64().unwrap()).unwrap();
    let start = utc(&input["billing_start"]);
    Cycle::on_day(Zone::utc(), start, day, interval(input))
}

fn check(cycle: &Cycle, input: &Value, expected: &Value) {
    let (_, period) = cycle.period_at(utc(&input["t"])).unwrap();
    assert_eq!(period.start, utc(&expected["start"]));
    if !expected["end"].is_null() {
        assert_eq!(period.end, utc(&expected["end"]));
    }
}

pub(crate) fn next_boundary(input: &Value, expected: &Value) {
    let count = u16::try_from(input["unit"].as_i64().unwrap()).unwrap();
    let interval = match text(&input["period"]) {
        "DAILY" => Interval::days(count),
        "WEEKLY" => Interval::days(count * 7),
        "MONTHLY" => Interval::months(count),
        "ANNUAL" => Interval::months(count * 12),
        other => panic!("{other}"),
    };
    let zone = zone(input);
    let at = |value: &Value| zone.instant(local(value));
    let anchor = Anchor::at(zone.clone(), at(&input["anchor"]));
    let next = anchor.next(interval.unwrap(), at(&input["current_start"]));
    assert_eq!(next, Some(at(&expected["next"])));
}

/// A first period that begins on its billing day is whole; else it ends there.
pub(crate) fn first_billing_day(input: &Value, expected: &Value) {
    let day = u8::try_from(input["billing_cycle_day"].as_i64().unwrap()).unwrap();
    let start = utc(&input["start"]);
    let cycle = Cycle::on_day(Zone::utc(), start, day, interval(input));
    let (number, first) = cycle.period_at(start).unwrap();
    let whole = cycle.whole(number).unwrap();
    let aligned = if whole.start == start {
        start
    } else {
        first.end
    };
    assert_eq!(aligned, utc(&expected["first"]));
}
