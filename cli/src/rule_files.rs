//! Rule files and their unit tests on disk, for commands that look them over.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use promql::Features;
use rules::{FileOptions, Group, MAX_FILE_BYTES};

/// What rule files may use.
#[derive(Debug, Args)]
pub(crate) struct RuleFileArgs {
    /// Features of PromQL to enable, with commas between them, as Prometheus names them
    #[arg(long, value_name = "FEATURES", default_value = "")]
    enable_feature: Features,
    /// Allow keys that only the bridge's rule files have (wait_for)
    #[arg(long)]
    extensions: bool,
}

impl RuleFileArgs {
    /// The enabled features.
    pub(crate) fn features(&self) -> Features {
        self.enable_feature
    }

    /// The groups of a text, or all that is wrong with it.
    pub(crate) fn parse(&self, text: &str, file: &str) -> Result<Vec<Group>, Vec<String>> {
        let options = FileOptions {
            extensions: self.extensions,
            promql: self.enable_feature.parse,
        };
        let groups = rules::parse(text, file, &options);
        groups.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    /// The groups of a file, or all that is wrong with it.
    pub(crate) fn read(&self, file: &Path) -> Result<Vec<Group>, Vec<String>> {
        let text = read(file).map_err(|error| vec![format!("{error:#}")])?;
        self.parse(&text, &file.display().to_string())
    }
}

/// A file's text, no longer than a rule file may be.
pub(crate) fn read(file: &Path) -> Result<String> {
    let opened = File::open(file).with_context(|| file.display().to_string())?;
    limited(opened).with_context(|| file.display().to_string())
}

/// A text, no longer than a rule file may be.
pub(crate) fn limited(from: impl Read) -> Result<String> {
    let most = MAX_FILE_BYTES as u64;
    let mut text = String::new();
    let bytes = from.take(most + 1).read_to_string(&mut text)?;
    if bytes as u64 > most {
        bail!("it is longer than {most} bytes, which is the most that is read; split it");
    }
    Ok(text)
}
