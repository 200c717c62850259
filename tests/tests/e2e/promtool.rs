//! promtool's query commands work against the bridge.

use std::process::Command;
use std::time::Duration;

use tests::{AgentPlan, Site, programs};

pub(super) fn promtool(args: &[&str]) -> Option<String> {
    let output = match Command::new("promtool").args(args).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: promtool is not installed ({error}); Debian has it in the package prometheus");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {text}{complaint}");
    Some(text)
}

#[test]
fn promtool_queries_instants_ranges_series_and_labels() {
    if promtool(&["--version"]).is_none() {
        return;
    }
    let site = Site::new(programs!());
    let plan = AgentPlan::new("promtool-1");
    site.issue(&plan);
    let _parts = (site.start_broker(), site.start_bridge(), site.start_agent(&plan));
    let api = site.api();
    site.wait_until("samples are stored", Duration::from_secs(30), || {
        api.query("oracle_value")
            .is_ok_and(|series| series.len() == plan.series as usize)
    });

    let ask = |args: &[&str]| promtool(args).expect("promtool was there a moment ago");
    let instant = ask(&["query", "instant", api.base(), "count(oracle_value)"]);
    assert!(instant.contains(&format!("=> {} @", plan.series)), "{instant}");
    let range = ask(&[
        "query",
        "range",
        "--step=1s",
        api.base(),
        "count by (device_id) (oracle_value)",
    ]);
    assert!(range.contains("{device_id=\"promtool-1\"} =>"), "{range}");
    let series = ask(&["query", "series", "--match=oracle_value{n=\"3\"}", api.base()]);
    assert!(
        series.contains("n=\"3\"") && series.contains("device_id=\"promtool-1\""),
        "{series}"
    );
    let labels = ask(&["query", "labels", api.base(), "n"]);
    assert!(labels.lines().count() >= plan.series as usize, "{labels}");
    for server in [site.api(), site.broker_api()] {
        check_metrics(&server.get("/metrics", &[]).unwrap().1);
    }
}

/// `promtool check metrics` finds nothing to complain about.
pub(super) fn check_metrics(text: &str) {
    use std::io::Write;
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{complaint}");
}
