//! Owns a report as a browser reads it: its tags, its plots, and that it loads nothing.

/// A page whose tags fit together.
pub(crate) struct Page {
    pub(crate) text: String,
    tags: Vec<String>,
}

/// Tags without an end.
const VOID: [&str; 2] = ["meta", "!DOCTYPE"];

/// What would make a browser load something.
const LOADS: [&str; 9] =
    ["://", "<script", "<link", "<img", "<iframe", "url(", "@import", " src=", "href="];

impl Page {
    /// Panics if a tag is not closed, or not where it should be.
    pub(crate) fn parse(text: String) -> Self {
        let mut open: Vec<&str> = Vec::new();
        let mut tags = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("no end of <{part}"));
            assert_eq!(tag.matches('"').count() % 2, 0, "an attribute does not end: <{tag}>");
            let name = tag.trim_end_matches('/').split_whitespace().next().unwrap();
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "</{name}>");
            } else if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
            tags.push(tag.to_owned());
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        assert!(text.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
        Self { text, tags }
    }

    pub(crate) fn check(&self, steps: usize) {
        for load in LOADS {
            assert!(!self.text.contains(load), "the page loads something: {load}");
        }
        for broken in ["NaN", "inf"] {
            let found = self.tags.iter().find(|tag| tag.contains(broken));
            assert_eq!(found, None);
        }
        let count = |name: &str| self.tags.iter().filter(|tag| *tag == name).count();
        assert_eq!((count("figure"), count("table"), count("details")), (6, steps, steps - 1));
        for (title, words) in [
            ("Throughput by threads", ["threads", "operations/s"]),
            ("Latency by percentile", ["percentile", "latency"]),
            ("Latency by threads", ["threads", "latency"]),
            ("Throughput over time", ["seconds since the start", "operations/s"]),
            ("Resident sessions over time", ["seconds since the start", "sessions"]),
            ("Sweep work over time", ["seconds since the start", "sessions/s"]),
        ] {
            let plot = self.plot(title);
            for word in words {
                assert!(plot.contains(&format!("\n{word}\n</text>")), "{title} says no {word}");
            }
            let (dots, lines) = (plot.matches("<circle ").count(), self.lines_of(title).len());
            assert!(dots + lines > 0, "{title} shows nothing");
        }
        // Every colour of a plot has another for the dark.
        let names = self.text.split("\"var(--").skip(1);
        for name in names.filter_map(|rest| rest.split([',', ')']).next()) {
            let settings = self.text.matches(&format!("--{name}: #")).count();
            assert_eq!(settings, 2, "{name}: one for the light, one for the dark");
        }
    }

    fn plot(&self, title: &str) -> &str {
        let start = format!("aria-label=\"{title}\"");
        let (_, plot) = self.text.split_once(&start).unwrap_or_else(|| panic!("no {title}"));
        plot.split_once("</svg>").unwrap().0
    }

    /// Returns the points of each line of a plot.
    pub(crate) fn lines_of(&self, title: &str) -> Vec<Vec<(i32, i32)>> {
        let point = |point: &str| {
            let (x, y) = point.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        let line = |element: &str| {
            let (_, points) = element.split_once("points=\"").unwrap();
            let (points, _) = points.split_once('"').unwrap();
            points.split_whitespace().map(point).collect()
        };
        let lines = self.plot(title).split("<polyline ").skip(1);
        // Axes and borders have colours of their own.
        lines.filter(|element| element.contains("stroke=\"var(--c")).map(line).collect()
    }

    /// Returns the settings with which the run can be repeated.
    pub(crate) fn command(&self) -> &str {
        let (_, rest) = self.text.split_once("--example contention -- ").unwrap();
        rest.split_once("</code>").unwrap().0
    }
}
