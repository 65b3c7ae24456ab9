//! Owns the plots: lines over axes whose scale, marks and words are chosen here, as SVG.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::text::{nanos, short};

/// Twice what is shown, because all that is drawn begins at whole pixels.
const SIZE: (u32, u32) = (1040, 500);
const FONT: (&str, i32) = ("sans-serif", 26);
const INK: RGBColor = RGBColor(71, 85, 105);
const GRID: RGBColor = RGBColor(226, 232, 240);

/// The colours of the lines. `report.css` has another of each, and of the two above, for the dark.
const COLOURS: [RGBColor; 8] = [
    RGBColor(37, 99, 235),
    RGBColor(217, 119, 6),
    RGBColor(5, 150, 105),
    RGBColor(124, 58, 237),
    RGBColor(8, 145, 178),
    RGBColor(219, 39, 119),
    RGBColor(146, 64, 14),
    RGBColor(100, 116, 139),
];

/// How an axis maps values, and what it writes at its marks.
#[derive(Clone, Copy)]
pub(crate) enum Axis {
    /// From zero up, in hundreds, thousands, millions.
    Number,
    /// From zero up, in seconds.
    Seconds,
    /// Threads: each doubling takes the same room.
    Threads,
    /// Percentiles: each further nine takes the same room. The maximum is 100.
    Percentile,
    /// Nanoseconds: each power of ten takes the same room.
    Nanos,
}

/// Where on the percentile axis the maximum is: one nine beyond the last percentile.
const MAXIMUM: f64 = 5.0;

impl Axis {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Number | Self::Seconds => value,
            Self::Threads => value.log2(),
            Self::Percentile if value >= 100.0 => MAXIMUM,
            Self::Percentile => -(1.0 - value / 100.0).log10(),
            Self::Nanos => value.max(1.0).log10(),
        }
    }

    fn word(self, place: f64) -> String {
        match self {
            Self::Number => short(place),
            Self::Seconds => short(place),
            Self::Threads => format!("{:.0}", place.exp2()),
            Self::Percentile if place >= MAXIMUM => "max".to_owned(),
            // To the places that tell one percentile from the next.
            Self::Percentile => {
                let percent = 100.0 - 10_f64.powf(2.0 - place);
                let text = format!("{percent:.3}");
                format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Nanos => nanos(10_f64.powf(place)),
        }
    }

    /// Returns the places from where to where the axis reaches.
    fn reach(self, places: &[f64]) -> (f64, f64) {
        let ends = (f64::MAX, f64::MIN);
        let (low, high) =
            places.iter().fold(ends, |(low, high), place| (low.min(*place), high.max(*place)));
        match self {
            // An eighth of air above the highest.
            Self::Number => (0.0, (high * 1.125).max(1.0)),
            Self::Seconds => (0.0, high.max(0.001)),
            Self::Nanos => (low.floor(), high.ceil().max(low.floor() + 1.0)),
            // A single point needs room on both sides.
            Self::Threads | Self::Percentile if low == high => (low - 1.0, high + 1.0),
            Self::Threads | Self::Percentile => (low, high),
        }
    }

    /// Returns the places of the marks, of which those of the points are all there is to choose
    /// from where each is a thing of its own.
    fn marks(self, (low, high): (f64, f64), places: &[f64]) -> Vec<f64> {
        match self {
            Self::Number | Self::Seconds => {
                let step = step(high - low);
                let marks = (0_u32..).map(|mark| f64::from(mark) * step);
                marks.take_while(|mark| *mark <= high).collect()
            }
            Self::Nanos => {
                let decades = (0_u32..).map(|decade| low + f64::from(decade));
                decades.take_while(|decade| *decade <= high).collect()
            }
            Self::Threads | Self::Percentile => {
                let mut marks = places.to_vec();
                marks.sort_by(f64::total_cmp);
                marks.dedup();
                marks
            }
        }
    }
}

/// Returns 1, 2 or 5 times a power of ten, so that it fits three to eight times.
fn step(reach: f64) -> f64 {
    let rough = reach / 8.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= rough).unwrap_or(rough)
}

