//! The faces that text is set in, and how wide it is.

use ttf_parser::{Face as FontFace, GlyphId};

use super::PdfError;

pub(super) const REGULAR: &[u8] = include_bytes!("../../fonts/NotoSansSC-Regular.otf");
pub(super) const BOLD: &[u8] = include_bytes!("../../fonts/NotoSansSC-Bold.otf");

/// What stands for a character that no face has.
const MISSING: char = '〓';

/// How text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Plain,
    Strong,
}

/// A font file that is embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FontName {
    Regular,
    Bold,
}

/// A stretch of text in one font.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) font: FontName,
    /// Whether it is made bolder by an outline, for want of a bold face.
    pub(super) outlined: bool,
    pub(super) glyphs: Vec<Glyph>,
}

/// A character's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) id: u16,
    /// Its width in thousandths of the size.
    pub(super) width: u16,
    /// What it shows.
    pub(super) shows: char,
}

/// Both faces.
pub(super) struct Faces {
    regular: FontFace<'static>,
    bold: FontFace<'static>,
}

impl Faces {
    pub(super) fn load() -> Result<Self, PdfError> {
        let parse = |data| FontFace::parse(data, 0).map_err(|_| PdfError::Font);
        Ok(Self {
            regular: parse(REGULAR)?,
            bold: parse(BOLD)?,
        })
    }

    /// The face of a font.
    pub(super) const fn of(&self, font: FontName) -> &FontFace<'static> {
        match font {
            FontName::Regular => &self.regular,
            FontName::Bold => &self.bold,
        }
    }

    /// Text as shapes. Strong text that the bold face lacks a part of has all its Chinese in the
    /// outlined regular face, so that one word does not have two looks.
    pub(super) fn runs(&self, text: &str, weight: Weight) -> Vec<Run> {
        let in_bold = |c| self.bold.glyph_index(c).is_some();
        let all_bold = weight == Weight::Strong && text.chars().all(in_bold);
        let mut runs: Vec<Run> = Vec::new();
        for c in text.chars() {
            let bold = match weight {
                Weight::Plain => false,
                Weight::Strong => all_bold || (u32::from(c) < 0x2e80 && in_bold(c)),
            };
            let (font, outlined) = if bold {
                (FontName::Bold, false)
            } else {
                (FontName::Regular, weight == Weight::Strong)
            };
            let glyph = self.glyph(font, c);
            match runs.last_mut() {
                Some(run) if (run.font, run.outlined) == (font, outlined) => run.glyphs.push(glyph),
                _ => runs.push(Run {
                    font,
                    outlined,
                    glyphs: vec![glyph],
                }),
            }
        }
        runs
    }

    /// How wide text is at a size.
    pub(super) fn width(&self, text: &str, weight: Weight, size: f32) -> f32 {
        let runs = self.runs(text, weight);
        let glyphs = runs.iter().flat_map(|run| &run.glyphs);
        let thousandths: f32 = glyphs.map(|glyph| f32::from(glyph.width)).sum();
        thousandths * size / 1000.0
    }

    fn glyph(&self, font: FontName, c: char) -> Glyph {
        let face = self.of(font);
        let found = face.glyph_index(c);
        let shows = if found.is_some() { c } else { MISSING };
        let id = found.or_else(|| face.glyph_index(MISSING));
        let id = id.unwrap_or(GlyphId(0));
        Glyph {
            id: id.0,
            width: face.glyph_hor_advance(id).unwrap_or(1000),
            shows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Word;
    use billing_core::invoice::Locale;

    #[test]
    fn the_bold_face_has_every_word_that_documents_print() {
        let faces = Faces::load().unwrap();
        for word in Word::ALL {
            for locale in [Locale::En, Locale::ZhCn] {
                let text = word.text(locale);
                let bold = |c: char| faces.bold.glyph_index(c).is_some();
                let missing: Vec<char> = text.chars().filter(|c| !bold(*c)).collect();
                assert!(
                    missing.is_empty(),
                    "{missing:?}: make it anew, fonts/README.md"
                );
            }
        }
    }

    #[test]
    fn faces_count_in_thousandths() {
        let faces = Faces::load().unwrap();
        for font in [FontName::Regular, FontName::Bold] {
            assert_eq!(faces.of(font).units_per_em(), 1000);
        }
    }

    #[test]
    fn names_in_gbk_can_be_set_and_others_show_that_something_is_missing() {
        let faces = Faces::load().unwrap();
        for c in "上海喆堃玥珺祎赟昇軟體Ünë€№−–·".chars() {
            assert!(faces.regular.glyph_index(c).is_some(), "{c}");
        }
        let runs = faces.runs("a😀", Weight::Plain);
        let shows: String = runs
            .iter()
            .flat_map(|r| &r.glyphs)
            .map(|g| g.shows)
            .collect();
        assert_eq!(shows, "a〓");
    }

    #[test]
    fn a_strong_word_has_one_look() {
        let faces = Faces::load().unwrap();
        let runs = faces.runs("鑫", Weight::Strong);
        assert!(runs[0].outlined);
        let title = faces.runs("账单 INV-1", Weight::Strong);
        assert_eq!(title.len(), 1);
        assert_eq!(title[0].font, FontName::Bold);
    }
}
