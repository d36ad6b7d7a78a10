//! Batches of rows as one parameter of one constant statement.
//!
//! SQLite gets an array of arrays as JSON and unfolds it with `jsonb_each`, whose rows need no
//! parsing again; PostgreSQL gets an array a column and unfolds them with `unnest`. The text of a
//! statement does not depend on how many rows there are, so it is prepared once. What is read and
//! written together goes in one round trip: see [`read`] and [`write()`].
//!
//! On a connection of its own SQLite gets them row by row: see [`one_by_one`].

use std::io::Write as _;
use std::sync::OnceLock;

mod array;
pub(crate) mod one_by_one;
mod script;

use self::array::Array;
use self::one_by_one::Cells;
pub(crate) use self::script::{Table, null, read, write, write_alone};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use crate::db::{self, answered};
use crate::error::StoreError;

/// What a column of a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    /// One that may be null.
    OptInt,
    Text,
    /// One that may be null.
    OptText,
    Bool,
}

/// How rows reach the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As one JSON text, for SQLite.
    Json,
    /// As an array a column, for PostgreSQL.
    Arrays,
    /// Each by itself, for SQLite: see [`one_by_one`].
    OneByOne,
}

impl From<DbBackend> for Form {
    fn from(backend: DbBackend) -> Self {
        if backend == DbBackend::Postgres {
            Self::Arrays
        } else {
            Self::Json
        }
    }
}

/// The columns of a batch, in order.
pub(crate) type Shape = &'static [(&'static str, Kind)];

