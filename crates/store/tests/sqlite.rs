//! Every port's rules on SQLite.

mod common;

testkit::books_contract!(books, crate::common::sqlite);
