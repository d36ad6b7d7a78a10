//! The file: pages, and of each font what they use.

use std::collections::BTreeMap;

use billing_core::invoice::Locale;
use miniz_oxide::deflate::compress_to_vec_zlib;
use pdf_writer::types::{CidFontType, FontFlags, SystemInfo, TextRenderingMode, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use subsetter::GlyphRemapper;
use ttf_parser::RawFace;

use super::PdfError;
use super::face::{BOLD, Faces, FontName, REGULAR, Run};
use super::page::{Color, HEIGHT, Mark, Page, Text, WIDTH};
use crate::document::Document;

/// zlib's usual effort.
const EFFORT: u8 = 6;
const SYSTEM: SystemInfo<'static> = SystemInfo {
    registry: Str(b"Adobe"),
    ordering: Str(b"Identity"),
    supplement: 0,
};

/// A PDF file of pages.
pub(super) fn file(
    document: &Document,
    pages: &[Page],
    faces: &Faces,
) -> Result<Vec<u8>, PdfError> {
    let mut numbers = Numbers(0);
    let (catalog, tree) = (numbers.next(), numbers.next());
    let mut fonts = BTreeMap::from([
        (FontName::Regular, Font::new(&mut numbers)),
        (FontName::Bold, Font::new(&mut numbers)),
    ]);
    let mut pdf = Pdf::new();
    let mut page_ids = Vec::with_capacity(pages.len());
    for page in pages {
        let content = content_of(page, faces, &mut fonts);
        let (id, stream) = (numbers.next(), numbers.next());
        let compressed = compress_to_vec_zlib(&content, EFFORT);
        pdf.stream(stream, &compressed).filter(Filter::FlateDecode);
        let mut written = pdf.page(id);
        written
            .parent(tree)
            .media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT))
            .contents(stream);
        let mut resources = written.resources();
        let mut named = resources.fonts();
        for (name, font) in &fonts {
            named.pair(Name(resource(*name)), font.id);
        }
        named.finish();
        resources.finish();
        written.finish();
        page_ids.push(id);
    }
    let count = i32::try_from(page_ids.len()).unwrap_or(i32::MAX);
    pdf.pages(tree).kids(page_ids).count(count);
    for (name, font) in &fonts {
        embed(&mut pdf, *name, font, faces)?;
    }
    about(&mut pdf, document, (catalog, tree), &mut numbers);
    Ok(pdf.finish())
}

/// Numbers of objects.
struct Numbers(i32);

impl Numbers {
    fn next(&mut self) -> Ref {
        self.0 = self.0.saturating_add(1);
        Ref::new(self.0.max(1))
    }
}

/// A font in the file, and which of its shapes pages use.
struct Font {
    id: Ref,
    descendant: Ref,
    descriptor: Ref,
    program: Ref,
    unicode: Ref,
    used: GlyphRemapper,
    /// Width and character, by the shape's number in the part.
    shapes: BTreeMap<u16, (u16, char)>,
}

impl Font {
    fn new(numbers: &mut Numbers) -> Self {
        Self {
            id: numbers.next(),
            descendant: numbers.next(),
            descriptor: numbers.next(),
            program: numbers.next(),
            unicode: numbers.next(),
            used: GlyphRemapper::new(),
            shapes: BTreeMap::new(),
        }
    }

    /// A run as numbers of shapes, two bytes each.
    fn encode(&mut self, run: &Run) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(run.glyphs.len().saturating_mul(2));
        for glyph in &run.glyphs {
            let shape = self.used.remap(glyph.id);
            self.shapes.insert(shape, (glyph.width, glyph.shows));
            bytes.extend(shape.to_be_bytes());
        }
        bytes
    }
}

const fn resource(font: FontName) -> &'static [u8] {
    match font {
        FontName::Regular => b"R",
        FontName::Bold => b"B",
    }
}

fn content_of(page: &Page, faces: &Faces, fonts: &mut BTreeMap<FontName, Font>) -> Vec<u8> {
    let mut content = Content::new();
    for mark in &page.marks {
        match mark {
            Mark::Text(text) => write_text(&mut content, text, faces, fonts),
            Mark::Fill(area, Color(r, g, b)) => {
                let bottom = HEIGHT - area.top - area.height;
                content.set_fill_rgb(*r, *g, *b);
                content.rect(area.x, bottom, area.width, area.height);
                content.fill_nonzero();
            }
            Mark::Frame(area, Color(r, g, b)) => {
                let bottom = HEIGHT - area.top - area.height;
                content.set_stroke_rgb(*r, *g, *b).set_line_width(1.0);
                content.rect(area.x, bottom, area.width, area.height);
                content.stroke();
            }
        }
    }
    content.finish().into_vec()
}

