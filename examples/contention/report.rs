//! Owns the report: the table and the plots, on one page that needs nothing else.

use std::env::consts::{ARCH, OS};
use std::fmt::Write as _;
use std::thread::available_parallelism;

use crate::latency::{Operation, PERCENTILES, Tally, clock_reading};
use crate::plots::{Axis, Line, Plot};
use crate::settings::Settings;
use crate::text::{count, nanos, short, threads};
use crate::watch::{Sample, Step, Watch};

const STYLE: &str = include_str!("report.css");

/// What one run has shown.
pub(crate) struct Report<'a> {
    settings: &'a Settings,
    steps: &'a [Step],
    /// The step of the tables.
    last: &'a Step,
    samples: &'a [Sample],
    interrupted: bool,
    own_part: f64,
    clock_reading: f64,
}

impl<'a> Report<'a> {
    /// Returns `None` if nothing was measured.
    pub(crate) fn new(settings: &'a Settings, watch: &'a Watch<'_>) -> Option<Self> {
        Some(Self {
            settings,
            steps: &watch.steps,
            last: watch.steps.last()?,
            samples: &watch.samples,
            interrupted: watch.interrupted,
            own_part: watch.own_part,
            clock_reading: clock_reading(),
        })
    }

    /// Returns the table of the last step, and what to know of it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("\n{}\n\n", sum(self.last));
        for row in self.last.tally.table() {
            let cells = row[2..].iter().map(|cell| format!("{cell:>10}"));
            let _ = writeln!(text, "{:<10}{:>14}{}", row[0], row[1], cells.collect::<String>());
        }
        let notes = self.notes().into_iter();
        notes.fold(text, |text, note| format!("{text}\n{note}"))
    }

    /// What to know of the figures, in sentences.
    fn notes(&self) -> Vec<String> {
        let (reading, own) = (nanos(self.clock_reading), nanos(self.own_part));
        let warm_up = nanos(self.settings.warm_up().as_nanos() as f64);
        let mut notes = vec![
            format!(
                "Every operation after the warm-up of {warm_up} was timed, by itself; one reading \
                 of the clock, {reading} here, is part of each latency."
            ),
            "A save changes one byte first, which copies the payload; a create allocates it; a miss is \
             any of the others that found the session ended."
                .to_owned(),
            "A thread begins its next visit when the one before is over, so these are the times that \
             operations took, not the times that visitors with a schedule of their own would have \
             waited (coordinated omission)."
                .to_owned(),
            format!(
                "Throughput includes the test's own part of each visit, {own}: choosing it, reading \
                 the clock and noting down."
            ),
        ];
        if self.interrupted {
            notes.push("Ended early, by Ctrl-C.".to_owned());
        }
        notes
    }

    /// Returns the page.
    pub(crate) fn html(&self) -> Result<String, String> {
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n\
             <meta name=\"viewport\" content=\"width=device-width\" />\n\
             <title>cloakroom under contention</title>\n<style>\n{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>cloakroom under contention</h1>\n<p><code>cargo run --release \
             --example contention -- {}</code></p>\n",
            self.settings
        );
        self.figures(&mut page);
        let last = threads(self.last.threads);
        let _ = writeln!(page, "<h2>How long each operation took, on {last}</h2>");
        table(&mut page, &self.last.tally);
        for note in self.notes() {
            let _ = writeln!(page, "<p>{note}</p>");
        }
        page.push_str("<h2>Plots</h2>\n<div class=\"plots\">\n");
        for plot in self.plots() {
            figure(&mut page, &plot)?;
        }
        page.push_str("</div>\n");
        self.other_steps(&mut page);
        page.push_str("</main>\n</body>\n</html>\n");
        Ok(page)
    }

    /// The four figures that sum the run up.
    fn figures(&self, page: &mut String) {
        let best = self.steps.iter().max_by(|a, b| a.throughput().total_cmp(&b.throughput()));
        let best = best.unwrap_or(self.last);
        let most = |value: fn(&Sample) -> f64| self.samples.iter().map(value).fold(0.0, f64::max);
        let cores = available_parallelism().map_or(1, usize::from);
        let build = if cfg!(debug_assertions) { "unoptimized build" } else { "release build" };
        let figures = [
            (short(best.throughput()), format!("operations/s on {}", threads(best.threads))),
            (short(most(|sample| sample.resident)), "sessions resident at most".to_owned()),
            (short(most(|sample| sample.swept)), "sessions swept/s at most".to_owned()),
            (cores.to_string(), format!("cores, {OS} {ARCH}, {build}")),
        ];
        page.push_str("<div class=\"figures\">\n");
        for (figure, name) in figures {
            let _ = writeln!(page, "<div><b>{figure}</b>{name}</div>");
        }
        page.push_str("</div>\n");
    }

    fn other_steps(&self, page: &mut String) {
        for step in &self.steps[..self.steps.len() - 1] {
            let _ = writeln!(page, "<details>\n<summary>{}</summary>", sum(step));
            table(page, &step.tally);
            page.push_str("</details>\n");
        }
    }

    fn plots(&self) -> [Plot; 6] {
        let [throughput, resident, sweep] = self.over_time();
        [self.throughput(), self.percentiles(), self.by_threads(), throughput, resident, sweep]
    }

    fn over_time(&self) -> [Plot; 3] {
        let line = |name, colour, value: fn(&Sample) -> f64| {
            line(name, colour, self.samples.iter().map(|sample| (sample.at, value(sample))))
        };
        let plot = |title, unit, caption, lines| Plot {
            title,
            caption,
            x: (Axis::Seconds, "seconds since the start"),
            y: (Axis::Number, unit),
            lines,
            borders: self.steps.iter().map(|step| (step.began, threads(step.threads))).collect(),
        };
        let course = "Each step begins with its warm-up; a dip is a table that grows, a storm of \
                      expiries, or another program on this machine.";
        let resident = "The upper line is len(); the lower is the part of it that has expired and \
                        still takes memory, estimated from a sample: the closer to 0, the better the \
                        sweep keeps up.";
        let sweep = "Sessions removed by the operations themselves, as nothing else sweeps: a peak \
                     follows whenever many expire at one time.";
        let done = vec![line("operations", 0, |sample| sample.throughput)];
        let all = line("resident", 0, |sample| sample.resident);
        let unswept = line("expired, not yet swept", 1, |sample| sample.unswept);
        let mut removed = vec![line("expired, swept", 0, |sample| sample.swept)];
        if self.settings.max_sessions.is_some() {
            removed.push(line("live, evicted at the bound", 5, |sample| sample.evicted));
        }
        [
            plot("Throughput over time", "operations/s", course, done),
            plot("Resident sessions over time", "sessions", resident, vec![all, unswept]),
            plot("Sweep work over time", "sessions/s", sweep, removed),
        ]
    }

    fn throughput(&self) -> Plot {
        let points = self.steps.iter().map(|step| (step.threads as f64, step.throughput()));
        Plot {
            title: "Throughput by threads",
            caption: "Timed operations of all threads together; it can rise as long as there are \
                      cores for them.",
            x: (Axis::Threads, "threads"),
            y: (Axis::Number, "operations/s"),
            lines: vec![line("operations", 0, points)],
            borders: Vec::new(),
        }
    }

    fn percentiles(&self) -> Plot {
        let line_of = |(operation, histogram): (Operation, &hdrhistogram::Histogram<u64>)| {
            let at = |p| (p, histogram.value_at_quantile(p / 100.0) as f64);
            let points = PERCENTILES.into_iter().chain([100.0]).map(at);
            line(operation.name(), operation as usize, points)
        };
        Plot {
            title: "Latency by percentile",
            caption: "In the last step: p99 is the time that one in a hundred exceeded, p99.9 one in a \
                      thousand.",
            x: (Axis::Percentile, "percentile"),
            y: (Axis::Nanos, "latency"),
            lines: self.last.tally.latencies().map(line_of).collect(),
            borders: Vec::new(),
        }
    }

    fn by_threads(&self) -> Plot {
        let line_of = |(colour, percentile): (usize, f64)| {
            let point = |step: &Step| {
                let all = step.tally.all_latencies();
                (step.threads as f64, all.value_at_quantile(percentile / 100.0) as f64)
            };
            let name = if percentile < 100.0 { format!("p{percentile}") } else { "max".to_owned() };
            line(&name, colour, self.steps.iter().map(point))
        };
        Plot {
            title: "Latency by threads",
            caption: "Of all operations together; with more threads than cores, the rare long ones are \
                      waits for a turn on a core.",
            x: (Axis::Threads, "threads"),
            y: (Axis::Nanos, "latency"),
            lines: [50.0, 99.0, 99.9, 99.99, 100.0].into_iter().enumerate().map(line_of).collect(),
            borders: Vec::new(),
        }
    }
}

