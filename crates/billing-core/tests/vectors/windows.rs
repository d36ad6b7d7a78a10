//! Windows of the calendar in the clocks of a zone.

use billing_core::zone::CalendarSpan;
use serde_json::Value;

use crate::anchors::{utc, zone};
use crate::text;

fn floor(span: CalendarSpan, input: &Value, expected: &Value) {
    let start = span.start(&zone(input), utc(&input["t"]));
    assert_eq!(start, utc(&expected["start"]));
}

pub(crate) fn floor_hour(input: &Value, expected: &Value) {
    floor(CalendarSpan::Hour, input, expected);
}

pub(crate) fn floor_day(input: &Value, expected: &Value) {
    floor(CalendarSpan::Day, input, expected);
}

pub(crate) fn floor_week(input: &Value, expected: &Value) {
    floor(CalendarSpan::Week, input, expected);
}

pub(crate) fn advance_days(input: &Value, expected: &Value) {
    let days = input["days"].as_i64().unwrap();
    let later = zone(input).days_later(utc(&input["t"]), days);
    assert_eq!(later, utc(&expected["result"]));
}

pub(crate) fn window(input: &Value, expected: &Value) {
    let span = match text(&input["period"]) {
        "daily" => CalendarSpan::Day,
        "weekly" => CalendarSpan::Week,
        "monthly" => CalendarSpan::Month,
        other => panic!("{other}"),
    };
    let (zone, at) = (zone(input), utc(&input["t"]));
    let (start, end) = (span.start(&zone, at), span.end(&zone, at));
    assert_eq!(start, utc(&expected["start"]));
    assert_eq!(end, utc(&expected["end"]));
    assert_eq!(
        Some((end - start).whole_hours()),
        expected["hours"].as_i64()
    );
}
