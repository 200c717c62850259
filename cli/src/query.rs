//! `backhaul query`: an instant PromQL query as a table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::Table;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Answer, ApiArgs};
use crate::output::{self, Output};

/// Arguments of `backhaul query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// A PromQL expression
    expr: String,
    /// Evaluation time: unix seconds or RFC 3339 (default: now)
    #[arg(long)]
    time: Option<String>,
    /// Print the API's JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueryData {
    result_type: String,
    result: Value,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

/// Asks and prints.
pub(crate) async fn run(args: QueryArgs, out: &mut Output) -> Result<()> {
    let mut params = vec![("query", args.expr.as_str())];
    params.extend(args.time.as_deref().map(|time| ("time", time)));
    if args.json {
        let answer: Answer<Value> = args.api.get("query", &params).await?;
        return out.line(&answer.data.to_string());
    }
    let answer: Answer<QueryData> = args.api.get("query", &params).await?;
    for note in &answer.notes {
        out.note(note)?;
    }
    match answer.data.result_type.as_str() {
        "scalar" | "string" => {
            let (_, value): (f64, String) = serde_json::from_value(answer.data.result)?;
            out.line(&value)
        }
        "vector" | "matrix" => {
            let series: Vec<Series> = serde_json::from_value(answer.data.result)?;
            out.line(&table(&series).to_string())?;
            out.note(&format!("{} series", series.len()))
        }
        other => bail!("the API answered a {other}, which this version cannot print; try --json"),
    }
}

/// One column per label, the values last.
fn table(series: &[Series]) -> Table {
    let names: BTreeSet<&String> = series.iter().flat_map(|s| s.metric.keys()).collect();
    let mut table = output::table(names.iter().map(|n| n.as_str()).chain(["value"]));
    for one in series {
        let labels = names
            .iter()
            .map(|n| one.metric.get(*n).map_or("", String::as_str).to_owned());
        let value = match &one.value {
            Some((_, value)) => value.clone(),
            None => one
                .values
                .iter()
                .map(|(at, v)| format!("{v} @{at}"))
                .collect::<Vec<_>>()
                .join("\n"),
        };
        table.add_row(labels.chain([value]));
    }
    table
}
