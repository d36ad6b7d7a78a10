//! Reads text out of a PDF that this crate has made: what a reader's search would find.

use std::collections::BTreeMap;

use miniz_oxide::inflate::decompress_to_vec_zlib;

/// The text of each page, a line for each piece that was set.
pub(crate) fn pages_of(file: &[u8]) -> Vec<String> {
    let objects = objects(file);
    let fonts = fonts(&objects);
    let mut pages = Vec::new();
    for (head, _) in objects.values() {
        if head.contains("/Type /Page\n") || head.contains("/Type /Page ") {
            let contents = reference(head, "/Contents ");
            let (_, stream) = &objects[&contents];
            pages.push(text_of(stream, &fonts));
        }
    }
    pages
}

type Objects = BTreeMap<u32, (String, Vec<u8>)>;
type Characters = BTreeMap<u16, char>;

/// Each object's dictionary and, decompressed, its stream.
fn objects(file: &[u8]) -> Objects {
    let mut objects = BTreeMap::new();
    let mut at = 0;
    while let Some(begin) = find(file, b" 0 obj\n", at) {
        let digits = file[..begin]
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_digit());
        let start = begin - digits.count();
        let id = std::str::from_utf8(&file[start..begin])
            .unwrap()
            .parse()
            .unwrap();
        let end = find(file, b"endobj", begin).unwrap();
        let stream = find(file, b"stream\n", begin).filter(|stream| *stream < end);
        let head = String::from_utf8_lossy(&file[begin..stream.unwrap_or(end)]).into_owned();
        let mut bytes = Vec::new();
        let mut next = end;
        if let Some(stream) = stream {
            let length = number(&head, "/Length ");
            let from = stream + b"stream\n".len();
            let raw = &file[from..from + length];
            bytes = decompress_to_vec_zlib(raw).unwrap();
            next = from + length;
        }
        objects.insert(id, (head, bytes));
        at = next;
    }
    objects
}

/// The characters of the fonts that pages name.
fn fonts(objects: &Objects) -> BTreeMap<char, Characters> {
    let mut fonts = BTreeMap::new();
    for (head, _) in objects.values().filter(|(head, _)| head.contains("/Type0")) {
        let name = if head.contains("-Bold") { 'B' } else { 'R' };
        let (_, map) = &objects[&reference(head, "/ToUnicode ")];
        let map = String::from_utf8_lossy(map);
        let mut characters = Characters::new();
        for line in map.lines().filter(|line| line.starts_with('<')) {
            let parts: Vec<&str> = line
                .split(['<', '>', ' '])
                .filter(|p| !p.is_empty())
                .collect();
            if let [shape, character] = parts[..] {
                let Ok(shape) = u16::from_str_radix(shape, 16) else {
                    continue;
                };
                let code = u32::from_str_radix(character, 16).unwrap();
                characters.insert(shape, char::from_u32(code).unwrap());
            }
        }
        fonts.insert(name, characters);
    }
    fonts
}

/// The text that a page's stream shows.
fn text_of(stream: &[u8], fonts: &BTreeMap<char, Characters>) -> String {
    let mut text = String::new();
    let mut font = 'R';
    let mut at = 0;
    while at < stream.len() {
        match stream[at] {
            b'/' => {
                font = char::from(stream[at + 1]);
                at += 2;
            }
            b'(' => {
                let (bytes, next) = literal(stream, at + 1);
                text.push_str(&shown(&bytes, &fonts[&font]));
                at = next;
            }
            b'<' => {
                let end = find(stream, b">", at).unwrap();
                let hex = &stream[at + 1..end];
                let byte = |pair: &[u8]| {
                    u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()
                };
                let bytes: Vec<u8> = hex.chunks(2).map(byte).collect();
                text.push_str(&shown(&bytes, &fonts[&font]));
                at = end;
            }
            b'E' if stream[at..].starts_with(b"ET") => {
                text.push('\n');
                at += 2;
            }
            _ => at += 1,
        }
    }
    text
}

fn shown(bytes: &[u8], characters: &Characters) -> String {
    let shape = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
    bytes
        .chunks(2)
        .map(|pair| characters[&shape(pair)])
        .collect()
}

/// The bytes of a string in parentheses, and where it ends.
fn literal(stream: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut depth = 0;
    loop {
        match stream[at] {
            b'\\' => {
                at += 1;
                match stream[at] {
                    b'n' => bytes.push(b'\n'),
                    b'r' => bytes.push(b'\r'),
                    b't' => bytes.push(b'\t'),
                    b'b' => bytes.push(8),
                    b'f' => bytes.push(12),
                    digit @ b'0'..=b'7' => {
                        let octal = std::str::from_utf8(&stream[at..at + 3]).unwrap();
                        assert!(digit < b'8');
                        bytes.push(u8::from_str_radix(octal, 8).unwrap());
                        at += 2;
                    }
                    other => bytes.push(other),
                }
            }
            b'(' => {
                depth += 1;
                bytes.push(b'(');
            }
            b')' if depth == 0 => return (bytes, at + 1),
            b')' => {
                depth -= 1;
                bytes.push(b')');
            }
            other => bytes.push(other),
        }
        at += 1;
    }
}

fn find(bytes: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let found = bytes[from..]
        .windows(wanted.len())
        .position(|w| w == wanted);
    found.map(|at| at + from)
}

fn number(head: &str, key: &str) -> usize {
    let (_, rest) = head.split_once(key).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn reference(head: &str, key: &str) -> u32 {
    u32::try_from(number(head, key)).unwrap()
}
