//! As much of a Rust lexer as the house rules need: words, numbers and punctuation of a source file
//! without its comments, strings, lifetimes and test modules, and the paths it names.

use std::collections::VecDeque;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Number,
    Mark,
}

/// A token with the line it stands on. `::` is one mark; every other mark is one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.text == text && self.kind != Kind::Number
    }

    /// Whether this is a number with a fraction, a decimal exponent or a float suffix.
    pub(crate) fn is_float(&self) -> bool {
        let text = self.text.as_str();
        if self.kind != Kind::Number || ["0x", "0b", "0o"].iter().any(|p| text.starts_with(p)) {
            return false;
        }
        text.contains('.')
            || text.contains(['e', 'E']) && !text.ends_with("size")
            || text.contains('f')
    }
}

/// A path as it is named in code, group imports expanded: `std::{fs, net}` is two paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl NamedPath {
    /// Whether the path is `prefix` or lies below it.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        let mut own = self.segments.iter();
        prefix
            .split("::")
            .all(|part| own.next().is_some_and(|s| s == part))
    }

    /// The path as text.
    pub(crate) fn text(&self) -> String {
        self.segments.join("::")
    }
}

/// The tokens of a source file, test modules included.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        line: 1,
        found: Vec::new(),
    };
    while lexer.step() {}
    lexer.found
}

/// The tokens of a source file without items under `#[cfg(test)]`.
pub(crate) fn shipped_tokens(source: &str) -> Vec<Token> {
    const GATE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let all = tokens(source);
    let mut kept = Vec::with_capacity(all.len());
    let mut at = 0;
    while let Some(token) = all.get(at) {
        let gated = all
            .get(at..at + GATE.len())
            .is_some_and(|w| w.iter().zip(GATE).all(|(t, g)| t.is(g)));
        if gated {
            at = end_of_item(&all, at + GATE.len());
        } else {
            kept.push(token.clone());
            at += 1;
        }
    }
    kept
}

/// Every path of two or more segments, and every `use` of a single name.
pub(crate) fn paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let continues = at > 0 && tokens[at - 1].is("::") && {
            at > 1 && (tokens[at - 2].kind == Kind::Word || tokens[at - 2].is(">"))
        };
        let after_dot = at > 0 && tokens[at - 1].is(".");
        if token.kind != Kind::Word || continues || after_dot {
            at += 1;
            continue;
        }
        let imported = at > 0 && tokens[at - 1].is("use");
        let before = found.len();
        let next = expand(tokens, at, &[], &mut found);
        if !imported && found.len() == before + 1 && found[before].segments.len() == 1 {
            found.truncate(before);
        }
        at = next.max(at + 1);
    }
    found
}

/// Reads the path that starts at `at` below `prefix`; returns where reading goes on.
fn expand(tokens: &[Token], at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let Some(first) = tokens.get(at) else {
        return at;
    };
    let line = first.line;
    let mut segments = prefix.to_vec();
    let mut at = at;
    loop {
        match tokens.get(at) {
            Some(t) if t.kind == Kind::Word || t.is("*") => segments.push(t.text.clone()),
            Some(t) if t.is("{") && at > 0 && tokens[at - 1].is("::") => {
                return expand_group(tokens, at + 1, &segments, found);
            }
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|t| !t.is("::")) {
            break;
        }
        at += 1;
    }
    if segments.len() > prefix.len() {
        found.push(NamedPath { segments, line });
    }
    at
}

fn expand_group(
    tokens: &[Token],
    start: usize,
    prefix: &[String],
    found: &mut Vec<NamedPath>,
) -> usize {
    let mut at = start;
    while let Some(token) = tokens.get(at) {
        if token.is("}") {
            return at + 1;
        }
        let next = if token.is("as") {
            at + 2
        } else {
            expand(tokens, at, prefix, found)
        };
        at = next.max(at + 1);
    }
    at
}

