//! YAML as a tree. Anchors and tags are refused: prices need neither, and a small file of aliases can
//! stand for an enormous one.

use saphyr_parser::{Event, Parser};

use super::ImportError;
use super::tree::{Node, Tree};

/// How deep tables may lie within each other.
const DEEPEST: usize = 16;

/// A table or list that is being read.
enum Open {
    List(usize, Vec<Node>),
    Table(usize, Vec<(String, Node)>, Option<(String, usize)>),
}

impl Open {
    /// Takes the next value: an element, or by turns a key and what it is of.
    fn take(&mut self, node: Node) -> Result<(), &'static str> {
        match self {
            Self::List(_, nodes) => nodes.push(node),
            Self::Table(_, members, key) => match (key.take(), node) {
                // A value is sought where its key stands.
                (Some((key, line)), node) => members.push((key, Node { line, ..node })),
                (
                    None,
                    Node {
                        line,
                        tree: Tree::Text(text),
                    },
                ) => *key = Some((text, line)),
                (None, _) => return Err("a key that is no text"),
            },
        }
        Ok(())
    }
}

/// Reads one document.
///
/// # Errors
/// [`ImportError::Line`] where it is not YAML, or uses what is refused.
pub(super) fn parse(text: &str) -> Result<Node, ImportError> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| ImportError::Line {
            line: error.marker().line(),
            what: error.info().to_owned(),
        })?;
        let line = span.start.line();
        let fault = |what: &str| {
            let what = what.to_owned();
            Err(ImportError::Line { line, what })
        };
        let node = match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => continue,
            Event::Alias(_) => return fault("aliases are not taken; write the value out"),
            Event::Scalar(_, _, anchor, ref tag) if anchor > 0 || tag.is_some() => {
                return fault("anchors and tags are not taken; write the value out");
            }
            Event::Scalar(text, ..) => Node {
                line,
                tree: Tree::Text(text.into_owned()),
            },
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEEPEST => {
                return fault("tables within tables, too deep");
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(line, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Table(line, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(line, nodes)) => Node {
                    line,
                    tree: Tree::List(nodes),
                },
                Some(Open::Table(line, members, _)) => Node {
                    line,
                    tree: Tree::Table(members),
                },
                None => return fault("an end without a start"),
            },
        };
        match open.last_mut() {
            None if root.is_some() => return fault("a second document; one file has one"),
            None => root = Some(node),
            Some(within) => {
                if let Err(what) = within.take(node) {
                    return fault(what);
                }
            }
        }
    }
    root.ok_or_else(|| ImportError::Line {
        line: 1,
        what: "it is empty".to_owned(),
    })
}
