//! A document as a page: no scripts, nothing that is fetched, a style for screens and for paper.

use crate::document::{Block, Cell, Column, Document, Row, Side, Total, TotalKind};

const STYLE: &str = include_str!("html/style.css");

impl Document {
    /// The document as a whole HTML page in UTF-8. All text is escaped. Browsers that know margin boxes
    /// print page numbers; every browser repeats the head of the table.
    pub fn html(&self) -> String {
        let mut page = String::with_capacity(16_384);
        let title = escaped(&format!("{} {}", self.title, self.number));
        let foot = self.running_foot();
        page.push_str("<!DOCTYPE html>\n");
        page.push_str(&joined(&[
            "<html lang=\"",
            self.locale.name(),
            "\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">",
            "<title>",
            &title,
            "</title><style>\n",
            STYLE,
            "@page { @bottom-left { content: \"",
            &css_text(&foot),
            "\"; } }\n</style></head><body><main>\n",
        ]));
        page.push_str(&self.head());
        page.push_str(&self.parties());
        page.push_str(&table(&self.columns, &self.rows));
        page.push_str(&totals(&self.totals));
        page.push_str(&notes(&self.notes));
        page.push_str("</main></body></html>\n");
        page
    }

    /// What stands at the foot of each page.
    pub(crate) fn running_foot(&self) -> String {
        let seller = self.seller.lines.first().map_or("", String::as_str);
        format!("{seller} · {} {}", self.title, self.number)
    }

    fn head(&self) -> String {
        let seller = self.seller.lines.first().map_or("", String::as_str);
        let stamp = self
            .stamp
            .as_ref()
            .map(|stamp| joined(&["<p class=\"stamp\">", &escaped(stamp), "</p>"]));
        joined(&[
            "<header><p class=\"seller\">",
            &escaped(seller),
            "</p><div><h1>",
            &escaped(&self.title),
            "</h1><p class=\"number\">",
            &escaped(&self.number),
            "</p>",
            stamp.as_deref().unwrap_or_default(),
            "</div></header>\n",
        ])
    }

    fn parties(&self) -> String {
        let facts = self.facts.iter().map(|fact| {
            let (label, value) = (escaped(&fact.label), escaped(&fact.value));
            joined(&["<dt>", &label, "</dt><dd>", &value, "</dd>"])
        });
        let facts: String = facts.collect();
        joined(&[
            "<section class=\"parties\">",
            &block(&self.seller),
            &block(&self.buyer),
            "<dl>",
            &facts,
            "</dl></section>\n",
        ])
    }
}

fn block(block: &Block) -> String {
    let mut lines = block.lines.iter();
    let name = lines.next().map(|name| escaped(name)).unwrap_or_default();
    let rest: String = lines
        .map(|line| joined(&["<br>", &escaped(line)]))
        .collect();
    joined(&[
        "<address><h2>",
        &escaped(&block.heading),
        "</h2><strong>",
        &name,
        "</strong>",
        &rest,
        "</address>",
    ])
}

fn table(columns: &[Column], rows: &[Row]) -> String {
    let heads = columns.iter().map(|column| {
        let heading = escaped(&column.heading);
        joined(&["<th scope=\"col\"", side(column), ">", &heading, "</th>"])
    });
    let heads: String = heads.collect();
    let rows = rows.iter().map(|row| {
        let cells = row.cells.iter().zip(columns);
        let cells: String = cells.map(|(text, column)| cell(text, column)).collect();
        joined(&["<tr>", &cells, "</tr>\n"])
    });
    let rows: String = rows.collect();
    joined(&[
        "<table><thead><tr>",
        &heads,
        "</tr></thead><tbody>\n",
        &rows,
        "</tbody></table>\n",
    ])
}

fn cell(cell: &Cell, column: &Column) -> String {
    let details = cell
        .details
        .iter()
        .map(|detail| joined(&["<small>", &escaped(detail), "</small>"]));
    let details: String = details.collect();
    let text = escaped(&cell.text);
    joined(&["<td", side(column), ">", &text, &details, "</td>"])
}

const fn side(column: &Column) -> &'static str {
    match column.side {
        Side::Left => "",
        Side::Right => " class=\"figure\"",
    }
}

fn totals(totals: &[Total]) -> String {
    let rows = totals.iter().map(|total| {
        let kind = match total.kind {
            TotalKind::Plain => "plain",
            TotalKind::Part => "part",
            TotalKind::Sum => "sum",
        };
        let (label, value) = (escaped(&total.label), escaped(&total.value));
        joined(&[
            "<tr class=\"",
            kind,
            "\"><th scope=\"row\">",
            &label,
            "</th><td>",
            &value,
            "</td></tr>",
        ])
    });
    let rows: String = rows.collect();
    joined(&[
        "<table class=\"totals\"><tbody>",
        &rows,
        "</tbody></table>\n",
    ])
}

fn notes(notes: &[String]) -> String {
    let notes = notes
        .iter()
        .map(|note| joined(&["<p>", &escaped(note), "</p>"]));
    let notes: String = notes.collect();
    if notes.is_empty() {
        return notes;
    }
    joined(&["<section class=\"notes\">", &notes, "</section>\n"])
}

/// Pieces put together.
fn joined(pieces: &[&str]) -> String {
    pieces.concat()
}

/// Text that is text wherever it stands, also in an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => {}
            c => safe.push(c),
        }
    }
    safe
}

/// Text in a string of a style sheet: each character that is not plain as its number, so that neither
/// the string nor the element can end in it.
fn css_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if c.is_alphanumeric() || c == ' ' || c == '-' || c == '.' {
            safe.push(c);
        } else {
            let number = format!("\\{:x} ", u32::from(c));
            safe.push_str(&number);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use billing_core::invoice::Locale;

    #[test]
    fn text_stays_text() {
        let evil = "</style><script>alert('x')</script>\"&";
        let block = Block {
            heading: evil.to_owned(),
            lines: vec![evil.to_owned(), evil.to_owned()],
        };
        let document = Document {
            locale: Locale::En,
            title: evil.to_owned(),
            number: evil.to_owned(),
            stamp: Some(evil.to_owned()),
            seller: block.clone(),
            buyer: block,
            facts: vec![crate::Fact {
                label: evil.to_owned(),
                value: evil.to_owned(),
            }],
            columns: vec![Column {
                heading: evil.to_owned(),
                side: Side::Left,
            }],
            rows: vec![Row {
                cells: vec![Cell {
                    text: evil.to_owned(),
                    details: vec![evil.to_owned()],
                }],
            }],
            totals: vec![Total {
                label: evil.to_owned(),
                value: evil.to_owned(),
                kind: TotalKind::Sum,
            }],
            notes: vec![evil.to_owned()],
        };
        let html = document.html();
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("</style>").count(), 1);
        assert_eq!(html.matches('\'').count(), 0);
    }

    #[test]
    fn nothing_is_fetched() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }
}
