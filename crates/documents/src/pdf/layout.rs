//! Where everything stands: the head on the first page, the table with its head on each, the sums, the
//! notes, and a foot with the number of the page.

use super::face::Faces;
use super::page::{ACCENT, Area, Color, GRAY, HAIR, HEIGHT, Mark, Page, SHADE, Style, Text, WIDTH};
use super::wrap::wrap;
use crate::document::{Block, Cell, Document, Row, Side, Total, TotalKind};

const LEFT: f32 = 48.0;
const RIGHT: f32 = WIDTH - 48.0;
const TOP: f32 = 54.0;
/// Below this only the foot stands.
const BOTTOM: f32 = HEIGHT - 68.0;
const TABLE: f32 = RIGHT - LEFT;
/// Between a cell's text and its sides.
const PAD: f32 = 6.0;
/// Between a row's text and its edges.
const ROW_PAD: f32 = 4.5;
const TEXT: Style = Style::plain(9.0);
const DETAIL: Style = Style::gray(7.5);
const HEADING: Style = Style::strong(8.0).in_color(GRAY);

/// The pages of a document.
pub(super) fn lay_out(document: &Document, faces: &Faces) -> Vec<Page> {
    let mut sheet = Sheet {
        document,
        faces,
        columns: columns(document, faces),
        pages: vec![Page::default()],
        y: TOP,
    };
    sheet.head();
    sheet.parties();
    sheet.table();
    sheet.totals();
    sheet.notes();
    sheet.feet();
    sheet.pages
}

/// The pages so far, and how far down the last one is filled.
struct Sheet<'a> {
    document: &'a Document,
    faces: &'a Faces,
    columns: Vec<Placed>,
    pages: Vec<Page>,
    y: f32,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy)]
struct Placed {
    x: f32,
    width: f32,
    side: Side,
}

/// A cell in lines.
type Lines = Vec<(String, Style)>;