/// A stretch of an axis, and its marks.
struct Scale {
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Scale {
    fn new(axis: Axis, places: &[f64]) -> Self {
        let (low, high) = axis.reach(places);
        let marks = axis.marks((low, high), places);
        Self { low, high, marks }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (place - self.low) / (self.high - self.low);
        from + (part * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

pub(crate) struct Line {
    pub(crate) name: String,
    /// Its place among the colours.
    pub(crate) colour: usize,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot, and how its axes are to be read.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    /// One sentence that says how to read it.
    pub(crate) caption: &'static str,
    pub(crate) x: (Axis, &'static str),
    pub(crate) y: (Axis, &'static str),
    pub(crate) lines: Vec<Line>,
    /// Upright lines, with a word beside each.
    pub(crate) borders: Vec<(f64, String)>,
}

impl Plot {
    /// Returns the plot as an `svg` element.
    pub(crate) fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let drawn = self.draw(&mut svg);
        drawn.map_err(|error| format!("cannot draw \"{}\" ({error})", self.title))?;
        // It stands in a page; by itself it would need its namespace.
        let role = format!("role=\"img\" aria-label=\"{}\"", self.title);
        let svg = svg.replacen("xmlns=\"http://www.w3.org/2000/svg\"", &role, 1);
        Ok(themed(svg))
    }

    fn place(&self, (x, y): &(f64, f64)) -> (f64, f64) {
        (self.x.0.place(*x), self.y.0.place(*y))
    }

    fn draw(&self, svg: &mut String) -> Result<(), Box<dyn Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        let points = self.lines.iter().flat_map(|line| &line.points);
        let (xs, ys): (Vec<_>, Vec<_>) = points.map(|point| self.place(point)).unzip();
        let (across, up) = (Scale::new(self.x.0, &xs), Scale::new(self.y.0, &ys));
        let mut chart = ChartBuilder::on(&area)
            .margin_top(20)
            .margin_right(40)
            .x_label_area_size(90)
            .y_label_area_size(140)
            .build_cartesian_2d(across, up)?;
        self.axes(&mut chart)?;
        for (at, word) in &self.borders {
            border(&mut chart, self.x.0.place(*at), word)?;
        }
        for line in &self.lines {
            let colour = COLOURS[line.colour];
            let places: Vec<_> = line.points.iter().map(|point| self.place(point)).collect();
            chart.draw_series(LineSeries::new(places.clone(), colour.stroke_width(4)))?;
            // Points that are measurements of their own, not moments of a course.
            if !matches!(self.x.0, Axis::Seconds) {
                let dot = |at| Circle::new(at, 8, colour.filled());
                chart.draw_series(places.into_iter().map(dot))?;
            }
        }
        area.present()?;
        Ok(())
    }

    fn axes(&self, chart: &mut Chart<'_>) -> Result<(), Box<dyn Error>> {
        let mut mesh = chart.configure_mesh();
        let words = (FONT.0, FONT.1, &INK);
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID);
        mesh.axis_style(GRID).label_style(words).axis_desc_style(words);
        mesh.x_desc(self.x.1).y_desc(self.y.1);
        // Each scale has chosen its marks, which are fewer.
        mesh.x_labels(100).y_labels(100);
        let x_word = |place: &f64| self.x.0.word(*place);
        let y_word = |place: &f64| self.y.0.word(*place);
        mesh.x_label_formatter(&x_word).y_label_formatter(&y_word).draw()?;
        Ok(())
    }
}

/// Names each colour, so that the page's style can have another in the dark.
fn themed(svg: String) -> String {
    let lines = COLOURS.into_iter().enumerate().map(|(i, colour)| (format!("c{i}"), colour));
    let others = [("ink".to_owned(), INK), ("grid".to_owned(), GRID)];
    lines.chain(others).fold(svg, |svg, (name, RGBColor(r, g, b))| {
        let colour = format!("#{r:02X}{g:02X}{b:02X}");
        svg.replace(&format!("\"{colour}\""), &format!("\"var(--{name}, {colour})\""))
    })
}

type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Scale, Scale>>;

fn border(chart: &mut Chart<'_>, at: f64, word: &str) -> Result<(), Box<dyn Error>> {
    let (low, high) = (chart.y_range().start, chart.y_range().end);
    chart.draw_series([PathElement::new([(at, low), (at, high)], INK.mix(0.35))])?;
    let anchor = Pos::new(HPos::Left, VPos::Top);
    let style = TextStyle::from(FONT.into_font()).color(&INK).pos(anchor);
    let beside = EmptyElement::at((at, high)) + Text::new(word.to_owned(), (8, 0), style);
    chart.draw_series([beside])?;
    Ok(())
}