fn write_text(
    content: &mut Content,
    text: &Text,
    faces: &Faces,
    fonts: &mut BTreeMap<FontName, Font>,
) {
    let Color(r, g, b) = text.style.color;
    content.begin_text();
    content.set_fill_rgb(r, g, b);
    content.set_text_matrix([1.0, 0.0, 0.0, 1.0, text.x, HEIGHT - text.baseline]);
    for run in faces.runs(&text.line, text.style.weight) {
        let Some(font) = fonts.get_mut(&run.font) else {
            continue;
        };
        if run.outlined {
            content.set_stroke_rgb(r, g, b);
            content.set_line_width(text.style.size * 0.022);
            content.set_text_rendering_mode(TextRenderingMode::FillStroke);
        } else {
            content.set_text_rendering_mode(TextRenderingMode::Fill);
        }
        content.set_font(Name(resource(run.font)), text.style.size);
        content.show(Str(&font.encode(&run)));
    }
    content.end_text();
}

/// Writes the part of a font that is used.
fn embed(pdf: &mut Pdf, name: FontName, font: &Font, faces: &Faces) -> Result<(), PdfError> {
    let (data, plain) = match name {
        FontName::Regular => (REGULAR, "NotoSansSC-Regular"),
        FontName::Bold => (BOLD, "NotoSansSC-Bold"),
    };
    let part = subsetter::subset(data, 0, &font.used);
    let part = part.map_err(|fault| PdfError::Subset(fault.to_string()))?;
    let outlines = ttf_parser::Tag::from_bytes(b"CFF ");
    let raw = RawFace::parse(&part, 0).map_err(|_| PdfError::Font)?;
    let program = raw.table(outlines).ok_or(PdfError::Font)?;
    let program = compress_to_vec_zlib(program, EFFORT);
    pdf.stream(font.program, &program)
        .filter(Filter::FlateDecode)
        .pair(Name(b"Subtype"), Name(b"CIDFontType0C"));
    // A part of a font has a tag of six letters before its name.
    let base = format!("TLGATE+{plain}");
    let full = format!("{base}-Identity-H");
    pdf.type0_font(font.id)
        .base_font(Name(full.as_bytes()))
        .encoding_predefined(Name(b"Identity-H"))
        .descendant_font(font.descendant)
        .to_unicode(font.unicode);
    let mut cid = pdf.cid_font(font.descendant);
    cid.subtype(CidFontType::Type0)
        .base_font(Name(base.as_bytes()))
        .system_info(SYSTEM)
        .font_descriptor(font.descriptor)
        .default_width(1000.0);
    let mut widths = cid.widths();
    for (shape, (width, _)) in &font.shapes {
        widths.consecutive(*shape, [f32::from(*width)]);
    }
    widths.finish();
    cid.finish();
    let face = faces.of(name);
    let bounds = face.global_bounding_box();
    pdf.font_descriptor(font.descriptor)
        .name(Name(base.as_bytes()))
        .flags(FontFlags::SYMBOLIC)
        .bbox(Rect::new(
            f32::from(bounds.x_min),
            f32::from(bounds.y_min),
            f32::from(bounds.x_max),
            f32::from(bounds.y_max),
        ))
        .italic_angle(0.0)
        .ascent(f32::from(face.ascender()))
        .descent(f32::from(face.descender()))
        .cap_height(f32::from(face.capital_height().unwrap_or(733)))
        .stem_v(if name == FontName::Bold { 140.0 } else { 80.0 })
        .font_file3(font.program);
    let mut characters = UnicodeCmap::new(Name(b"Tollgate"), SYSTEM);
    for (shape, (_, shows)) in &font.shapes {
        characters.pair(*shape, *shows);
    }
    let characters = compress_to_vec_zlib(&characters.finish(), EFFORT);
    pdf.cmap(font.unicode, &characters)
        .filter(Filter::FlateDecode);
    Ok(())
}

/// What the file says of itself. It has no date of making: the same document is the same bytes.
fn about(pdf: &mut Pdf, document: &Document, (catalog, tree): (Ref, Ref), numbers: &mut Numbers) {
    let title = format!("{} {}", document.title, document.number);
    let author = document.seller.lines.first().map_or("", String::as_str);
    pdf.document_info(numbers.next())
        .title(TextStr(&title))
        .author(TextStr(author))
        .creator(TextStr("Tollgate"));
    let language = match document.locale {
        Locale::En => "en",
        Locale::ZhCn => "zh-CN",
    };
    let mut root = pdf.catalog(catalog);
    root.pages(tree).lang(TextStr(language));
    root.viewer_preferences().display_doc_title(true);
}