/// Sums a step up in a line.
fn sum(step: &Step) -> String {
    let (timed, rate) = (count(step.tally.timed()), short(step.throughput()));
    let (threads, seconds) = (threads(step.threads), step.seconds);
    format!("{timed} operations in {seconds:.3} s on {threads}: {rate} operations/s")
}

fn line(name: &str, colour: usize, points: impl Iterator<Item = (f64, f64)>) -> Line {
    Line { name: name.to_owned(), colour, points: points.collect() }
}

fn table(page: &mut String, tally: &Tally) {
    page.push_str("<div class=\"wide\">\n<table>\n");
    for (i, row) in tally.table().iter().enumerate() {
        let tag = if i == 0 { "th" } else { "td" };
        let cells = row.iter().map(|cell| format!("<{tag}>{cell}</{tag}>"));
        let _ = writeln!(page, "<tr>{}</tr>", cells.collect::<String>());
    }
    page.push_str("</table>\n</div>\n");
}

fn figure(page: &mut String, plot: &Plot) -> Result<(), String> {
    let (title, caption, svg) = (plot.title, plot.caption, plot.svg()?);
    let _ = writeln!(page, "<figure>\n<h3>{title}</h3>\n<p>{caption}</p>");
    if plot.lines.len() > 1 {
        page.push_str("<p class=\"legend\">");
        for Line { name, colour, .. } in &plot.lines {
            let dot = format!("<circle cx=\"6\" cy=\"6\" r=\"5\" fill=\"var(--c{colour})\"/>");
            let _ = write!(page, "<span><svg viewBox=\"0 0 12 12\">{dot}</svg>{name}</span>");
        }
        page.push_str("</p>\n");
    }
    let _ = writeln!(page, "{svg}</figure>");
    Ok(())
}
