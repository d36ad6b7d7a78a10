//! TOML as a tree.

use std::ops::Range;

use toml_edit::{ImDocument, Item, Value};

use super::super::ImportError;
use super::super::tree::{Node, Tree};

/// Reads a document; a key that stands twice is refused by the parser.
///
/// # Errors
/// [`ImportError::Line`] where it is not TOML.
pub(super) fn parse(text: &str) -> Result<Node, ImportError> {
    let line = |at: usize| text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
    let document = ImDocument::parse(text).map_err(|error| ImportError::Line {
        line: error.span().map_or(1, |span| line(span.start)),
        what: error.message().to_owned(),
    })?;
    // Line by line from the start would be quadratic; the starts are looked up instead.
    let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
    let starts = std::iter::once(0)
        .chain(ends.map(|(at, _)| at + 1))
        .collect();
    Ok(Source { text, starts }.item(document.as_item()))
}

/// The text, and where its lines start.
struct Source<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl Source<'_> {
    fn line(&self, span: Option<Range<usize>>) -> usize {
        span.map_or(1, |span| {
            self.starts.partition_point(|start| *start <= span.start)
        })
    }

    /// A number as it is written, so that 2.5 is two and a half and not what a float makes of it.
    fn written(&self, span: Option<Range<usize>>) -> Tree {
        let written = span.and_then(|span| self.text.get(span));
        Tree::Text(written.unwrap_or_default().to_owned())
    }

    fn item(&self, item: &Item) -> Node {
        let tree = match item {
            Item::None => Tree::Text(String::new()),
            Item::Value(of) => self.value(of),
            Item::Table(table) => Tree::Table(
                table
                    .iter()
                    .map(|(key, of)| (key.to_owned(), self.item(of)))
                    .collect(),
            ),
            Item::ArrayOfTables(_) => Tree::List(Vec::new()),
        };
        let line = self.line(item.span());
        Node { line, tree }
    }

    fn value(&self, value: &Value) -> Tree {
        match value {
            Value::String(text) => Tree::Text(text.value().clone()),
            Value::Integer(number) => self.written(number.span()),
            Value::Float(number) => self.written(number.span()),
            Value::Boolean(flag) => Tree::Text(flag.value().to_string()),
            Value::Datetime(at) => Tree::Text(at.value().to_string()),
            Value::Array(_) => Tree::List(Vec::new()),
            Value::InlineTable(table) => Tree::Table(
                table
                    .iter()
                    .map(|(key, of)| {
                        let (line, tree) = (self.line(of.span()), self.value(of));
                        (key.to_owned(), Node { line, tree })
                    })
                    .collect(),
            ),
        }
    }
}
