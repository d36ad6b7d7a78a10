//! A tree as whatever can be deserialized: what is wrong is named with its line.
//!
//! Every value without members is a text; it is read as a number or a truth value where one is asked
//! for, so `markup: 1.2` and `markup: "1.2"` are the same, digit by digit.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use thiserror::Error;

use super::super::ImportError;
use super::{Node, Tree};

/// Reads a tree.
///
/// # Errors
/// [`ImportError::Line`], with what is wrong there.
pub(in super::super) fn read<T: DeserializeOwned>(node: &Node) -> Result<T, ImportError> {
    T::deserialize(node).map_err(|fault| ImportError::Line {
        line: fault.line.unwrap_or(node.line),
        what: fault.what,
    })
}

/// Something wrong, and on which line: known once it has come to the first value around it.
#[derive(Debug, Error)]
#[error("{what}")]
pub(in super::super) struct Fault {
    line: Option<usize>,
    what: String,
}

impl Fault {
    fn at(self, line: usize) -> Self {
        let line = self.line.or(Some(line));
        Self { line, ..self }
    }
}

impl Error for Fault {
    fn custom<T: Display>(what: T) -> Self {
        let (line, what) = (None, what.to_string());
        Self { line, what }
    }
}

impl Node {
    fn text(&self, wanted: &'static str) -> Result<&str, Fault> {
        match &self.tree {
            Tree::Text(text) => Ok(text),
            Tree::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &wanted)),
            Tree::Table(_) => Err(Fault::invalid_type(Unexpected::Map, &wanted)),
        }
    }

    fn whole<N: std::str::FromStr>(&self) -> Result<N, Fault> {
        let text = self.text("a whole number")?;
        let number = text.replace('_', "").parse();
        number.map_err(|_| Fault::invalid_value(Unexpected::Str(text), &"a whole number"))
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.tree {
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::List(nodes) => visitor.visit_seq(Elements(nodes.iter())),
            Tree::Table(members) => visitor.visit_map(Members::of(members)?),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text("true or false")? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(Fault::invalid_value(
                Unexpected::Str(other),
                &"true or false",
            )),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i64(self.whole()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(self.whole()?)
    }

    /// What is there is stated: to leave something out is to leave its key out.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// A word, or a table of one member: its name and what it holds.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.tree {
            Tree::Text(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            Tree::Table(members) => match members.as_slice() {
                [(name, node)] => visitor.visit_enum(Choice { name, node }),
                _ => Err(Fault::invalid_type(Unexpected::Map, &"a table of one key")),
            },
            Tree::List(_) => Err(Fault::invalid_type(Unexpected::Seq, &"a word or a table")),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Reads a value; what is wrong with it is on its line.
fn read_here<'de, S: DeserializeSeed<'de>>(seed: S, node: &'de Node) -> Result<S::Value, Fault> {
    seed.deserialize(node).map_err(|fault| fault.at(node.line))
}

struct Elements<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let next = self.0.next();
        next.map(|node| read_here(seed, node)).transpose()
    }
}

struct Members<'de> {
    left: std::slice::Iter<'de, (String, Node)>,
    value: Option<&'de Node>,
}

impl<'de> Members<'de> {
    fn of(members: &'de [(String, Node)]) -> Result<Self, Fault> {
        let mut seen = BTreeSet::new();
        let twice = members.iter().find(|(key, _)| !seen.insert(key));
        match twice {
            Some((key, node)) => {
                let what = format!("{key} stands twice; keep one of the two");
                Err(Fault::custom(what).at(node.line))
            }
            None => Ok(Self {
                left: members.iter(),
                value: None,
            }),
        }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, node)) = self.left.next() else {
            return Ok(None);
        };
        self.value = Some(node);
        let key: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        let read = seed.deserialize(key).map_err(|fault| fault.at(node.line));
        read.map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(node) => read_here(seed, node),
            None => Err(Fault::custom("a value without a key")),
        }
    }
}

/// One of several, by name.
struct Choice<'de> {
    name: &'de str,
    node: &'de Node,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Fault;
    type Variant = &'de Node;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, &'de Node), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        let read = seed.deserialize(name);
        let read = read.map_err(|fault| fault.at(self.node.line));
        Ok((read?, self.node))
    }
}

impl<'de> VariantAccess<'de> for &'de Node {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        Err(Fault::custom("it holds nothing; write the word alone").at(self.line))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        read_here(seed, self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }
}
