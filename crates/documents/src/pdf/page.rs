//! What stands on a page, and where.

use super::face::Weight;

/// The width of A4 in points.
pub(super) const WIDTH: f32 = 595.28;
/// The height of A4 in points.
pub(super) const HEIGHT: f32 = 841.89;

/// A page: what stands on it. Distances are points from its upper left corner.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    pub(super) marks: Vec<Mark>,
}

/// Something on a page.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    Text(Text),
    /// A filled rectangle.
    Fill(Area, Color),
    /// The outline of one.
    Frame(Area, Color),
}

/// A line of text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) line: String,
    pub(super) x: f32,
    /// Where its letters stand.
    pub(super) baseline: f32,
    pub(super) style: Style,
}

/// How text looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) size: f32,
    pub(super) weight: Weight,
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Area {
    pub(super) x: f32,
    pub(super) top: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

/// Red, green, blue, from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Color(pub(super) f32, pub(super) f32, pub(super) f32);

pub(super) const INK: Color = Color(0.11, 0.13, 0.15);
pub(super) const GRAY: Color = Color(0.36, 0.40, 0.44);
pub(super) const ACCENT: Color = Color(0.12, 0.23, 0.37);
pub(super) const HAIR: Color = Color(0.88, 0.90, 0.92);
pub(super) const SHADE: Color = Color(0.945, 0.957, 0.968);

impl Style {
    pub(super) const fn plain(size: f32) -> Self {
        Self {
            size,
            weight: Weight::Plain,
            color: INK,
        }
    }

    pub(super) const fn gray(size: f32) -> Self {
        Self {
            color: GRAY,
            ..Self::plain(size)
        }
    }

    pub(super) const fn strong(size: f32) -> Self {
        Self {
            weight: Weight::Strong,
            ..Self::plain(size)
        }
    }

    pub(super) const fn in_color(self, color: Color) -> Self {
        Self { color, ..self }
    }

    /// From one baseline to the next.
    pub(super) fn leading(self) -> f32 {
        self.size * 1.4
    }
}
