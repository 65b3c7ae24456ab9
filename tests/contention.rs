//! The contention example, started with many settings, and its report, read as a browser reads it.

#[path = "example/mod.rs"]
mod example;
#[path = "contention/page.rs"]
mod page;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::process::Child;
use std::process::{Command, Output, Stdio};

use example::example;
use page::Page;

const PLOTS: [&str; 6] = [
    "Throughput by threads",
    "Latency by percentile",
    "Latency by threads",
    "Throughput over time",
    "Resident sessions over time",
    "Sweep work over time",
];

fn report(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("contention-{name}.html"));
    // Left over by a run before, or not there.
    let _ = fs::remove_file(&path);
    path
}

fn contention(name: &str, flags: &str) -> (Command, PathBuf) {
    let (mut command, report) = (example("contention"), report(name));
    command.args(flags.split_whitespace()).arg("--report").arg(&report);
    (command, report)
}

/// What a run has printed and written.
struct Run {
    stdout: String,
    stderr: String,
    page: Page,
}

fn run(name: &str, flags: &str) -> Run {
    let (mut command, report) = contention(name, flags);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(status.success(), "{flags}: {stderr}");
    Run { stdout, stderr, page: Page::parse(fs::read_to_string(report).unwrap()) }
}

impl Run {
    /// The operations that a line `12,345 operations in 0.100 s on 2 threads: ..` sums up.
    fn timed(&self) -> u64 {
        let line = self.stdout.lines().find(|line| line.contains(" operations in ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let (timed, seconds) = (number(words[0]), words[3].parse::<f64>().unwrap());
        let rate = line.split_once(": ").unwrap().1.strip_suffix(" operations/s").unwrap();
        let (rate, unit) = rate.split_once(' ').unwrap_or((rate, ""));
        let unit = ["", "k", "M", "G"].iter().position(|name| *name == unit).unwrap();
        let rate = rate.parse::<f64>().unwrap() * 1000_f64.powi(unit as i32);
        // As many digits as are printed.
        assert!((rate * seconds / timed as f64 - 1.0).abs() < 0.02, "{line}");
        timed
    }

    /// The rows of the table: a name, a count, and latencies in nanoseconds.
    fn rows(&self) -> Vec<(String, u64, Vec<f64>)> {
        let lines = self.stdout.lines().skip_while(|line| !line.starts_with("operation ")).skip(1);
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let latency = |pair: &[&str]| {
                let unit = ["ns", "µs", "ms", "s"].iter().position(|name| *name == pair[1]);
                pair[0].parse::<f64>().unwrap() * 1000_f64.powi(unit.unwrap() as i32)
            };
            let latencies = words[2..].chunks(2).map(latency).collect();
            (words[0].to_owned(), number(words[1]), latencies)
        };
        lines.take_while(|line| !line.is_empty()).map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.rows().into_iter().map(|(name, ..)| name).collect()
    }

    fn check(&self, steps: usize) {
        let rows = self.rows();
        assert!(self.timed() > 0);
        assert_eq!(rows.iter().map(|(_, count, _)| count).sum::<u64>(), self.timed());
        for (name, _, latencies) in &rows {
            assert_eq!(latencies.len(), 6, "{name}: five percentiles and the maximum");
            assert!(latencies.is_sorted() && latencies[0] > 0.0, "{name}: {latencies:?}");
        }
        self.page.check(steps);
        let line = self.stdout.lines().find(|line| line.starts_with(rows[0].0.as_str())).unwrap();
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        let in_page = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect::<String>();
        assert!(self.page.text.contains(&in_page), "{in_page}");
    }
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap()
}

#[test]
fn counts_add_up_and_every_plot_has_data() {
    let run = run("plain", "--duration 900ms --threads 3 --sessions 5000 --ttl 300ms --skew 0.5");
    run.check(3);
    assert_eq!(run.names(), ["load", "save", "create", "miss"]);
    for plot in PLOTS {
        let lines = run.page.lines_of(plot);
        assert!(!lines.is_empty(), "{plot}");
        for line in lines {
            assert!(line.len() >= 3, "{plot}: {line:?}");
        }
    }
    // Sessions live for 300 ms, so that many expire, and the sweep has work.
    for plot in ["Resident sessions over time", "Sweep work over time"] {
        let line = &run.page.lines_of(plot)[0];
        assert!(line.iter().any(|(_, y)| *y != line[0].1), "{plot} is flat");
    }
}

#[test]
fn every_kind_of_visit_is_in_the_table_with_its_name() {
    let mix = "load=1,save=1,update=1,touch=1,rotate=1,create=1,destroy=1";
    let run = run("mix", &format!("--duration 400ms --threads 2 --sessions 2000 --mix {mix}"));
    run.check(2);
    let all = ["load", "save", "update", "touch", "rotate", "create", "destroy", "miss"];
    assert_eq!(run.names(), all);
    assert_eq!(run.page.lines_of("Latency by percentile").len(), all.len());
}

#[test]
fn bound_buffered_ids_empty_payload_and_one_visitor_can_be_tested() {
    let bounded = "--duration 300ms --one-step --threads 4 --sessions 3000 --max-sessions 500 \
                   --shards 4 --ids buffered --mix create=1,load=1";
    let bounded = run("bounded", bounded);
    bounded.check(1);
    assert!(bounded.names().contains(&"miss".to_owned()), "{}", bounded.stdout);
    assert_eq!(bounded.page.lines_of("Sweep work over time").len(), 2, "evictions too");
    let alone = "--duration 200ms --one-step --threads 1 --sessions 1 --payload 0 --skew 5 \
                 --warm-up 0s --idle-timeout 1s --mix save=1";
    let alone = run("alone", alone);
    alone.check(1);
    let counts: Vec<u64> = alone.rows().into_iter().map(|(_, count, _)| count).collect();
    assert_eq!(alone.names()[..2], ["load", "save"]);
    assert!(counts[0] - counts[1] < 10, "each visit loads and saves: {counts:?}");
}

#[test]
fn progress_is_plain_where_nobody_watches_and_the_run_can_be_repeated_from_the_page() {
    let run = run("repeat", "--duration 1500ms --one-step --threads 2 --sessions 777 --shards 8");
    assert!(run.stderr.lines().count() >= 2, "{}", run.stderr);
    assert!(run.stderr.lines().all(|line| line.contains("operations/s")), "{}", run.stderr);
    assert!(!run.stderr.contains(['\x1b', '\r']), "{}", run.stderr);
    let command = run.page.command();
    assert!(command.contains("--sessions 777") && command.contains("--shards 8"), "{command}");
    let again = self::run("again", &command.replace("1500ms", "200ms"));
    assert_eq!(again.page.command(), command.replace("1500ms", "200ms"));
}

/// Flags, the one that is wrong, and what it must be.
const BAD: [(&str, &str, &str); 37] = [
    ("--threads 0", "--threads", "from 1 to 1024"),
    ("--threads -3", "--threads", "from 1 to 1024"),
    ("--threads many", "--threads", "from 1 to 1024"),
    ("--threads -x", "--threads", "from 1 to 1024"),
    ("--threads 1\n\n2", "--threads", "from 1 to 1024"),
    ("--threads\n\n2 1", "--threads", "--help"),
    ("--sessions -1", "--sessions", "from 1 to 1000000000"),
    ("--sessions 0", "--sessions", "from 1 to 1000000000"),
    ("--payload 1048577", "--payload", "from 0 to 1048576"),
    ("--skew -1", "--skew", "from 0 to 5"),
    ("--skew NaN", "--skew", "from 0 to 5"),
    ("--mix load=0", "--mix", "not all 0"),
    ("--mix -1", "--mix", "such as load=90,save=8,create=2"),
    ("--mix load", "--mix", "such as load=90,save=8,create=2"),
    ("--mix miss=1", "--mix", "such as load=90,save=8,create=2"),
    ("--mix load=99999999999", "--mix", "up to 1000000"),
    ("--ttl 0s", "--ttl", "more than zero"),
    ("--ttl soon", "--ttl", "such as 30m"),
    ("--ttl -1", "--ttl", "from 0 to 400d"),
    ("--ttl 401d", "--ttl", "from 0 to 400d"),
    ("--idle-timeout -1s", "--idle-timeout", "from 0 to 400d"),
    ("--ttl 1s --idle-timeout 2s", "--idle-timeout", "at most ttl, which is 1s"),
    ("--max-sessions 0", "--max-sessions", "from 1 to"),
    ("--shards 3", "--shards", "a power of two from 2 to 65536"),
    ("--shards 131072", "--shards", "a power of two from 2 to 65536"),
    ("--shards -2", "--shards", "a power of two from 2 to 65536"),
    ("--shards x", "--shards", "a power of two from 2 to 65536"),
    ("--shards 1.5", "--shards", "a power of two from 2 to 65536"),
    ("--shards 99999999999999999999", "--shards", "a power of two from 2 to 65536"),
    ("--ids dice", "--ids", "os or buffered"),
    ("--ids -1", "--ids", "os or buffered"),
    ("--duration -1s", "--duration", "from 0 to 400d"),
    ("--duration 18446744073709551615d", "--duration", "from 0 to 400d"),
    ("--warm-up -1", "--warm-up", "from 0 to 400d"),
    ("--warm-up 18446744073709551615d", "--warm-up", "from 0 to 400d"),
    ("--duration 399ms --threads 8", "--duration", "100ms for each of the 4 steps"),
    ("--duration 1s --thread 2", "--thread", "--help"),
];

#[test]
fn bad_setting_is_one_sentence_that_names_it_and_its_limit() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let unwritable = ("--report", "--report", "cannot be written");
    let huge = ("--sessions 1000000000 --payload 1048576", "--sessions", "MiB of free memory");
    // Only Linux says how much memory is free.
    let huge = cfg!(target_os = "linux").then_some(huge);
    for (flags, setting, limit) in BAD.into_iter().chain([unwritable]).chain(huge) {
        let mut command = example("contention");
        // At spaces alone: a value may have lines of its own.
        command.args(flags.split(' '));
        let report = report("bad");
        // A folder cannot be a report.
        if flags == "--report" {
            command.arg(folder);
        } else {
            command.arg("--report").arg(&report);
        }
        let output = command.output().unwrap();
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}: {sentence}");
        assert!(sentence.contains(setting) && sentence.contains(limit), "{flags}: {sentence}");
        assert!(sentence.starts_with("contention: ") && sentence.ends_with(".\n"), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        assert!(output.stdout.is_empty() && !report.exists(), "{flags}");
    }
}

