//! Runs scripts in the format of Prometheus's promqltest against the engine.
//!
//! Runs every script in `tests/scripts`, and those of the folder that PROMQLTEST_DIR names, else of
//! `shared/promqltest/v3.5.3` beside the repository if it is there. Prints how many evals pass per file and, as the
//! last line, `total P of N` of that folder (of the own scripts without one); PROMQLTEST_FAILURES=1 lists what fails. Fails when a file passes fewer evals than
//! `tests/expected_passes.txt` says; that list is for the repository's own scripts and for version 3.5.3.
//!
//! With PROMQLTEST_PEER=1 a Prometheus 3.5 answers instead of this engine (`PROMETHEUS` names the program), which proves
//! the runner. Of native histograms its API does not show schema and hints, so those are not compared then. With
//! PROMQLTEST_PEER=compare both answer, and must agree in warnings, infos and errors. PROMQLTEST_RANDOM=20000 asks both so
//! many random queries of the seed PROMQL_SEED instead, whose values must agree as well.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod check;
mod engine;
mod fuzz;
mod histogram;
#[path = "../prometheus/json.rs"]
mod json;
mod outcome;
mod peer;
mod pinned;
#[path = "../prometheus/random.rs"]
mod random;
mod remote_write;
mod run;
mod script;
#[path = "../prometheus/server.rs"]
mod server;
mod storage;

use engine::{Both, Engine};
use peer::Peer;

use run::FileResult;
use storage::Storage;

/// Prefix of the repository's own scripts in the report.
const OWN: &str = "own/";
const MANIFEST_DIR: &str = env!("CARGO_MANIFEST_DIR");

/// Scripts of a folder, sorted by name.
fn scripts_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "test") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Lines of `expected_passes.txt`: a file's name and how many of its evals pass.
fn baseline() -> Vec<(String, usize)> {
    let path = Path::new(MANIFEST_DIR).join("tests/expected_passes.txt");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = |line: &str| {
        let (name, passes) = line.split_once(' ')?;
        Some((name.to_owned(), passes.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// One folder's results, files in order.
fn run_folder(folder: &Path, prefix: &str, engine: &mut Engine) -> Result<Vec<FileResult>, String> {
    let scripts = scripts_in(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    scripts
        .iter()
        .map(|path| run::run_file(path, prefix, engine))
        .collect()
}

fn run_all(out: &mut impl Write) -> Result<bool, String> {
    let own = Path::new(MANIFEST_DIR).join("tests/scripts");
    let peer = std::env::var("PROMQLTEST_PEER").ok();
    let against_peer = peer.is_some();
    let mut engine = match peer.map(|peer| (peer, server::program())) {
        None => Engine::Ours(Storage::default()),
        Some((peer, Ok(program))) if peer == "compare" => Engine::Both(Both::new(Peer::new(program))),
        Some((_, Ok(program))) => Engine::Peer(Peer::new(program)),
        Some((_, Err(reason))) => {
            return writeln!(out, "promqltest: skipped: {reason}")
                .map(|()| true)
                .map_err(|error| error.to_string());
        }
    };
    let mut results = run_folder(&own, OWN, &mut engine)?;
    let default = Path::new(MANIFEST_DIR).join("../../shared/promqltest/v3.5.3");
    let chosen = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    let with_baseline = chosen.is_none() && !against_peer;
    let folder = chosen.unwrap_or(default);
    let io = |error: std::io::Error| error.to_string();
    if folder.is_dir() {
        results.extend(run_folder(&folder, "", &mut engine)?);
    } else {
        writeln!(
            out,
            "promqltest: {} is not there; only the repository's own scripts run",
            folder.display()
        )
        .map_err(io)?;
    }
    let baseline = baseline();
    let list_failures = std::env::var_os("PROMQLTEST_FAILURES").is_some();
    let mut good = true;
    let in_folder = |result: &FileResult| !result.name.starts_with(OWN);
    let without_folder = !results.iter().any(in_folder);
    let (mut passed, mut total) = (0, 0);
    for result in &results {
        let expected = baseline
            .iter()
            .find(|(name, _)| *name == result.name)
            .map_or(0, |(_, passes)| *passes);
        let fell = result.passed < expected && !against_peer && (with_baseline || !in_folder(result));
        good &= !fell;
        if without_folder || in_folder(result) {
            (passed, total) = (passed + result.passed, total + result.total());
        }
        writeln!(out, "{}: {} of {}", result.name, result.passed, result.total()).map_err(io)?;
        if fell {
            writeln!(out, "  fell below the {expected} of tests/expected_passes.txt").map_err(io)?;
        }
        if fell || list_failures {
            for failure in &result.failures {
                writeln!(out, "  {failure}").map_err(io)?;
            }
        }
    }
    writeln!(out, "total {passed} of {total}").map_err(io)?;
    Ok(good)
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Random queries instead of scripts.
fn run_random(out: &mut impl Write, queries: u64) -> Result<bool, String> {
    let io = |error: std::io::Error| error.to_string();
    let program = match server::program() {
        Ok(program) => program,
        Err(reason) => {
            writeln!(out, "promqltest: skipped: {reason}").map_err(io)?;
            return Ok(true);
        }
    };
    let seed = number_from_env("PROMQL_SEED").unwrap_or(1);
    let mut both = Both::new(Peer::new(program));
    let queries = usize::try_from(queries).map_err(|error| error.to_string())?;
    let (good, report) = fuzz::run(&mut both, queries, seed)?;
    writeln!(out, "{report}").map_err(io)?;
    Ok(good)
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let ran = match number_from_env("PROMQLTEST_RANDOM") {
        Some(queries) => run_random(&mut out, queries),
        None => run_all(&mut out),
    };
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // A broken pipe leaves nothing to report to.
            let _ = writeln!(out, "promqltest: {error}");
            ExitCode::FAILURE
        }
    }
}
