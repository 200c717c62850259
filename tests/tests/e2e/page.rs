//! A node_exporter page, scraped by the daemon from its config file, comes back bit for bit from the query API.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tests::{AgentPlan, Site, programs};

/// Values and names that a page of a healthy host does not have.
const ODD: &str = r#"odd_value{kind="negative zero"} -0
odd_value{kind="infinity"} +Inf
odd_value{kind="minus infinity"} -Inf
odd_value{kind="not a number"} NaN
odd_value{kind="smallest"} 5e-324
odd_value{kind="largest"} 1.7976931348623157e+308
odd_value{kind="third"} 0.3333333333333333
odd_value{kind="escapes: \" \\ \n"} 1
odd_value{kind="überall 温度"} 2
odd_value{kind="its own id",device_id="x"} 3
odd_value{kind="its own job",job="y"} 4
"#;

/// The report series of a scrape.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

const PATIENCE: Duration = Duration::from_secs(60);

type LabelSet = BTreeMap<String, String>;

#[test]
fn a_node_exporter_page_comes_back_bit_for_bit() {
    let page = recorded_page() + ODD;
    let target = Target::serve(format!(
        "# HELP odd_value What hosts lack.\n# TYPE odd_value gauge\n{page}"
    ));
    let site = Site::new(programs!());
    let plan = AgentPlan::new("page-1");
    site.issue(&plan);
    let config = site.path().join("agent.yml");
    fs::write(&config, agent_yml(site.mqtt_port(), target.port)).unwrap();
    let _parts = (
        site.start_broker(),
        site.start_bridge(),
        site.start_daemon(&config),
    );
    let api = site.api();
    let query = |expr: &str| api.query(expr).unwrap_or_default();
    let up = "up{job=\"page\",device_id=\"page-1\"}";
    let mut found = BTreeMap::new();
    // Of one query: on a busy machine, the next scrape may take longer than it is allowed to.
    site.wait_until("the page is stored", PATIENCE, || {
        let series = query("{job=\"page\"}").into_iter();
        found = series
            .filter(|series| !REPORTS.contains(&series.metric["__name__"].as_str()))
            .map(|series| (series.metric, bits(series.samples[0].1)))
            .collect::<BTreeMap<LabelSet, u64>>();
        !found.is_empty()
    });

    let expected = expected(&page, &format!("page-1:{}", target.port));
    assert!(expected.len() > 400, "{} series on the page", expected.len());
    for (labels, value) in &expected {
        let got = found.get(labels);
        assert_eq!(
            got,
            Some(value),
            "{labels:?}: not {:?}",
            got.map(|bits| f64::from_bits(*bits))
        );
    }
    let unexpected: Vec<_> = found
        .keys()
        .filter(|labels| !expected.contains_key(*labels))
        .collect();
    assert_eq!(unexpected, Vec::<&LabelSet>::new());
    let scraped = api.number("max_over_time(scrape_samples_scraped{job=\"page\"}[5m])");
    assert_eq!(scraped, Ok(expected.len() as f64));
    site.wait_until("host metrics are beside it", PATIENCE, || {
        !query("node_load1{job=\"node\",instance=\"page-1\"}").is_empty()
    });

    let answer =
        |path: &str, params: &[(&str, &str)]| api.get(path, params).map(|(_, body)| body).unwrap_or_default();
    let odd = r#"{"odd_value":[{"type":"gauge","help":"What hosts lack.","unit":""}]}"#;
    site.wait_until("its metadata are told", PATIENCE, || {
        answer("/api/v1/metadata", &[("metric", "odd_value")]).contains(odd)
    });
    site.wait_until("they are told of the target", PATIENCE, || {
        let of_target = answer("/api/v1/targets/metadata", &[("match_target", "{job=\"page\"}")]);
        of_target.contains(r#""metric":"odd_value","type":"gauge""#)
    });
    let health = |word: &str| {
        let targets = answer("/api/v1/targets", &[("scrapePool", "page")]);
        targets.contains(&format!(r#""health":"{word}""#)) && targets.contains(r#""scrapeInterval":"1s""#)
    };
    // The interval is that of the last two scrapes, of which a busy machine may leave one out.
    site.wait_until("the target's health is told", PATIENCE, || health("up"));

    drop(target);
    site.wait_until("the target is down", PATIENCE, || api.number(up) == Ok(0.0));
    site.wait_until("its new health is told", PATIENCE, || health("down"));
    let left: Vec<_> = query("{job=\"page\"}")
        .into_iter()
        .map(|series| series.metric["__name__"].clone())
        .collect();
    assert!(
        left.iter().all(|name| REPORTS.contains(&name.as_str())),
        "stale at once, not after 5 m: {left:?}"
    );
    assert_eq!(left.len(), REPORTS.len());
}

fn agent_yml(mqtt: u16, target: u16) -> String {
    format!(
        "broker:\n  urls: [mqtts://127.0.0.1:{mqtt}]\n  tls_config:\n    ca_file: certs/ca.crt\n    \
         cert_file: certs/devices/default/page-1.crt\n    key_file: certs/devices/default/page-1.key\n\
         wal:\n  dir: agents/page-1\n\
         global:\n  scrape_interval: 1s\n\
         scrape_configs:\n  - job_name: page\n    static_configs:\n      - targets: [127.0.0.1:{target}]\n"
    )
}

/// The first of the recorded pages that the wire crate is tested with.
fn recorded_page() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/tests/pages");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let first = files
        .filter(|path| path.extension().is_some_and(|x| x == "gz"))
        .min()
        .unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(first).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// What the bridge must answer: the page's labels and job, instance, device_id; bits of the values.
fn expected(page: &str, instance: &str) -> BTreeMap<LabelSet, u64> {
    page.lines().map(|line| sample(line, instance)).collect()
}

fn sample(line: &str, instance: &str) -> (LabelSet, u64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, rest) = series.split_once('{').unwrap_or((series, "}"));
    let mut labels = LabelSet::from([("__name__".to_owned(), name.to_owned())]);
    let mut rest = rest.strip_suffix('}').unwrap();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let (value, after) = unquote(quoted);
        // What stands in the way of the agent's and the bridge's own labels is renamed.
        let name = match name.trim_start_matches(',') {
            own @ ("job" | "instance" | "device_id") => format!("exported_{own}"),
            free => free.to_owned(),
        };
        labels.insert(name, value);
        rest = after;
    }
    labels.retain(|_, value| !value.is_empty());
    for (name, value) in [("job", "page"), ("instance", instance), ("device_id", "page-1")] {
        labels.insert(name.to_owned(), value.to_owned());
    }
    (labels, bits(value.parse().unwrap()))
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let (mut text, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return (text, &quoted[at + 1..]),
            '\\' if !escaped => {}
            'n' if escaped => text.push('\n'),
            c => text.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("no closing quote in {quoted}");
}

/// JSON says only "NaN", whatever its payload.
fn bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}

/// An HTTP server with one page; when dropped, the target is gone.
struct Target {
    port: u16,
    gone: Arc<AtomicBool>,
}

impl Target {
    fn serve(page: String) -> Target {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let gone = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&gone);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                answer(client, &page);
            }
        });
        Target { port, gone }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Wakes the server, which then closes its socket.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(mut client: TcpStream, page: &str) {
    let request = BufReader::new(client.try_clone().unwrap());
    let lines = request
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty());
    if lines.count() > 0 {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
        // A client that is gone needs no answer.
        let _ = write!(client, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
    }
}