#[test]
fn help_explains_every_setting() {
    let output = example("contention").arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    let flags = "threads one-step sessions payload mix skew ttl idle-timeout max-sessions shards ids \
                 duration warm-up report";
    for flag in flags.split_whitespace() {
        assert!(help.contains(&format!("--{flag}")), "{flag}: {help}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn report_that_cannot_be_written_after_all_is_named_with_its_flag() {
    let mut command = example("contention");
    command.args("--duration 100ms --one-step --threads 1 --sessions 10".split(' '));
    let output = command.args(["--report", "/dev/full"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let sentence = stderr.lines().last().unwrap();
    let told = "contention: --report /dev/full cannot be written (";
    assert!(sentence.starts_with(told) && sentence.ends_with(")."), "{stderr}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_before_anything_was_measured_leaves_no_report() {
    let (mut command, report) = contention("too-early", "--sessions 100 --warm-up 60s");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut stderr = String::new();
    progress.read_line(&mut stderr).unwrap();
    interrupt(&child);
    progress.read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{stderr}");
    assert!(stderr.ends_with("contention: ended before anything was measured.\n"), "{stderr}");
    assert!(!report.exists());
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_the_run_early_with_its_table_and_report() {
    let (mut command, report) = contention("ctrl-c", "--duration 60s --sessions 100 --warm-up 0s");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    progress.read_line(&mut line).unwrap();
    assert!(line.contains("operations/s"), "{line}");
    interrupt(&child);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    progress.read_to_string(&mut stderr).unwrap();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(child.wait().unwrap().success(), "{stderr}");
    assert!(stdout.contains("Ended early, by Ctrl-C."), "{stdout}");
    let run = Run { stdout, stderr, page: Page::parse(fs::read_to_string(report).unwrap()) };
    run.check(1);
    assert!(run.page.text.contains("Ended early, by Ctrl-C."));
}