impl Sheet<'_> {
    fn mark(&mut self, mark: Mark) {
        if let Some(page) = self.pages.last_mut() {
            page.marks.push(mark);
        }
    }

    fn left(&mut self, text: &str, x: f32, baseline: f32, style: Style) {
        self.mark(Mark::Text(Text {
            line: text.to_owned(),
            x,
            baseline,
            style,
        }));
    }

    fn right(&mut self, text: &str, x: f32, baseline: f32, style: Style) {
        let width = self.width(text, style);
        self.left(text, x - width, baseline, style);
    }

    fn width(&self, text: &str, style: Style) -> f32 {
        self.faces.width(text, style.weight, style.size)
    }

    fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<String> {
        wrap(text, style.weight, style.size, width, self.faces)
    }

    fn rule(&mut self, x: f32, top: f32, width: f32, height: f32, color: Color) {
        let area = Area {
            x,
            top,
            width,
            height,
        };
        self.mark(Mark::Fill(area, color));
    }

    /// Seller, title, number and stamp.
    fn head(&mut self) {
        let document = self.document;
        let title = Style::strong(22.0).in_color(ACCENT);
        self.right(&document.title, RIGHT, TOP + 16.0, title);
        self.right(&document.number, RIGHT, TOP + 33.0, Style::gray(10.0));
        let mut right = TOP + 40.0;
        if let Some(stamp) = &document.stamp {
            let style = Style::strong(9.0).in_color(ACCENT);
            let width = self.width(stamp, style) + 14.0;
            let area = Area {
                x: RIGHT - width,
                top: right + 2.0,
                width,
                height: 16.0,
            };
            self.mark(Mark::Frame(area, ACCENT));
            self.right(stamp, RIGHT - 7.0, right + 13.2, style);
            right += 22.0;
        }
        let name = Style::strong(13.0);
        let seller = document.seller.lines.first().map_or("", String::as_str);
        let mut baseline = TOP + 13.0;
        for line in self.wrap(seller, name, TABLE * 0.55) {
            self.left(&line, LEFT, baseline, name);
            baseline += name.leading();
        }
        self.y = right.max(baseline) + 4.0;
        self.rule(LEFT, self.y, TABLE, 1.5, ACCENT);
        self.y += 18.0;
    }

    /// Seller and buyer, and beside them dates and references.
    fn parties(&mut self) {
        let document = self.document;
        let column = TABLE * 0.31;
        let top = self.y;
        let seller = self.block(&document.seller, LEFT, top, column - 16.0);
        let buyer = self.block(&document.buyer, LEFT + column, top, column - 16.0);
        let facts = self.facts(LEFT + 2.0 * column, top);
        self.y = seller.max(buyer).max(facts) + 12.0;
    }

    fn block(&mut self, block: &Block, x: f32, top: f32, width: f32) -> f32 {
        let mut baseline = top + 8.0;
        self.left(&block.heading, x, baseline, Style::gray(8.0));
        baseline += 14.0;
        for (at, line) in block.lines.iter().enumerate() {
            let style = if at == 0 { Style::strong(9.5) } else { TEXT };
            for line in self.wrap(line, style, width) {
                self.left(&line, x, baseline, style);
                baseline += style.leading();
            }
        }
        baseline
    }

    fn facts(&mut self, x: f32, top: f32) -> f32 {
        let document = self.document;
        let mut baseline = top + 8.0;
        for fact in &document.facts {
            let label = self.width(&fact.label, Style::gray(8.5));
            self.left(&fact.label, x, baseline, Style::gray(8.5));
            for line in self.wrap(&fact.value, TEXT, RIGHT - x - label - 10.0) {
                self.right(&line, RIGHT, baseline, TEXT);
                baseline += 13.0;
            }
            baseline += 1.5;
        }
        baseline
    }

    fn table(&mut self) {
        self.table_head();
        for row in &self.document.rows {
            let cells = self.cells(row);
            let height = height_of(&cells);
            if self.y + height > BOTTOM {
                self.new_page();
                self.table_head();
            }
            self.row(&cells, height);
        }
    }

    fn table_head(&mut self) {
        self.rule(LEFT, self.y, TABLE, 20.0, SHADE);
        let document = self.document;
        for (column, place) in document.columns.iter().zip(self.columns.clone()) {
            self.in_column(&column.heading, place, self.y + 13.0, HEADING);
        }
        self.y += 20.0;
    }

    fn in_column(&mut self, text: &str, place: Placed, baseline: f32, style: Style) {
        match place.side {
            Side::Left => self.left(text, place.x + PAD, baseline, style),
            Side::Right => self.right(text, place.x + place.width - PAD, baseline, style),
        }
    }

    /// A row's cells in lines.
    fn cells(&self, row: &Row) -> Vec<Lines> {
        let cells = row.cells.iter().zip(&self.columns);
        let of = |(cell, place): (&Cell, &Placed)| {
            let width = place.width - 2.0 * PAD;
            let text = self.wrap(&cell.text, TEXT, width);
            let mut lines: Lines = text.into_iter().map(|line| (line, TEXT)).collect();
            for detail in &cell.details {
                let detail = self.wrap(detail, DETAIL, width);
                lines.extend(detail.into_iter().map(|line| (line, DETAIL)));
            }
            lines
        };
        cells.map(of).collect()
    }

    fn row(&mut self, cells: &[Lines], height: f32) {
        for (lines, place) in cells.iter().zip(self.columns.clone()) {
            let mut top = self.y + ROW_PAD;
            for (line, style) in lines {
                self.in_column(line, place, top + style.size * 1.02, *style);
                top += leading_of(*style);
            }
        }
        self.y += height;
        self.rule(LEFT, self.y - 0.5, TABLE, 0.5, HAIR);
    }

    /// The sums, on one page where they fit one.
    fn totals(&mut self) {
        let totals = &self.document.totals;
        let label_x = LEFT + TABLE * 0.44;
        let height: f32 = totals.iter().map(|t| self.total_height(t, label_x)).sum();
        self.y += 8.0;
        if self.y + height > BOTTOM {
            self.new_page();
        }
        for total in totals {
            let needed = self.total_height(total, label_x);
            if self.y + needed > BOTTOM {
                self.new_page();
            }
            self.total(total, label_x);
        }
    }

    fn total_lines(&self, total: &Total, label_x: f32) -> Vec<String> {
        let style = style_of(total.kind);
        let value = self.width(&total.value, style);
        let width = RIGHT - PAD - value - 12.0 - label_x;
        self.wrap(&total.label, style, width)
    }

    fn total_height(&self, total: &Total, label_x: f32) -> f32 {
        let style = style_of(total.kind);
        let mut height = if total.kind == TotalKind::Sum {
            11.0
        } else {
            4.0
        };
        for _ in self.total_lines(total, label_x) {
            height += style.leading();
        }
        height
    }

    fn total(&mut self, total: &Total, label_x: f32) {
        let style = style_of(total.kind);
        let mut baseline = self.y + style.size * 1.05 + 2.0;
        if total.kind == TotalKind::Sum {
            self.rule(label_x, self.y + 2.0, RIGHT - label_x, 0.75, ACCENT);
            baseline += 5.0;
        }
        self.right(&total.value, RIGHT - PAD, baseline, style);
        for line in self.total_lines(total, label_x) {
            self.left(&line, label_x, baseline, style);
            baseline += style.leading();
        }
        self.y += self.total_height(total, label_x);
    }

    fn notes(&mut self) {
        let style = Style::gray(8.5);
        self.y += 22.0;
        for note in &self.document.notes {
            for line in self.wrap(note, style, TABLE) {
                if self.y + style.leading() > BOTTOM {
                    self.new_page();
                }
                self.left(&line, LEFT, self.y + style.size, style);
                self.y += style.leading();
            }
            self.y += 4.0;
        }
    }

    /// Another page, with what the document is at its head.
    fn new_page(&mut self) {
        self.pages.push(Page::default());
        let document = self.document;
        let what = format!("{} {}", document.title, document.number);
        self.left(&what, LEFT, TOP, Style::strong(9.0).in_color(ACCENT));
        self.y = TOP + 14.0;
    }

    fn feet(&mut self) {
        let foot = self.document.running_foot();
        let style = Style::gray(8.0);
        let count = self.pages.len();
        let baseline = HEIGHT - 38.0;
        let what = self.wrap(&foot, style, TABLE - 60.0);
        let what = what.into_iter().next().unwrap_or_default();
        for (at, page) in self.pages.iter_mut().enumerate() {
            let number = format!("{} / {count}", at.saturating_add(1));
            let width = self.faces.width(&number, style.weight, style.size);
            let area = Area {
                x: LEFT,
                top: HEIGHT - 52.0,
                width: TABLE,
                height: 0.5,
            };
            page.marks.push(Mark::Fill(area, HAIR));
            for (line, x) in [(what.clone(), LEFT), (number, RIGHT - width)] {
                page.marks.push(Mark::Text(Text {
                    line,
                    x,
                    baseline,
                    style,
                }));
            }
        }
    }
}

