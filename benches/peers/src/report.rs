//! Owns the figures and their three forms: a table to read, Markdown to keep, and JSON to compute
//! with.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::stores::BASELINE;

/// What the figures of a column are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Operations per second of one thread, shown as the time of one, with the ratio of the rates.
    Latency,
    /// Operations per second, with the ratio of the rates.
    Rate,
    /// Per second, without a ratio.
    PerSecond,
    Nanos,
    Seconds,
    Bytes,
}

pub struct Column {
    pub name: &'static str,
    pub unit: Unit,
}

impl Column {
    pub const fn new(name: &'static str, unit: Unit) -> Self {
        Self { name, unit }
    }
}

/// The figures of all stores in some columns.
pub struct Table {
    title: String,
    columns: Vec<Column>,
    rows: Vec<Row>,
}

struct Row {
    store: &'static str,
    /// For each column, one figure for each round.
    rounds: Vec<Vec<f64>>,
}

impl Table {
    pub fn new(title: String, columns: Vec<Column>, stores: &[&'static str]) -> Self {
        let row = |store: &&'static str| Row { store, rounds: vec![Vec::new(); columns.len()] };
        let rows = stores.iter().map(row).collect();
        Self { title, columns, rows }
    }

    /// Adds one round's figure.
    pub fn add(&mut self, store: &str, column: usize, figure: Option<f64>) {
        let row = self.rows.iter_mut().find(|row| row.store == store);
        let row = row.expect("a table has a row for each store");
        row.rounds[column].extend(figure);
    }

    /// Returns all cells as text, the names of the columns first.
    fn cells(&self) -> Vec<Vec<String>> {
        let baseline = self.rows.iter().find(|row| row.store == BASELINE);
        let names = self.columns.iter().map(|column| column.name.to_owned());
        let mut cells = vec![std::iter::once("store".to_owned()).chain(names).collect()];
        for row in &self.rows {
            let figures = self.columns.iter().enumerate().map(|(i, column)| {
                let base = baseline.and_then(|base| median(&base.rounds[i]));
                median(&row.rounds[i]).map_or("-".into(), |figure| show(column.unit, figure, base))
            });
            cells.push(std::iter::once(row.store.into()).chain(figures).collect());
        }
        cells
    }

    /// Returns the table in columns of even width.
    pub fn to_text(&self) -> String {
        let cells = self.cells();
        let widths = widths(&cells);
        let mut text = format!("\n{}\n", self.title);
        for row in &cells {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match i {
                    0 => write!(line, "{cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    pub fn to_markdown(&self) -> String {
        let cells = self.cells();
        let mut text = format!("### {}\n\n", self.title);
        for (i, row) in cells.iter().enumerate() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
            if i == 0 {
                let _ = writeln!(text, "|---|{}", "---:|".repeat(self.columns.len()));
            }
        }
        text.push('\n');
        text
    }

    pub fn to_json(&self) -> Value {
        let figures = |row: &Row| -> Value {
            let columns = self.columns.iter().zip(&row.rounds);
            columns
                .map(|(column, rounds)| {
                    let figure = json!({ "unit": column.unit.base(), "rounds": rounds });
                    (column.name.to_owned(), figure)
                })
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let stores = self.rows.iter().map(|row| (row.store.into(), figures(row)));
        json!({
            "title": self.title,
            "stores": stores.collect::<serde_json::Map<String, Value>>(),
        })
    }
}

impl Unit {
    /// The unit of the figures as they were measured.
    fn base(self) -> &'static str {
        match self {
            Self::Latency | Self::Rate | Self::PerSecond => "1/s",
            Self::Nanos => "ns",
            Self::Seconds => "s",
            Self::Bytes => "B",
        }
    }
}

/// Returns the middle of the figures, if there are any.
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn show(unit: Unit, figure: f64, base: Option<f64>) -> String {
    let ratio = base.map_or(String::new(), |base| match figure / base {
        ratio if ratio < 0.1 => format!(" ({ratio:.3})"),
        ratio => format!(" ({ratio:.2})"),
    });
    match unit {
        Unit::Latency => format!("{} ns{ratio}", digits(1e9 / figure)),
        Unit::Rate => format!("{} M/s{ratio}", digits(figure / 1e6)),
        Unit::PerSecond => format!("{figure:.0}/s"),
        Unit::Seconds => format!("{figure:.2} s"),
        Unit::Bytes => format!("{figure:.0} B"),
        Unit::Nanos if figure < 1e4 => format!("{figure:.0} ns"),
        Unit::Nanos if figure < 1e7 => format!("{} us", digits(figure / 1e3)),
        Unit::Nanos => format!("{} ms", digits(figure / 1e6)),
    }
}

/// Returns three digits or so.
fn digits(figure: f64) -> String {
    match figure {
        figure if figure < 1.0 => format!("{figure:.3}"),
        figure if figure < 10.0 => format!("{figure:.2}"),
        figure if figure < 100.0 => format!("{figure:.1}"),
        figure => format!("{figure:.0}"),
    }
}

fn widths(cells: &[Vec<String>]) -> Vec<usize> {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |i: usize| cells.iter().map(|row| row[i].chars().count()).max();
    (0..columns).map(|i| width(i).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratio_of_rates_refers_to_the_baseline() {
        let columns = vec![Column::new("load", Unit::Latency)];
        let mut table = Table::new("t".into(), columns, &[BASELINE, "other", "none"]);
        table.add(BASELINE, 0, Some(50e6));
        table.add("other", 0, Some(25e6));
        table.add("none", 0, None);
        let cells = table.cells();
        assert_eq!(cells[1][1], "20.0 ns (1.00)");
        assert_eq!(cells[2][1], "40.0 ns (0.50)");
        assert_eq!(cells[3][1], "-");
    }
}
