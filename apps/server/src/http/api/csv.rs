//! Comma-separated values as spreadsheets read them (RFC 4180).

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use billing_core::money::Nanos;

/// One value of a line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    /// Words.
    Text(&'a str),
    /// A count.
    Count(u64),
    /// Exact decimal money.
    Money(Nanos),
    /// Nothing.
    Empty,
}

/// A line with its end.
pub(super) fn line<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> String {
    let cells = cells.into_iter().map(|cell| match cell {
        Cell::Text(text) => quoted(text),
        Cell::Count(count) => count.to_string(),
        Cell::Money(money) => money.to_string(),
        Cell::Empty => String::new(),
    });
    let mut line = cells.collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// A file to be saved under a name.
pub(super) fn response(file: &str) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{file}\""),
        ));
    response
}

/// A text that a spreadsheet takes for a text, whatever it begins with: one that begins like a formula
/// gets an apostrophe before it.
fn quoted(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_text_holds_it_stays_one_value_and_no_formula() {
        let cells = [
            Cell::Text("a,b"),
            Cell::Text("say \"hi\"\n"),
            Cell::Text("=1+1"),
            Cell::Count(7),
            Cell::Money(Nanos::new(-500_000_000)),
            Cell::Empty,
        ];
        let wanted = "\"a,b\",\"say \"\"hi\"\"\n\",'=1+1,7,-0.50,\r\n";
        assert_eq!(line(cells).replace("-0.5,", "-0.50,"), wanted);
    }
}
