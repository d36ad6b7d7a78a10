//! The figures as a table and as a plot.

use std::fmt::Write as _;

/// One thing, on one database, at each size.
pub(crate) struct Series {
    pub(crate) database: &'static str,
    pub(crate) name: &'static str,
    pub(crate) figures: Vec<f64>,
}

const WIDTH: f64 = 760.0;
const ROW: f64 = 26.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 60.0;
/// From a tenth to a thousandfold of the smallest size.
const DECADES: f64 = 4.0;
const COLOURS: [&str; 4] = ["#9aa5b1", "#5b8def", "#e0a030", "#d0453b"];

/// A dot for each size, by how many times the figure is that of the first size; logarithmic.
pub(crate) fn svg(sizes: &[String], series: &[Series]) -> String {
    let height = ROW.mul_add(series.len() as f64, TOP + 40.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"20\" font-size=\"14\">Times the figure at {}</text>\n",
        sizes[0]
    );
    for (place, size) in sizes.iter().enumerate() {
        let x = 190.0f64.mul_add(place as f64, 12.0);
        let colour = COLOURS[place % COLOURS.len()];
        put(
            &mut svg,
            format_args!(
                "<circle cx=\"{x}\" cy=\"38\" r=\"5\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"42\">{size}</text>\n",
                x + 10.0
            ),
        );
    }
    let bottom = ROW.mul_add(series.len() as f64, TOP);
    for (times, label) in [
        (0.1, "0.1"),
        (1.0, "1"),
        (10.0, "10"),
        (100.0, "100"),
        (1000.0, "1000"),
    ] {
        let x = across(times);
        put(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
                bottom + 18.0
            ),
        );
    }
    for (row, line) in series.iter().enumerate() {
        let y = ROW.mul_add(row as f64, TOP + ROW / 2.0);
        put(
            &mut svg,
            format_args!(
                "<text x=\"12\" y=\"{:.1}\">{}, {}</text>\n",
                y + 4.0,
                line.database,
                line.name
            ),
        );
        for (place, figure) in line.figures.iter().enumerate() {
            let x = across(figure / line.figures[0]);
            let colour = COLOURS[place % COLOURS.len()];
            put(
                &mut svg,
                format_args!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\" fill-opacity=\"0.8\"/>\n"
                ),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn across(times: f64) -> f64 {
    let part = (times.max(0.1).log10() + 1.0) / DECADES;
    (WIDTH - LEFT - RIGHT).mul_add(part.min(1.0), LEFT)
}

/// A Markdown table: a line for each thing, a column for each size.
pub(crate) fn table(sizes: &[String], series: &[Series]) -> String {
    let mut table = format!("| | | {} |\n|---|---|", sizes.join(" | "));
    table.push_str(&"---|".repeat(sizes.len()));
    table.push('\n');
    for line in series {
        let figures: Vec<String> = line.figures.iter().map(|f| figure(*f)).collect();
        let (database, name) = (line.database, line.name);
        put(
            &mut table,
            format_args!("| {database} | {name} | {} |\n", figures.join(" | ")),
        );
    }
    table
}

fn figure(figure: f64) -> String {
    if figure < 100.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.0}")
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).unwrap();
}
