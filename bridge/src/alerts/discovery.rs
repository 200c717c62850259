//! Which Alertmanagers there are: static ones, those of files and those of DNS.
//!
//! What a file or a name said last holds until it can be read again.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use reqwest::Url;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::Labels;

use super::config::{Cluster, Record, Targets};
use super::file::TargetGroup;
use crate::relabel::relabel;

/// Bytes of a file of targets.
const MAX_FILE: u64 = 1 << 20;

/// Files are looked at this often, however long their `refresh_interval` is, as Prometheus is told of changes.
const LOOK: Duration = Duration::from_secs(5);

/// What relabelling may change of a target, as Prometheus calls it.
const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__alerts_path__";

/// Where an Alertmanager takes alerts, below its prefix.
pub(crate) const ALERTS_PATH: &str = "/api/v2/alerts";

/// Alertmanagers of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// URLs that take alerts.
    pub(crate) active: BTreeSet<Url>,
    /// Those that relabelling dropped.
    pub(crate) dropped: BTreeSet<Url>,
}

impl Cluster {
    /// The URLs of some targets.
    pub(super) fn urls<'a>(&self, groups: impl IntoIterator<Item = &'a TargetGroup>) -> Found {
        let mut found = Found::default();
        let path = format!("/{}{ALERTS_PATH}", self.path_prefix.trim_matches('/'));
        let path = path.replacen("//", "/", 1);
        for group in groups {
            for address in &group.targets {
                let own = [(ADDRESS, &**address), (SCHEME, &*self.scheme), (PATH, &*path)];
                let given = group.labels.iter().map(|(name, value)| (&**name, &**value));
                let given = given.filter(|(name, _)| !own.iter().any(|(own, _)| own == name));
                let Ok(labels) = Labels::new(own.into_iter().chain(given)) else {
                    continue;
                };
                match relabel(&labels, &self.relabel) {
                    Some(labels) => found.active.extend(url_of(&labels)),
                    None => found.dropped.extend(url_of(&labels)),
                }
            }
        }
        found
    }
}

fn url_of(labels: &Labels) -> Option<Url> {
    let of = |name| labels.get(name).unwrap_or_default();
    let text = format!("{}://{}{}", of(SCHEME), of(ADDRESS), of(PATH));
    let url = Url::parse(&text);
    if url.is_err() {
        tracing::error!(url = text, "an Alertmanager that is no URL is left out");
    }
    url.ok()
}

