//! A column of a batch, as PostgreSQL takes it.

use sea_orm::Value;
use sea_orm::sqlx::Arguments;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::PgArguments;

use super::{Cell, Kind, NULL_INT, NULL_TEXT, push_without_zeros};

/// The values of one column.
#[derive(Debug)]
pub(super) enum Array {
    Int(Vec<i64>),
    Text(Texts),
    Bool(Vec<bool>),
}

/// Texts one after the other, and where each ends.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        push_without_zeros(&mut self.all, text);
        self.ends.push(self.all.len());
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let begins = std::iter::once(&0).chain(&self.ends);
        let spans = begins.zip(&self.ends);
        spans.map(|(begins, ends)| self.all.get(*begins..*ends).unwrap_or_default())
    }
}

impl Array {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Int | Kind::OptInt => Self::Int(Vec::new()),
            Kind::Text | Kind::OptText => Self::Text(Texts::default()),
            Kind::Bool => Self::Bool(Vec::new()),
        }
    }

    pub(super) fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Int(to), Cell::Int(value)) => to.push(*value),
            (Self::Int(to), _) => to.push(NULL_INT),
            (Self::Text(to), Cell::Text(value)) => to.push(value),
            (Self::Text(to), _) => to.push(NULL_TEXT),
            (Self::Bool(to), cell) => to.push(matches!(cell, Cell::Bool(true))),
        }
    }

    /// For SeaORM.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Int(values) => values.into(),
            Self::Text(texts) => texts.iter().map(str::to_owned).collect::<Vec<_>>().into(),
            Self::Bool(values) => values.into(),
        }
    }

    /// For the driver, without a copy of each value.
    pub(super) fn bind(&self, to: &mut PgArguments) -> Result<(), BoxDynError> {
        match self {
            Self::Int(values) => to.add(values.as_slice()),
            Self::Text(texts) => to.add(texts.iter().collect::<Vec<_>>()),
            Self::Bool(values) => to.add(values.as_slice()),
        }
    }
}
