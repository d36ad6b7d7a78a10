//! JSON in which no member of an object stands twice: whoever sends two means one of them, and
//! nobody else knows which.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Any JSON whose objects have each member once.
#[derive(Debug)]
pub(super) struct OnceEach(pub(super) Value);

impl<'de> Deserialize<'de> for OnceEach {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = OnceEach;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<OnceEach, E> {
        Ok(OnceEach(Value::Null))
    }

    fn visit_bool<E>(self, word: bool) -> Result<OnceEach, E> {
        Ok(OnceEach(word.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<OnceEach, E> {
        Ok(OnceEach(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<OnceEach, E> {
        Ok(OnceEach(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<OnceEach, E> {
        Ok(OnceEach(Number::from_f64(number).into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<OnceEach, E> {
        Ok(OnceEach(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<OnceEach, E> {
        Ok(OnceEach(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<OnceEach, A::Error> {
        let mut list = Vec::new();
        while let Some(OnceEach(value)) = from.next_element()? {
            list.push(value);
        }
        Ok(OnceEach(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<OnceEach, A::Error> {
        let mut map = Map::new();
        while let Some((name, OnceEach(value))) = from.next_entry()? {
            if map.insert(name, value).is_some() {
                return Err(Error::custom("twice"));
            }
        }
        Ok(OnceEach(map.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_once_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,true,null,"x"],"b":{"a":"\u00e9"},"":18446744073709551615}"#;
        let OnceEach(read) = serde_json::from_str(text).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn what_stands_twice_is_refused_wherever_it_is() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert!(serde_json::from_str::<OnceEach>(text).is_err(), "{text}");
        }
    }
}
