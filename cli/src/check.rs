//! `backhaul check rules`: rule files, with the output and exit codes of `promtool check rules`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use rules::{Group, duplicates};

use crate::output::Output;
use crate::rule_files::{RuleFileArgs, limited};

/// promtool's exit code where only lint found something and is to be heeded.
const LINT_EXIT_CODE: u8 = 3;

/// Arguments of `backhaul check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check rule files, or standard input if none is named
    Rules(RulesArgs),
}

#[derive(Debug, Args)]
struct RulesArgs {
    /// Rule files
    files: Vec<PathBuf>,
    /// What to look for beyond errors
    #[arg(long, value_enum, default_value = "duplicate-rules")]
    lint: Lint,
    /// Exit with code 3 if lint finds something
    #[arg(long)]
    lint_fatal: bool,
    #[command(flatten)]
    rule_files: RuleFileArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lint {
    All,
    DuplicateRules,
    None,
}

/// Checks and prints.
pub(crate) fn run(args: CheckArgs, out: &mut Output) -> Result<ExitCode> {
    let What::Rules(args) = args.what;
    let (mut has_errors, mut has_lint) = (false, false);
    let mut checks = Vec::new();
    if args.files.is_empty() {
        checks.push(("standard input".to_owned(), None));
    }
    checks.extend(
        args.files
            .iter()
            .map(|file| (file.display().to_string(), Some(file))),
    );
    for (name, file) in checks {
        out.line(&format!("Checking {name}"))?;
        let groups = match file {
            Some(file) => args.rule_files.read(file),
            None => match limited(std::io::stdin()) {
                Ok(text) => args.rule_files.parse(&text, "standard input"),
                Err(error) => Err(vec![format!("{error:#}")]),
            },
        };
        match groups {
            Err(errors) => {
                out.note("  FAILED:")?;
                errors.iter().try_for_each(|error| out.note(error))?;
                has_errors = true;
                continue;
            }
            Ok(groups) => match lint(&groups, args.lint) {
                Some(found) => {
                    out.note(&format!("  FAILED:\n{found}"))?;
                    has_lint = true;
                }
                None => {
                    let count: usize = groups.iter().map(|group| group.rules.len()).sum();
                    out.line(&format!("  SUCCESS: {count} rules found"))?;
                }
            },
        }
        out.line("")?;
    }
    Ok(match (has_errors, has_lint && args.lint_fatal) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(LINT_EXIT_CODE),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// What lint says, in promtool's words.
fn lint(groups: &[Group], lint: Lint) -> Option<String> {
    let found = duplicates(groups);
    if lint == Lint::None || found.is_empty() {
        return None;
    }
    let mut text = format!("lint error {} duplicate rule(s) found.\n", found.len());
    for duplicate in found {
        text.push_str(&format!("Metric: {}\nLabel(s):\n", duplicate.name));
        for (name, value) in duplicate.labels {
            text.push_str(&format!("\t{name}: {value}\n"));
        }
    }
    text.push_str("Might cause inconsistency while recording expressions");
    Some(text)
}
