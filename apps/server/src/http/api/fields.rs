//! Requests, read field by field, so that a refusal names every field that is wrong.
//!
//! A type says how it is read ([`FromFields`]). A field that nobody asked for is refused: a
//! misspelt limit must not become a key without a limit.

use std::convert::Infallible;
use std::str::FromStr;

use billing_core::money::{Currency, Nanos};
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::error::{ApiError, FieldError};

/// A request type that reads itself from fields.
pub(crate) trait FromFields: Sized {
    /// Reads it, and notes every field that is wrong.
    fn read(fields: &mut Fields) -> Result<Self, Noted>;
}

/// A field is wrong; [`Fields`] has noted why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted;

/// Where fields stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the body: a refusal points at them with a JSON pointer.
    Body,
    /// In the query: a refusal names the parameter.
    Query,
}

/// Reads a request from its fields.
pub(crate) fn read<T: FromFields>(map: Map<String, Value>, place: Place) -> Result<T, ApiError> {
    let mut fields = Fields::new(map, place);
    let read = T::read(&mut fields);
    fields.refuse_rest();
    match read {
        Ok(value) if fields.errors.is_empty() => Ok(value),
        Ok(_) | Err(Noted) => Err(ApiError::Invalid(fields.errors)),
    }
}

/// The fields of an object, taken one by one. Each reader gives `None` for a field that is not
/// there.
#[derive(Debug)]
pub(crate) struct Fields {
    rest: Map<String, Value>,
    place: Place,
    path: String,
    errors: Vec<FieldError>,
}

impl Fields {
    fn new(rest: Map<String, Value>, place: Place) -> Self {
        Self {
            rest,
            place,
            path: String::new(),
            errors: Vec::new(),
        }
    }

    /// Notes what is wrong with a field.
    pub(crate) fn wrong<T>(&mut self, name: &str, code: &str, detail: &str) -> Result<T, Noted> {
        let name = name.replace('~', "~0").replace('/', "~1");
        self.wrong_at(&name, code, detail)
    }

    /// Notes what is wrong with a field of an object, such as `amount/currency`.
    pub(crate) fn wrong_at<T>(&mut self, at: &str, code: &str, detail: &str) -> Result<T, Noted> {
        let (pointer, parameter) = match self.place {
            Place::Body => (Some(format!("{}/{at}", self.path)), None),
            Place::Query => (None, Some(at.to_owned())),
        };
        let (code, detail) = (code.to_owned(), detail.to_owned());
        self.errors.push(FieldError {
            pointer,
            parameter,
            code,
            detail,
        });
        Err(Noted)
    }