/// The index after the item that starts at `start`: its block's end or its semicolon.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    let mut open = VecDeque::new();
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.text.as_str() {
            "{" | "(" | "[" => open.push_back(token.text.clone()),
            "}" | ")" | "]" => {
                open.pop_back();
                if open.is_empty() && token.is("}") {
                    return at + 1;
                }
            }
            ";" if open.is_empty() => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Lexer {
    chars: VecDeque<char>,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.pop_front()?;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|&c| keep(c)) {
            text.push(c);
            self.next();
        }
        text
    }

    fn push(&mut self, kind: Kind, text: String, line: usize) {
        self.found.push(Token { kind, text, line });
    }

    /// Reads one token or skips one stretch; `false` at the end.
    fn step(&mut self) -> bool {
        let line = self.line;
        let Some(c) = self.peek(0) else { return false };
        match (c, self.peek(1)) {
            ('/', Some('/')) => {
                self.skip_while(|c| c != '\n');
            }
            ('/', Some('*')) => self.skip_comment(),
            ('"', _) => self.skip_string(),
            ('\'', _) => self.skip_quote(),
            (':', Some(':')) => {
                self.next();
                self.next();
                self.push(Kind::Mark, "::".to_owned(), line);
            }
            (c, _) if c.is_ascii_digit() => self.number(),
            (c, _) if c.is_alphabetic() || c == '_' => self.word(),
            (c, _) => {
                self.next();
                if !c.is_whitespace() {
                    self.push(Kind::Mark, c.to_string(), line);
                }
            }
        }
        true
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.next() {
            match (c, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth = depth.saturating_sub(1),
                _ => continue,
            }
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.next();
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                '"' => return,
                _ => {}
            }
        }
    }

    /// A raw string from its first `#` or quote on.
    fn skip_raw_string(&mut self) {
        let hashes = self.skip_while(|c| c == '#').len();
        self.next();
        while let Some(c) = self.next() {
            if c == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                self.chars.drain(..hashes);
                return;
            }
        }
    }

    /// A character literal or a lifetime.
    fn skip_quote(&mut self) {
        self.next();
        if self.peek(0) == Some('\\') {
            self.next();
            self.next();
            self.skip_while(|c| c != '\'');
            self.next();
        } else if self.peek(1) == Some('\'') {
            self.next();
            self.next();
        } else {
            self.skip_while(|c| c.is_alphanumeric() || c == '_');
        }
    }

    fn number(&mut self) {
        let line = self.line;
        let field = self.found.last().is_some_and(|t| t.is("."));
        let mut text = self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let point = !field
            && self.peek(0) == Some('.')
            && self
                .peek(1)
                .is_none_or(|c| c != '.' && c != '_' && !c.is_alphabetic());
        if point {
            self.next();
            text.push('.');
            text.push_str(&self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
        if text.ends_with(['e', 'E']) && !text.starts_with("0x") {
            text.push_str(&self.skip_while(|c| c == '-' || c == '+'));
            text.push_str(&self.skip_while(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
        self.push(Kind::Number, text, line);
    }

    fn word(&mut self) {
        let line = self.line;
        let text = self.skip_while(|c| c.is_alphanumeric() || c == '_');
        let raw = matches!(text.as_str(), "r" | "br" | "cr");
        let hashes = self.chars.iter().take_while(|&&c| c == '#').count();
        match self.peek(0) {
            Some('"') if raw => self.skip_raw_string(),
            Some('"') if matches!(text.as_str(), "b" | "c") => self.skip_string(),
            Some('#') if raw && self.peek(hashes) == Some('"') => self.skip_raw_string(),
            Some('#') if text == "r" && hashes == 1 => {
                self.next();
                self.word();
            }
            Some('\'') if text == "b" => self.skip_quote(),
            _ => self.push(Kind::Word, text, line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{paths, shipped_tokens, tokens};

    fn words(source: &str) -> Vec<String> {
        tokens(source).into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = r###"
            // f64 in a comment
            /* f64 /* nested f64 */ f64 */
            let a = "f64 \" f64"; let b = r#"f64 " f64"#; let c = b"f64"; let d = '"'; let e = '\'';
            let f: &'f64 str = br##"f64"# f64"##; let g = b'"'; end
        "###;
        assert!(!words(source).contains(&"f64".to_owned()));
        assert_eq!(words(source).last().map(String::as_str), Some("end"));
    }

    #[test]
    fn a_float_is_told_from_an_integer_a_range_and_a_field() {
        let float = |s: &str| tokens(s).iter().filter(|t| t.is_float()).count();
        for source in ["1.5", "1.", "2e3", "2e-3", "1f32", "1_f64", "1.0e+9"] {
            assert_eq!(float(source), 1, "{source}");
        }
        for source in [
            "1", "0x1e5", "1_000u64", "0..5", "x.0.1", "1.max(2)", "7usize", "0xf64",
        ] {
            assert_eq!(float(source), 0, "{source}");
        }
    }

    #[test]
    fn group_imports_are_expanded() {
        let named = |s: &str| {
            paths(&tokens(s))
                .iter()
                .map(super::NamedPath::text)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            named("use std::{fs, net::{TcpStream, self}, time as t}; ::std::env::var(x.store)"),
            [
                "std::fs",
                "std::net::TcpStream",
                "std::net::self",
                "std::time",
                "std::env::var"
            ]
        );
        assert_eq!(
            named("use store; let store = store.open(); crate::store::open()"),
            ["store", "crate::store::open"]
        );
        assert_eq!(
            named("match x { A::B { c } => d::<E>(f), }"),
            ["A::B", "d"].map(str::to_owned)[..1]
        );
    }

    #[test]
    fn test_modules_are_left_out_and_nothing_else() {
        let source =
            "fn a() {} #[cfg(test)] mod tests { fn f() { b(); } } #[cfg(test)] use c; fn d() {}";
        let kept: Vec<_> = shipped_tokens(source).into_iter().map(|t| t.text).collect();
        assert!(kept.contains(&"a".to_owned()) && kept.contains(&"d".to_owned()));
        assert!(!kept.contains(&"b".to_owned()) && !kept.contains(&"c".to_owned()));
    }
}