/// Where columns stand: each as wide as its widest text, but no wider than a quarter of the table; the
/// first has the rest.
fn columns(document: &Document, faces: &Faces) -> Vec<Placed> {
    let width_of = |text: &str, style: Style| faces.width(text, style.weight, style.size);
    let mut widths: Vec<f32> = Vec::with_capacity(document.columns.len());
    for (at, column) in document.columns.iter().enumerate() {
        let cells = document.rows.iter().filter_map(|row| row.cells.get(at));
        let cells = cells.map(|cell| width_of(&cell.text, TEXT));
        let widest = cells.fold(width_of(&column.heading, HEADING), f32::max);
        widths.push((widest + 2.0 * PAD + 4.0).min(TABLE * 0.25));
    }
    let others: f32 = widths.iter().skip(1).sum();
    if let Some(first) = widths.first_mut() {
        *first = TABLE - others;
    }
    let mut x = LEFT;
    let mut places = Vec::with_capacity(widths.len());
    for (column, width) in document.columns.iter().zip(widths) {
        let side = column.side;
        places.push(Placed { x, width, side });
        x += width;
    }
    places
}

/// Lines of a table stand closer than others.
fn leading_of(style: Style) -> f32 {
    style.size * 1.3
}

fn height_of(cells: &[Lines]) -> f32 {
    let height = |lines: &Lines| -> f32 { lines.iter().map(|(_, style)| leading_of(*style)).sum() };
    cells.iter().map(height).fold(0.0, f32::max) + 2.0 * ROW_PAD
}

const fn style_of(kind: TotalKind) -> Style {
    match kind {
        TotalKind::Plain => Style::plain(9.0),
        TotalKind::Part => Style::gray(8.0),
        TotalKind::Sum => Style::strong(11.0),
    }
}
