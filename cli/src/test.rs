//! `backhaul test rules`: unit tests of rules, with the format, output and exit codes of `promtool test rules`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use glob::MatchOptions;
use regex::Regex;
use rules::Group;
use rules::unit_test::{TestOptions, UnitTests};

use crate::output::Output;
use crate::rule_files::{RuleFileArgs, read};

/// Arguments of `backhaul test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run unit tests of rules
    Rules(RulesArgs),
}

#[derive(Debug, Args)]
struct RulesArgs {
    /// Unit-test files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Run only tests whose names this pattern matches; may be given several times
    #[arg(long, value_name = "PATTERN")]
    run: Vec<String>,
    #[command(flatten)]
    rule_files: RuleFileArgs,
}

/// Tests and prints.
pub(crate) fn run(args: TestArgs, out: &mut Output) -> Result<ExitCode> {
    let What::Rules(args) = args.what;
    let pattern = args.run.join("|");
    let selected = Regex::new(&pattern).with_context(|| format!("--run: {pattern:?} is no pattern"))?;
    let mut has_failed = false;
    for file in &args.files {
        let failures = test(file, &args, &selected, out)?;
        match failures.is_empty() {
            true => out.line("  SUCCESS")?,
            false => {
                has_failed = true;
                out.note("  FAILED:")?;
                for failure in failures {
                    out.note(&failure)?;
                    out.line("")?;
                }
            }
        }
        out.line("")?;
    }
    Ok(match has_failed {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// What fails in a file.
fn test(file: &Path, args: &RulesArgs, selected: &Regex, out: &mut Output) -> Result<Vec<String>> {
    let tests = read(file).map_err(|error| format!("{error:#}")).and_then(|text| {
        let tests = UnitTests::parse(&text, &file.display().to_string());
        tests.map_err(|error| error.to_string())
    });
    let tests = match tests {
        Ok(tests) => tests,
        Err(error) => return Ok(vec![error]),
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut groups: Vec<Group> = Vec::new();
    for pattern in &tests.rule_files {
        let found = match matching(folder, pattern) {
            Ok(found) => found,
            Err(error) => return Ok(vec![format!("{error:#}")]),
        };
        if found.is_empty() {
            let shown = folder.join(pattern);
            out.note(&format!("  WARNING: no file match pattern {}", shown.display()))?;
        }
        for rule_file in found {
            match args.rule_files.read(&rule_file) {
                Ok(more) => groups.extend(more),
                Err(errors) => return Ok(errors),
            }
        }
    }
    let options = TestOptions {
        features: args.rule_files.features(),
    };
    Ok(tests.run(&groups, &options, |name| selected.is_match(name)))
}

/// The files of a pattern, in order of names; relative ones are those of the folder.
fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let full = folder.join(pattern);
    let text = full
        .to_str()
        .with_context(|| format!("{} is not UTF-8", full.display()))?;
    let options = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    let found = glob::glob_with(text, options).with_context(|| format!("rule_files: {text}"))?;
    let files = found.collect::<Result<Vec<_>, _>>();
    files.with_context(|| format!("rule_files: {text}"))
}
