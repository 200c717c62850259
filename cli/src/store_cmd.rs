//! `backhaul store`: a store's folder while nobody serves it.

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use store::{Report, Step, Wanted};
use wire::Tenant;

use crate::output::Output;

/// Arguments of `backhaul store`.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Read everything and say what is damaged; changes nothing, and ends with 1 if something is
    Check(CheckArgs),
    /// Write a tenant's samples as OpenMetrics text, for promtool tsdb create-blocks-from openmetrics and others
    Dump(DumpArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Folder of the store (or DIR of serve): data/ or a snapshot
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct DumpArgs {
    /// Folder of the store (or DIR of serve): data/ or a snapshot
    dir: PathBuf,
    /// Whose samples
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// A PromQL selector, as up{job="node"} [default: every series]
    #[arg(long = "match")]
    selector: Option<String>,
    /// The first time, unix seconds or RFC 3339 [default: the oldest]
    #[arg(long)]
    start: Option<String>,
    /// The last time [default: the newest]
    #[arg(long)]
    end: Option<String>,
}

/// Runs a subcommand.
pub(crate) fn run(args: StoreArgs, out: &mut Output) -> Result<()> {
    match args.command {
        StoreCommand::Check(args) => check(&args, out),
        StoreCommand::Dump(args) => dump(args, out),
    }
}

fn check(args: &CheckArgs, out: &mut Output) -> Result<()> {
    let dir = folder(&args.dir);
    let mut bar = Bar::new(out.is_watched());
    let report = store::check(&dir, &mut |step| match step {
        Step::Journal(step) => bar.show("journal files", step.files as u64, step.files_total as u64),
        Step::Blocks(done, total) => bar.show("bytes of blocks", done, total),
        Step::Devices(done, total) => bar.show("devices read back", done as u64, total as u64),
    })?;
    drop(bar);
    for line in lines(&report) {
        out.line(&line)?;
    }
    match report.damage.len() {
        0 => Ok(()),
        1 => bail!("{}: damaged", dir.display()),
        several => bail!("{}: damaged in {several} places", dir.display()),
    }
}

fn lines(report: &Report) -> Vec<String> {
    let counts = [
        ("partitions", report.partitions as u64),
        ("blocks", report.blocks as u64),
        ("samples in sound blocks", report.block_samples),
        ("journal files", report.journal_files as u64),
        ("dictionaries", report.dictionaries as u64),
        ("devices", report.devices as u64),
        ("samples found", report.samples),
        ("results of rules found", report.results),
    ];
    let counts = counts.iter().map(|(what, count)| format!("{what}: {count}"));
    let left = report.leftovers.iter();
    let left = left.map(|path| format!("left over, harmless: {}", path.display()));
    let damage = report.damage.iter();
    let damage = damage.map(|damage| format!("damaged: {}: {}", damage.path.display(), damage.what));
    let mut lines: Vec<String> = counts.chain(left).chain(damage).collect();
    if report.damage.is_empty() {
        lines.push("sound: checksums, order, counts, catalogs, and the equation of every device".to_owned());
    }
    lines
}

fn dump(args: DumpArgs, out: &mut Output) -> Result<()> {
    let time = |text: Option<String>, default| match text {
        Some(text) => bridge::parse_time(&text).map_err(|reason| anyhow!("{text:?} is no time: {reason}")),
        None => Ok(default),
    };
    let wanted = Wanted {
        tenant: args.tenant,
        matchers: match &args.selector {
            Some(text) => {
                bridge::parse_selector(text).map_err(|reason| anyhow!("--match {text}: {reason}"))?
            }
            None => Vec::new(),
        },
        start_ms: time(args.start, i64::MIN)?,
        end_ms: time(args.end, i64::MAX)?,
    };
    let watched = out.is_watched();
    let (mut opening, mut writing) = (Bar::new(watched), Bar::new(watched));
    let dumped = store::dump(
        &folder(&args.dir),
        &wanted,
        &mut BufWriter::new(std::io::stdout().lock()),
        &mut |step| opening.show("journal files", step.files as u64, step.files_total as u64),
        &mut |done, total| writing.show("metrics", done as u64, total as u64),
    )?;
    drop((opening, writing));
    out.note(&format!("{} samples of {} series", dumped.samples, dumped.series))?;
    for (count, what) in [
        (dumped.stale, "stale markers, which the text has no place for"),
        (
            dumped.histograms,
            "native histograms, which the text has no place for",
        ),
        (dumped.nameless, "series without a metric name"),
    ] {
        if count > 0 {
            out.note(&format!("left out: {count} {what}"))?;
        }
    }
    Ok(())
}

/// The store's folder: the one that is named, or `data` in it.
fn folder(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    match !dir.join("journal").is_dir() && data.join("journal").is_dir() {
        true => data,
        false => dir.to_owned(),
    }
}

/// A bar for a person, of one thing after the other, once it takes long enough to be read.
struct Bar {
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Bar {
    fn new(watched: bool) -> Self {
        let bar = watched.then(|| {
            let bar = ProgressBar::hidden();
            if let Ok(style) = ProgressStyle::with_template("{msg}: {human_pos} of {human_len} {wide_bar}") {
                bar.set_style(style);
            }
            bar
        });
        Bar {
            bar,
            begun: Instant::now(),
        }
    }

    fn show(&mut self, what: &'static str, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if bar.is_hidden() && self.begun.elapsed() > Duration::from_millis(300) {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.set_message(what);
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_ends_well_exactly_if_nothing_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let args = CheckArgs {
            dir: dir.path().to_owned(),
        };
        let mut out = Output::new();
        let error = check(&args, &mut out).unwrap_err().to_string();
        assert!(error.contains("no journal"), "{error}");
        let data = dir.path().join("data");
        drop(store::Store::open(&data, store::Config::default(), &mut |_| {}).unwrap());
        check(&args, &mut out).unwrap();
        assert_eq!(folder(&data), data);
        std::fs::write(data.join("dict.redb"), [7; 10_000]).unwrap();
        let error = check(&args, &mut out).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
        let report = store::check(&data, &mut |_| {}).unwrap();
        let lines = lines(&report);
        let damaged = lines.iter().find(|line| line.starts_with("damaged: ")).unwrap();
        assert!(damaged.contains("dict.redb"), "{damaged}");
    }
}