/// Follows the targets of a cluster until `stop`.
pub(super) async fn follow(cluster: Arc<Cluster>, found: watch::Sender<Found>, stop: CancellationToken) {
    let mut groups: Vec<Vec<TargetGroup>> = vec![Vec::new(); cluster.targets.len()];
    let resolver = cluster
        .targets
        .iter()
        .any(|targets| matches!(targets, Targets::Dns { .. }))
        .then(resolver)
        .flatten();
    let mut waits = vec![Duration::ZERO; cluster.targets.len()];
    loop {
        for (n, targets) in cluster.targets.iter().enumerate() {
            if waits[n].is_zero() {
                if let Some(now) = look(targets, resolver.as_ref()).await {
                    groups[n] = now;
                }
                waits[n] = wait_of(targets);
            }
        }
        let now = cluster.urls(groups.iter().flatten());
        found.send_if_modified(|before| std::mem::replace(before, now.clone()) != now);
        let Some(wait) = waits.iter().min().copied().filter(|wait| *wait < Duration::MAX) else {
            return stop.cancelled().await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        for left in &mut waits {
            *left = left.saturating_sub(wait);
        }
    }
}

fn wait_of(targets: &Targets) -> Duration {
    match targets {
        Targets::Static(_) => Duration::MAX,
        Targets::Files { refresh, .. } => (*refresh).min(LOOK),
        Targets::Dns { refresh, .. } => *refresh,
    }
}

fn resolver() -> Option<TokioResolver> {
    let made = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    if let Err(error) = &made {
        tracing::error!(%error, "the system's DNS settings cannot be read; dns_sd_configs find nothing");
    }
    made.ok()
}

/// The targets of now; `None`: they could not be read.
async fn look(targets: &Targets, resolver: Option<&TokioResolver>) -> Option<Vec<TargetGroup>> {
    match targets {
        Targets::Static(group) => Some(vec![group.clone()]),
        Targets::Files { files, .. } => {
            let files = files.clone();
            let read = tokio::task::spawn_blocking(move || files.iter().map(|file| read(file)).collect());
            let groups: Option<Vec<Vec<TargetGroup>>> = read.await.ok()?;
            Some(groups?.into_iter().flatten().collect())
        }
        Targets::Dns {
            names, record, port, ..
        } => {
            let mut group = TargetGroup::default();
            for name in names {
                group.targets.extend(ask(resolver?, name, *record, *port).await?);
            }
            Some(vec![group])
        }
    }
}

fn read(file: &Path) -> Option<Vec<TargetGroup>> {
    let text = std::fs::File::open(file).and_then(|file| {
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(text)
    });
    // JSON is YAML.
    let groups = text
        .map_err(|error| error.to_string())
        .and_then(|text| serde_saphyr::from_str(&text).map_err(|error| error.to_string()));
    if let Err(error) = &groups {
        tracing::error!(file = %file.display(), error, "the Alertmanagers that it named before stay");
    }
    groups.ok()
}

async fn ask(resolver: &TokioResolver, name: &str, record: Record, port: u16) -> Option<Vec<String>> {
    let kind = match record {
        Record::Srv => RecordType::SRV,
        Record::A => RecordType::A,
        Record::Aaaa => RecordType::AAAA,
    };
    let answer = match resolver.lookup(name, kind).await {
        Ok(answer) => answer,
        Err(error) if error.is_no_records_found() => return Some(Vec::new()),
        Err(error) => {
            tracing::error!(name, %error, "the Alertmanagers that DNS named before stay");
            return None;
        }
    };
    let target = |data: &RData| match data {
        RData::SRV(srv) => {
            let host = srv.target.to_string();
            Some(format!("{}:{}", host.trim_end_matches('.'), srv.port))
        }
        RData::A(address) => Some(format!("{address}:{port}")),
        RData::AAAA(address) => Some(format!("[{address}]:{port}")),
        _ => None,
    };
    Some(
        answer
            .answers()
            .iter()
            .filter_map(|record| target(&record.data))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(json: &str) -> Cluster {
        let section = format!("{{\"alertmanagers\": [{json}]}}");
        let file: crate::AlertingFile = serde_json::from_str(&section).unwrap();
        file.check(Path::new("/")).unwrap().clusters.remove(0)
    }

    fn urls(cluster: &Cluster) -> Vec<String> {
        let groups = cluster.targets.iter().filter_map(|targets| match targets {
            Targets::Static(group) => Some(group),
            _ => None,
        });
        cluster.urls(groups).active.iter().map(Url::to_string).collect()
    }

    #[test]
    fn a_target_becomes_the_url_that_prometheus_posts_to() {
        let plain = cluster(r#"{"static_configs": [{"targets": ["a:9093", "[::1]:9093"]}]}"#);
        assert_eq!(
            urls(&plain),
            ["http://[::1]:9093/api/v2/alerts", "http://a:9093/api/v2/alerts"]
        );
        let prefixed =
            cluster(r#"{"scheme": "https", "path_prefix": "/am/", "static_configs": [{"targets": ["a"]}]}"#);
        assert_eq!(urls(&prefixed), ["https://a/am/api/v2/alerts"]);
        let relabelled = cluster(
            r#"{"static_configs": [{"targets": ["a:1", "b:1"], "labels": {"site": "x"}}],
                "relabel_configs": [
                    {"source_labels": ["__address__"], "regex": "b:.*", "action": "drop"},
                    {"source_labels": ["site"], "target_label": "__alerts_path__", "replacement": "/$1/api/v2/alerts"}]}"#,
        );
        assert_eq!(urls(&relabelled), ["http://a:1/x/api/v2/alerts"]);
    }

    #[tokio::test]
    async fn a_file_is_followed_and_what_it_said_holds_while_it_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("am.json");
        std::fs::write(&file, r#"[{"targets": ["a:1"]}]"#).unwrap();
        let sd = format!(
            r#"{{"file_sd_configs": [{{"files": [{:?}], "refresh_interval": "10ms"}}]}}"#,
            file.display().to_string()
        );
        let (found, mut seen) = watch::channel(Found::default());
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(Arc::new(cluster(&sd)), found, stop.clone()));
        let hosts = |found: &Found| {
            found
                .active
                .iter()
                .filter_map(|url| url.host_str().map(str::to_owned))
                .collect::<Vec<_>>()
        };
        seen.wait_for(|found| hosts(found) == ["a"]).await.unwrap();
        std::fs::write(&file, "no list").unwrap();
        std::fs::write(&file, "- targets: ['b:1', 'c:1']\n").unwrap();
        seen.wait_for(|found| hosts(found) == ["b", "c"]).await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }
}
