//! The neutral document: what is said, and in which part of the page, but not how that looks.

use billing_core::invoice::Locale;

/// Something that is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The language of its words.
    pub locale: Locale,
    /// What it is: "Invoice".
    pub title: String,
    /// Its number; of a draft the word for one.
    pub number: String,
    /// What has become of it, where that is worth a stamp: paid, void.
    pub stamp: Option<String>,
    /// Who issues it.
    pub seller: Block,
    /// To whom.
    pub buyer: Block,
    /// Dates and references.
    pub facts: Vec<Fact>,
    /// The columns of its table. Each is as wide as what stands in it; the first one takes the rest.
    pub columns: Vec<Column>,
    /// What the table lists.
    pub rows: Vec<Row>,
    /// What that comes to.
    pub totals: Vec<Total>,
    /// What is said at the end, a paragraph each.
    pub notes: Vec<String>,
}

/// A party: a heading, and lines of which the first is the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// "Billed to".
    pub heading: String,
    /// Name, address, tax number.
    pub lines: Vec<String>,
}

/// A label and what it labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// "Due".
    pub label: String,
    /// The date.
    pub value: String,
}

/// A column of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What stands above it, on each page.
    pub heading: String,
    /// On which side its text stands.
    pub side: Side,
}

/// On which side of its column text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A row of the table: as many cells as there are columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// A cell: a text, and smaller lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What explains it.
    pub details: Vec<String>,
}

/// A line of the sums below the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// What it is.
    pub label: String,
    /// How much.
    pub value: String,
    /// How it stands out.
    pub kind: TotalKind,
}

/// How a sum stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TotalKind {
    /// As one of several.
    Plain,
    /// As a part of the one above it.
    Part,
    /// As what the others come to.
    Sum,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            details: Vec::new(),
        }
    }
}