/// One value of a batch.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    Int(i64),
    Text(&'a str),
    Bool(bool),
    Null,
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

/// A statement over a batch: `{rows}` is the batch, `{columns}` its columns. `{lock}` locks the rows
/// read, where rows can be locked. `{fail}` leaves what a refused statement has done, which is
/// cheaper than to keep what it replaces; so it stands only in transactions that are then rolled
/// back.
#[derive(Debug)]
pub(crate) struct BatchSql {
    shape: Shape,
    template: &'static str,
    yields: Shape,
    /// Its texts for a connection of SQLite's own, rendered once.
    of_json: OnceLock<String>,
    of_one_row: OnceLock<String>,
}

impl BatchSql {
    pub(crate) const fn new(shape: Shape, template: &'static str) -> Self {
        Self::query(shape, &[], template)
    }

    /// A query for [`read`], with the columns that it yields.
    pub(crate) const fn query(shape: Shape, yields: Shape, template: &'static str) -> Self {
        Self {
            shape,
            template,
            yields,
            of_json: OnceLock::new(),
            of_one_row: OnceLock::new(),
        }
    }

    /// An empty batch for this statement.
    pub(crate) fn rows(&'static self, form: impl Into<Form>) -> Rows {
        let sink = match form.into() {
            Form::Json => Sink::Json(Vec::new()),
            Form::Arrays => Sink::Arrays(self.shape.iter().map(|c| Array::of(c.1)).collect()),
            Form::OneByOne => Sink::Cells(Cells::default()),
        };
        Rows {
            sql: self,
            sink,
            count: 0,
            is_unfit: false,
        }
    }

    /// The statement, whose parameters begin after so many others.
    fn render(&self, backend: DbBackend, after: usize) -> String {
        let is_postgres = backend == DbBackend::Postgres;
        let (rows, lock, fail) = if is_postgres {
            (from_arrays(self.shape, after), " FOR UPDATE", "")
        } else {
            (from_json(self.shape), "", " OR FAIL")
        };
        let names: Vec<&str> = self.shape.iter().map(|c| c.0).collect();
        self.template
            .replace("{rows}", &rows)
            .replace("{columns}", &names.join(", "))
            .replace("{lock}", lock)
            .replace("{fail}", fail)
    }

    fn takes(&self, row: &[Cell<'_>]) -> bool {
        let fits = |((_, kind), cell): (&(_, Kind), &Cell<'_>)| match cell {
            Cell::Int(_) => matches!(kind, Kind::Int | Kind::OptInt),
            Cell::Text(_) => matches!(kind, Kind::Text | Kind::OptText),
            Cell::Bool(_) => *kind == Kind::Bool,
            Cell::Null => matches!(kind, Kind::OptInt | Kind::OptText),
        };
        row.len() == self.shape.len() && self.shape.iter().zip(row).all(fits)
    }

    /// Rows that do not fit, or in a form in which the database that was asked does not take them.
    fn misplaced(&self) -> StoreError {
        StoreError::unreadable("batch", format!("its rows do not fit: {}", self.template))
    }

    /// How many parameters the statement has.
    fn parameters(&self, backend: DbBackend) -> usize {
        if backend == DbBackend::Postgres {
            return self.shape.len();
        }
        1
    }
}

fn from_json(shape: Shape) -> String {
    let columns: Vec<String> = shape
        .iter()
        .enumerate()
        .map(|(i, (name, _))| format!("value->>{i} AS {name}"))
        .collect();
    format!("(SELECT {} FROM jsonb_each(?))", columns.join(", "))
}

/// Arrays hold no nulls here: a value that never occurs stands for one.
const NULL_INT: i64 = i64::MIN;
const NULL_TEXT: &str = "\u{7f}";

/// Unfolded in the list of what is selected: there rows are passed on one by one, while functions in
/// `FROM` would have all of their rows kept first, column by column.
fn from_arrays(shape: Shape, after: usize) -> String {
    let mut columns = Vec::with_capacity(shape.len());
    let mut arrays = Vec::with_capacity(shape.len());
    for (i, (name, kind)) in shape.iter().enumerate() {
        let place = after.saturating_add(i).saturating_add(1);
        match kind {
            Kind::OptInt => columns.push(format!("NULLIF({name}, '{NULL_INT}'::bigint) AS {name}")),
            Kind::OptText => columns.push(format!("NULLIF({name}, '{NULL_TEXT}') AS {name}")),
            Kind::Int | Kind::Text | Kind::Bool => columns.push((*name).to_owned()),
        }
        let of = match kind {
            Kind::Int | Kind::OptInt => "bigint",
            Kind::Text | Kind::OptText => "text",
            Kind::Bool => "boolean",
        };
        arrays.push(format!("unnest(${place}::{of}[]) AS {name}"));
    }
    format!(
        "(SELECT {} FROM (SELECT {}) AS u)",
        columns.join(", "),
        arrays.join(", ")
    )
}

/// Rows on their way into a statement.
#[derive(Debug)]
pub(crate) struct Rows {
    sql: &'static BatchSql,
    sink: Sink,
    count: usize,
    /// Whether a row had a value that its column does not take.
    is_unfit: bool,
}

#[derive(Debug)]
enum Sink {
    Json(Vec<u8>),
    Arrays(Vec<Array>),
    Cells(Cells),
}

impl Rows {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a row is made in place and is gone after it"
    )]
    pub(crate) fn push<const N: usize>(&mut self, row: [Cell<'_>; N]) {
        self.is_unfit |= !self.sql.takes(&row);
        self.count = self.count.saturating_add(1);
        match &mut self.sink {
            Sink::Json(json) => push_json(json, &row),
            Sink::Arrays(arrays) => {
                for (array, cell) in arrays.iter_mut().zip(&row) {
                    array.push(cell);
                }
            }
            Sink::Cells(cells) => cells.extend(&row),
        }
    }

    /// The rows, if all of them fit.
    fn sink(&self) -> Result<&Sink, StoreError> {
        if self.is_unfit {
            return Err(self.sql.misplaced());
        }
        Ok(&self.sink)
    }

    fn into_json(self) -> Result<String, StoreError> {
        self.sink()?;
        let Sink::Json(mut json) = self.sink else {
            return Err(self.sql.misplaced());
        };
        json.push(if json.is_empty() { b'[' } else { b' ' });
        json.push(b']');
        String::from_utf8(json).map_err(|e| StoreError::Start(e.to_string()))
    }

    fn into_values(self, values: &mut Vec<Value>) -> Result<(), StoreError> {
        self.sink()?;
        match self.sink {
            Sink::Json(_) => values.push(self.into_json()?.into()),
            Sink::Arrays(arrays) => values.extend(arrays.into_iter().map(Array::into_value)),
            Sink::Cells(_) => return Err(self.sql.misplaced()),
        }
        Ok(())
    }

    fn into_statement(self, backend: DbBackend) -> Result<Statement, StoreError> {
        let text = script::text(script::Use::Alone, backend, std::slice::from_ref(&self));
        let mut values = Vec::new();
        self.into_values(&mut values)?;
        Ok(Statement::from_sql_and_values(backend, &*text, values))
    }

    /// Runs the statement, unless there are no rows. Says how many rows it changed.
    pub(crate) async fn run<C: ConnectionTrait>(self, db: &C) -> Result<u64, StoreError> {
        if self.count == 0 {
            return Ok(0);
        }
        let backend = db.get_database_backend();
        let statement = self.into_statement(backend)?;
        let done = answered(backend, db.execute_raw(statement)).await?;
        Ok(done.rows_affected())
    }

    /// Runs the query, unless there are no rows.
    pub(crate) async fn query<C: ConnectionTrait>(
        self,
        on: &C,
    ) -> Result<Vec<QueryResult>, StoreError> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let backend = on.get_database_backend();
        let statement = self.into_statement(backend)?;
        db::note(&statement);
        answered(backend, on.query_all_raw(statement)).await
    }
}

