//! Parser and printers against a running Prometheus 3.5, byte for byte: what is accepted, the words of a refusal, the
//! tree of `parse_query`, the text of `format_query`. Without the program there is nothing to compare with, which is
//! said.
//!
//! `PROMETHEUS` names the program; PROMQL_MUTATIONS (2,000) says how many changed expressions are tried, and PROMQL_SEED
//! which.

use promql::{Expr, Matrix, ParseOptions, parse_with};

mod corpus;
#[expect(dead_code, reason = "promqltest needs more of it")]
mod json;
mod random;
mod server;

use random::Random;
use server::Server;

/// What Prometheus says of a query.
struct Peer {
    tree: Result<String, String>,
    formatted: Result<String, String>,
}

/// `data` as it stands, or the error without the parameter that it names.
fn outcome(answer: &str) -> Result<String, String> {
    if let Some(data) = answer.strip_prefix(r#"{"status":"success","data":"#) {
        return Ok(data.strip_suffix('}').unwrap_or(data).to_owned());
    }
    let error = json::parse(answer).and_then(|answer| Some(answer.field("error")?.text()?.to_owned()));
    let error = error.unwrap_or_else(|| format!("no answer: {answer}"));
    Err(error
        .strip_prefix("invalid parameter \"query\": ")
        .unwrap_or(&error)
        .to_owned())
}

impl Peer {
    fn ask(server: &Server, query: &str) -> Result<Self, String> {
        let form = [("query", query)];
        let formatted = outcome(&server.post("format_query", &form)?);
        let text = |data: String| Some(json::parse(&data)?.text()?.to_owned());
        let formatted = formatted.map(|data| text(data).unwrap_or_default());
        Ok(Self {
            tree: outcome(&server.post("parse_query", &form)?),
            formatted,
        })
    }
}

/// Differences of trees that docs/promql.md explains.
fn is_explained(query: &str, ours: &Result<String, String>, theirs: &Result<String, String>) -> bool {
    match (ours, theirs) {
        // It panics there.
        (_, Err(theirs)) if theirs == "unexpected error" => true,
        (Err(ours), _) => {
            let ours_alone = ["label matching needs UTF-8", "limit of", "more than 256 regular"];
            ours_alone.iter().any(|words| ours.contains(words))
                || (query.contains("offset") && ours.ends_with("duration out of range"))
        }
        _ => false,
    }
}

/// The tree of a query without regard to the order of matchers.
fn meaning(query: &str) -> Option<String> {
    let plan = parse_with(query, ParseOptions::ALL).ok()?;
    let mut expr = plan.expr().clone();
    sort_matchers(&mut expr);
    Some(promql::parse_tree_json(&plan.with_expr(expr)))
}

fn sort_matchers(expr: &mut Expr) {
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Selector(selector) | Expr::Matrix(Matrix { selector, .. }) => {
            selector.matchers.sort_by_key(ToString::to_string);
        }
        Expr::Subquery(subquery) => sort_matchers(&mut subquery.expr),
        Expr::Unary(unary) => sort_matchers(&mut unary.expr),
        Expr::Paren(paren) => sort_matchers(&mut paren.expr),
        Expr::Binary(binary) => [&mut binary.lhs, &mut binary.rhs]
            .into_iter()
            .for_each(sort_matchers),
        Expr::Aggregate(aggregate) => {
            sort_matchers(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(sort_matchers);
        }
        Expr::Call(call) => call.args.iter_mut().for_each(sort_matchers),
    }
}

/// Whether a printed query does not mean what was given, which is so with some that Prometheus prints.
fn changes_meaning(query: &str, printed: &str) -> bool {
    meaning(query) != meaning(printed)
}

/// A line per difference.
fn compare(server: &Server, options: ParseOptions, query: &str) -> Result<Option<String>, String> {
    let ours = parse_with(query, options).map_err(|error| error.to_string());
    let theirs = Peer::ask(server, query)?;
    let tree = ours.as_ref().map(promql::parse_tree_json).map_err(Clone::clone);
    let formatted = ours.as_ref().map(promql::format).map_err(Clone::clone);
    let difference = |what: &str, ours: &Result<String, String>, theirs: &Result<String, String>| {
        format!("{query:?}: {what}\n    ours   {ours:?}\n    theirs {theirs:?}")
    };
    if tree != theirs.tree {
        let explained = is_explained(query, &tree, &theirs.tree);
        return Ok((!explained).then(|| difference("tree", &tree, &theirs.tree)));
    }
    let (Ok(ours), Ok(text)) = (&formatted, &theirs.formatted) else {
        let same = formatted == theirs.formatted;
        return Ok((!same).then(|| difference("format", &formatted, &theirs.formatted)));
    };
    // A length below 1 ms is lost; Prometheus prints 0s for it.
    if text.contains("offset 0s") || text.contains("offset -0s") {
        return Ok(None);
    }
    if ours != text && changes_meaning(query, ours) {
        return Ok(Some(format!("{query:?}: {ours:?} means something else")));
    }
    if ours != text && !changes_meaning(query, text) {
        return Ok(Some(difference("format", &formatted, &theirs.formatted)));
    }
    Ok(None)
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// All expressions and changed ones, with these features of Prometheus.
fn compare_all(features: &str, options: ParseOptions) -> Result<String, String> {
    let program = match server::program() {
        Ok(program) => program,
        Err(reason) => return Ok(format!("skipped: {reason}")),
    };
    let server = Server::start(&program, features)?;
    let mut queries = corpus::expressions();
    let seed = number_from_env("PROMQL_SEED", 1);
    let mutations = number_from_env("PROMQL_MUTATIONS", 2000);
    let mut random = Random::new(seed);
    let plain = queries.len();
    for _ in 0..mutations {
        let (one, other) = (random.below(plain), random.below(plain));
        let changed = corpus::mutated(&queries[one], &queries[other], &mut random);
        queries.push(changed);
    }
    let mut differences = Vec::new();
    for query in &queries {
        differences.extend(compare(&server, options, query)?);
    }
    let (all, differ) = (queries.len(), differences.len());
    let summary = format!("{all} expressions ({mutations} of them changed, seed {seed}): {differ} differ");
    assert!(differences.is_empty(), "{summary}\n{}", differences.join("\n"));
    Ok(summary)
}

#[test]
fn queries_are_read_and_printed_as_by_prometheus() -> Result<(), String> {
    println!("{}", compare_all(server::FEATURES, ParseOptions::ALL)?);
    Ok(())
}

#[test]
fn what_is_experimental_is_refused_as_by_prometheus() -> Result<(), String> {
    println!("{}", compare_all("", ParseOptions::default())?);
    Ok(())
}