    /// Notes a field that is missing, unless something is wrong with it already.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        value: Result<Option<T>, Noted>,
    ) -> Result<T, Noted> {
        match value? {
            Some(value) => Ok(value),
            None => self.wrong(name, "required", &format!("{name} is required.")),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name).filter(|v| !v.is_null())
    }

    /// A text of so many characters.
    pub(crate) fn text(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<String>, Noted> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::String(text) = value else {
            return self.wrong(name, "not_a_text", &format!("{name} must be a text."));
        };
        if (least..=most).contains(&text.chars().count()) && !text.contains('\0') {
            return Ok(Some(text));
        }
        let detail = format!("{name} must have {least} to {most} characters.");
        self.wrong(name, "wrong_length", &detail)
    }

    /// True or false.
    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, Noted> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if value.is_boolean() {
            return Ok(value.as_bool());
        }
        self.wrong(
            name,
            "not_a_flag",
            &format!("{name} must be true or false."),
        )
    }

    /// One of some words.
    pub(crate) fn word<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        words: &str,
    ) -> Result<Option<T>, Noted> {
        let Some(word) = self.text(name, 0, 1000)? else {
            return Ok(None);
        };
        let value = read(&word);
        if value.is_some() {
            return Ok(value);
        }
        self.wrong(
            name,
            "unknown_value",
            &format!("{name} must be one of {words}."),
        )
    }

    /// An id with its prefix.
    pub(crate) fn id<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Noted> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Ok(None);
        };
        if let Ok(id) = text.parse() {
            return Ok(Some(id));
        }
        self.wrong(name, "not_an_id", &format!("{name} is not a valid id."))
    }

    /// An instant in RFC 3339.
    pub(crate) fn instant(&mut self, name: &str) -> Result<Option<OffsetDateTime>, Noted> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Ok(None);
        };
        if let Ok(at) = OffsetDateTime::parse(&text, &Rfc3339) {
            return Ok(Some(at.to_offset(UtcOffset::UTC)));
        }
        let detail = format!("{name} must be a time such as 2026-11-22T18:30:00Z.");
        self.wrong(name, "not_a_time", &detail)
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str, most: usize) -> Result<Option<Vec<String>>, Noted> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let text = |item: &Value| {
            let text = item.as_str().filter(|t| (1..=200).contains(&t.len()));
            text.map(str::to_owned)
        };
        let items = value.as_array().filter(|items| items.len() <= most);
        let texts = items.and_then(|items| items.iter().map(text).collect::<Option<Vec<_>>>());
        if texts.is_some() {
            return Ok(texts);
        }
        let detail = format!("{name} must be a list of at most {most} short texts.");
        self.wrong(name, "not_a_list", &detail)
    }

    /// A whole number in a query.
    pub(crate) fn number(
        &mut self,
        name: &str,
        least: u32,
        most: u32,
    ) -> Result<Option<u32>, Noted> {
        let Some(text) = self.text(name, 0, 1000)? else {
            return Ok(None);
        };
        let number = text
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number));
        if number.is_some() {
            return Ok(number);
        }
        let detail = format!("{name} must be a number from {least} to {most}.");
        self.wrong(name, "out_of_range", &detail)
    }

    /// A whole number in a body, from zero to 2⁶³ − 1.
    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<u64>, Noted> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_u64();
        let number = number.filter(|number| *number <= i64::MAX.unsigned_abs());
        if number.is_some() {
            return Ok(number);
        }
        let most = i64::MAX;
        let detail = format!("{name} must be a whole number from 0 to {most}.");
        self.wrong(name, "not_a_quantity", &detail)
    }

    /// The names of the fields that were not read yet.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rest.keys().cloned().collect()
    }

    /// An object, whatever is in it.
    pub(crate) fn as_it_is(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Noted> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => self.wrong(name, "not_an_object", &format!("{name} must be an object.")),
        }
    }

    /// A nested object.
    pub(crate) fn object<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<T, Noted>,
    ) -> Result<Option<T>, Noted> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Object(map) = value else {
            return self.wrong(name, "not_an_object", &format!("{name} must be an object."));
        };
        let mut inner = Self::new(map, self.place);
        inner.path = format!("{}/{name}", self.path);
        let value = read(&mut inner);
        inner.refuse_rest();
        let fine = inner.errors.is_empty();
        self.errors.append(&mut inner.errors);
        if fine { value.map(Some) } else { Err(Noted) }
    }

    /// Money that is not below zero: `{"amount": "12.50", "currency": "USD"}`.
    pub(crate) fn money(&mut self, name: &str) -> Result<Option<(Nanos, Currency)>, Noted> {
        self.object(name, |fields| {
            let amount = fields.amount();
            let code = fields.text("currency", 1, 8);
            let code = fields.required("currency", code);
            let currency = code.and_then(|code| {
                let currency = Currency::parse(&code);
                currency.or_else(|e| fields.wrong("currency", "unknown_currency", &e.to_string()))
            });
            Ok((amount?, currency?))
        })
    }

    fn amount(&mut self) -> Result<Nanos, Noted> {
        if self.rest.get("amount").is_some_and(Value::is_number) {
            self.rest.remove("amount");
            return self.wrong(
                "amount",
                "not_a_text",
                "amount must be a decimal number as a text, such as \"12.50\".",
            );
        }
        let text = self.text("amount", 1, 40);
        let text = self.required("amount", text)?;
        match Nanos::parse(&text) {
            Ok(amount) if amount.is_negative() => {
                self.wrong("amount", "negative", "amount must not be below zero.")
            }
            Ok(amount) => Ok(amount),
            Err(error) => self.wrong("amount", "not_an_amount", &error.to_string()),
        }
    }

    fn refuse_rest(&mut self) {
        for (name, _) in std::mem::take(&mut self.rest) {
            let shown: String = name.chars().take(60).collect();
            let detail = format!("There is no field {shown} here.");
            let Err(Noted) = self.wrong::<Infallible>(&name, "unknown_field", &detail);
        }
    }
}