/// Adds a text without its zero bytes: PostgreSQL's text holds none, whatever an upstream puts into
/// its ids, and both databases are to hold the same.
fn push_without_zeros(to: &mut String, text: &str) {
    if text.as_bytes().contains(&0) {
        text.split('\0').for_each(|piece| to.push_str(piece));
    } else {
        to.push_str(text);
    }
}

fn push_json(json: &mut Vec<u8>, row: &[Cell<'_>]) {
    json.push(if json.is_empty() { b'[' } else { b',' });
    for (i, cell) in row.iter().enumerate() {
        json.push(if i == 0 { b'[' } else { b',' });
        match cell {
            // Writing to a vector does not fail.
            Cell::Int(value) => drop(write!(json, "{value}")),
            Cell::Bool(value) => json.extend_from_slice(if *value { b"1" } else { b"0" }),
            Cell::Null => json.extend_from_slice(b"null"),
            Cell::Text(text) => push_text(json, text),
        }
    }
    json.push(b']');
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    json.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => json.extend_from_slice(&[b'\\', byte]),
            0 => {}
            1..=0x1f => {
                let escaped = format!("\\u{byte:04x}");
                json.extend_from_slice(escaped.as_bytes());
            }
            _ => json.push(byte),
        }
    }
    json.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    static SQL: BatchSql = BatchSql::new(
        &[("a", Kind::OptInt), ("b", Kind::OptText), ("c", Kind::Bool)],
        "SELECT {columns} FROM {rows} v",
    );

    #[test]
    fn a_batch_is_one_parameter_on_sqlite() {
        let mut rows = SQL.rows(DbBackend::Sqlite);
        rows.push([1.into(), "x\"\n\0é".into(), true.into()]);
        rows.push([Cell::Null, Cell::Null, false.into()]);
        let statement = rows.into_statement(DbBackend::Sqlite).unwrap();
        let values = statement.values.unwrap().0;
        let json = "[[1,\"x\\\"\\u000aé\",1],[null,null,0] ]";
        assert_eq!(values, [Value::from(json.to_owned())]);
        assert!(statement.sql.contains("value->>2 AS c"));
    }

    #[test]
    fn a_batch_is_an_array_a_column_on_postgresql() {
        let mut rows = SQL.rows(DbBackend::Postgres);
        rows.push([1.into(), "x\0".into(), true.into()]);
        rows.push([Cell::Null, Cell::Null, false.into()]);
        let statement = rows.into_statement(DbBackend::Postgres).unwrap();
        let values = statement.values.unwrap().0;
        assert_eq!(values[0], vec![1, i64::MIN].into());
        assert_eq!(values[1], vec!["x".to_owned(), "\u{7f}".to_owned()].into());
    }
}
