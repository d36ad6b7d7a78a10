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

pub(crate) mod one_by_one;
mod script;

use self::one_by_one::Cells;
pub(crate) use self::script::{Table, null, read, write};

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use crate::db::answered;
use crate::error::StoreError;

/// What a column of a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
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

    /// Rows of a form in which the database that was asked does not take them.
    fn misplaced(&self) -> StoreError {
        StoreError::Start(format!("rows in the wrong form: {}", self.template))
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
            Kind::Int => {
                columns.push(format!("NULLIF({name}, '{NULL_INT}'::bigint) AS {name}"));
                arrays.push(format!("unnest(${place}::bigint[]) AS {name}"));
            }
            Kind::Text => {
                columns.push(format!("NULLIF({name}, '{NULL_TEXT}') AS {name}"));
                arrays.push(format!("unnest(${place}::text[]) AS {name}"));
            }
            Kind::Bool => {
                columns.push((*name).to_owned());
                arrays.push(format!("unnest(${place}::boolean[]) AS {name}"));
            }
        }
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
}

#[derive(Debug)]
enum Sink {
    Json(Vec<u8>),
    Arrays(Vec<Array>),
    Cells(Cells),
}

#[derive(Debug)]
enum Array {
    Int(Vec<i64>),
    Text(Vec<String>),
    Bool(Vec<bool>),
}

impl Array {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
        }
    }

    fn push(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Int(to), Cell::Int(value)) => to.push(*value),
            (Self::Int(to), _) => to.push(NULL_INT),
            // PostgreSQL's text holds no zero byte, whatever an upstream puts into its ids.
            (Self::Text(to), Cell::Text(value)) => to.push(value.replace('\0', "")),
            (Self::Text(to), _) => to.push(NULL_TEXT.to_owned()),
            (Self::Bool(to), cell) => to.push(matches!(cell, Cell::Bool(true))),
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Int(values) => values.into(),
            Self::Text(values) => values.into(),
            Self::Bool(values) => values.into(),
        }
    }
}

impl Rows {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a row is made in place and is gone after it"
    )]
    pub(crate) fn push<const N: usize>(&mut self, row: [Cell<'_>; N]) {
        debug_assert_eq!(N, self.sql.shape.len(), "{}", self.sql.template);
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

    fn into_json(self) -> Result<String, StoreError> {
        let Sink::Json(mut json) = self.sink else {
            return Err(self.sql.misplaced());
        };
        json.push(if json.is_empty() { b'[' } else { b' ' });
        json.push(b']');
        String::from_utf8(json).map_err(|e| StoreError::Start(e.to_string()))
    }

    fn into_values(self, values: &mut Vec<Value>) -> Result<(), StoreError> {
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
        db: &C,
    ) -> Result<Vec<QueryResult>, StoreError> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let backend = db.get_database_backend();
        let statement = self.into_statement(backend)?;
        answered(backend, db.query_all_raw(statement)).await
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
        &[("a", Kind::Int), ("b", Kind::Text), ("c", Kind::Bool)],
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
