//! What YAML and TOML have in common: values with their lines, and numbers left as text.

mod reader;

pub(super) use reader::read;

/// A value and the line that it begins on, from 1.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) tree: Tree,
}

/// A value.
#[derive(Debug)]
pub(super) enum Tree {
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// A member of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.tree {
            Tree::Table(members) => {
                let mut members = members.iter();
                members.find(|(name, _)| name == key).map(|(_, node)| node)
            }
            Tree::Text(_) | Tree::List(_) => None,
        }
    }
}
