//! Breaking text into lines.

use super::face::{Faces, Weight};

/// Characters that do not begin a line.
const NOT_FIRST: &str = "，。、；：！？）》」』】”’…·,.;:!?)]}%";
/// Characters that do not end a line.
const NOT_LAST: &str = "（《「『【“‘([{";

/// Text in lines that are no wider than a width. Broken between words and between Chinese characters;
/// where a word is too wide, in it.
pub(super) fn wrap(
    text: &str,
    weight: Weight,
    size: f32,
    width: f32,
    faces: &Faces,
) -> Vec<String> {
    let fits = |line: &str| faces.width(line.trim_end(), weight, size) <= width;
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in pieces(text) {
        let longer = format!("{line}{piece}");
        if fits(&longer) {
            line = longer;
            continue;
        }
        if !line.trim().is_empty() {
            lines.push(line.trim_end().to_owned());
        }
        line = String::from(piece.trim_start());
        while !fits(&line) {
            let (head, rest) = cut(&line, &fits);
            lines.push(head);
            line = rest;
        }
    }
    if !line.trim().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// The longest beginning that fits, of at least one character, and the rest.
fn cut(line: &str, fits: &dyn Fn(&str) -> bool) -> (String, String) {
    let mut head = String::new();
    for c in line.chars() {
        head.push(c);
        if !fits(&head) {
            head.pop();
            break;
        }
    }
    if head.is_empty() {
        head.extend(line.chars().next());
    }
    let rest = line.strip_prefix(head.as_str()).unwrap_or_default();
    (head, rest.to_owned())
}

/// The parts of text that stay on one line, with the spaces after them.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut before: Option<char> = None;
    for c in text.chars() {
        let breaks = before.is_some_and(|before| may_break(before, c));
        match pieces.last_mut() {
            Some(piece) if !breaks => piece.push(c),
            _ => pieces.push(c.to_string()),
        }
        before = Some(c);
    }
    pieces
}

/// Whether a line may end between two characters.
fn may_break(before: char, after: char) -> bool {
    let chinese = |c: char| u32::from(c) >= 0x2e80;
    if after == ' '
        || [before, after].contains(&'\u{a0}')
        || NOT_FIRST.contains(after)
        || NOT_LAST.contains(before)
    {
        return false;
    }
    before == ' ' || chinese(before) || chinese(after) || "-/–".contains(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: f32) -> Vec<String> {
        let faces = Faces::load().unwrap();
        wrap(text, Weight::Plain, 10.0, width, &faces)
    }

    #[test]
    fn words_stay_whole_and_chinese_breaks_anywhere_but_before_a_comma() {
        assert_eq!(wrapped("usage of gpt-4o", 1000.0), ["usage of gpt-4o"]);
        assert_eq!(wrapped("usage of models", 45.0), ["usage of", "models"]);
        assert_eq!(wrapped("上海示例，科技", 42.0), ["上海示", "例，科技"]);
        assert_eq!(wrapped("", 10.0), [""]);
    }

    #[test]
    fn what_is_too_wide_is_cut() {
        let lines = wrapped("https://example.com/a-very-long-path", 40.0);
        assert!(lines.len() > 3);
        assert_eq!(lines.concat(), "https://example.com/a-very-long-path");
        assert_eq!(wrapped("宽", 1.0), ["宽"]);
    }
}
