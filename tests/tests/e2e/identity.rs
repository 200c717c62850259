//! Who is let in, and what a device may do there: whole processes, real certificates. What a stranger or a trespasser
//! does reaches nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::{Authority, CA_DAYS, ClientFiles, DEVICE_DAYS, IssuedPem, client_config};
use rumqttc::{AsyncClient, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tests::site::now;
use tests::{AgentPlan, Part, Site, programs};

const DAY: Duration = Duration::from_secs(86_400);

/// A site with one device that delivers and must not notice anything.
struct Watched {
    // First, so that nothing writes into the site's folder any more when that is removed.
    _parts: [Part; 3],
    site: Site,
    neighbour: AgentPlan,
}

impl Watched {
    fn new() -> Watched {
        let site = Site::new(programs!());
        let neighbour = AgentPlan::new("neighbour");
        site.issue(&neighbour);
        let parts = [
            site.start_broker(),
            site.start_bridge(),
            site.start_agent(&neighbour),
        ];
        let watched = Watched {
            site,
            neighbour,
            _parts: parts,
        };
        watched.wait_until_delivers(&watched.neighbour);
        watched
    }

    fn wait_until_delivers(&self, plan: &AgentPlan) {
        let acked = self.site.status(&plan.name()).acked;
        self.site
            .wait_until(&format!("{} delivers", plan.id), Duration::from_secs(30), || {
                self.site.status(&plan.name()).acked > acked
            });
    }

    fn metric(&self, series: &str) -> f64 {
        self.site.broker_api().metric(series).unwrap()
    }

    fn refused(&self, reason: &str) -> f64 {
        self.metric(&format!(
            "backhaul_broker_connections_refused_total{{reason=\"{reason}\"}}"
        ))
    }

    fn closed(&self, reason: &str) -> f64 {
        self.metric(&format!(
            "backhaul_broker_connections_closed_total{{reason=\"{reason}\"}}"
        ))
    }

    /// Puts a certificate where the test agent looks for it.
    fn install(&self, plan: &AgentPlan, issued: &IssuedPem) {
        let stem = self.site.certs().path().join("devices/default").join(&plan.id);
        std::fs::write(stem.with_extension("crt"), &issued.cert_pem).unwrap();
        std::fs::write(stem.with_extension("key"), &issued.key_pem).unwrap();
    }

    /// Starts an agent that must not get in.
    fn assert_refused(&self, plan: &AgentPlan, reason: &str) {
        let before = self.refused(reason);
        let _agent = self.site.start_agent(plan);
        self.site.wait_until(
            &format!("{} is refused twice: {reason}", plan.id),
            Duration::from_secs(30),
            || self.refused(reason) >= before + 2.0,
        );
        let status = self.site.status(&plan.name());
        assert!(
            !status.connected && status.acked == 0,
            "{} got in: {status:?}",
            plan.id
        );
        assert!(
            self.site.api().device(&plan.id).is_err(),
            "the bridge heard of {}",
            plan.id
        );
    }

    /// The neighbour still delivers, over its first connection.
    fn assert_undisturbed(&self) {
        self.wait_until_delivers(&self.neighbour);
        for reason in ["gone", "io", "taken_over", "credit", "keep_alive"] {
            assert_eq!(self.closed(reason), 0.0, "a connection was lost: {reason}");
        }
    }
}

#[test]
fn a_device_is_refused_whose_certificate_is_revoked_foreign_expired_or_missing() {
    let watched = Watched::new();
    let site = &watched.site;
    let own = site.certs().authority().unwrap();

    let revoked = AgentPlan::new("revoked");
    site.issue(&revoked);
    let reloads = || watched.metric("backhaul_broker_tls_reloads_total{result=\"replaced\"}");
    let before = reloads();
    site.certs().revoke("default.revoked", now()).unwrap();
    site.wait_until("the CRL is read", Duration::from_secs(30), || reloads() > before);
    watched.assert_refused(&revoked, "revoked");

    let foreign = AgentPlan::new("foreign");
    let other = Authority::create(CA_DAYS, now()).unwrap();
    watched.install(
        &foreign,
        &other.issue_device(&foreign.name(), DEVICE_DAYS, now()).unwrap(),
    );
    watched.assert_refused(&foreign, "foreign_certificate");

    let expired = AgentPlan::new("expired");
    let long_ago = now().minus(DAY * 110);
    watched.install(
        &expired,
        &own.issue_device(&expired.name(), 10, long_ago).unwrap(),
    );
    watched.assert_refused(&expired, "expired");

    let before = watched.refused("no_certificate");
    let ca = CertificateDer::from_pem_file(site.certs().path().join("ca.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let nobody = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let nobody = Arc::new(nobody.with_root_certificates(roots).with_no_client_auth());
    let outcome = trespass(site, "default.nobody", nobody, Trespass::None);
    assert!(
        outcome.is_some_and(|took| took < Duration::from_secs(10)),
        "a peer without a certificate stayed"
    );
    // The broker counts it once the peer has heard.
    site.wait_until("it is counted", Duration::from_secs(30), || {
        watched.refused("no_certificate") > before
    });

    watched.assert_undisturbed();
}

#[test]
fn a_parked_vehicle_whose_certificate_ran_out_lately_still_delivers() {
    let watched = Watched::new();
    let parked = AgentPlan::new("parked");
    let then = now().minus(DAY * 15);
    let authority = watched.site.certs().authority().unwrap();
    watched.install(
        &parked,
        &authority.issue_device(&parked.name(), 10, then).unwrap(),
    );
    let _agent = watched.site.start_agent(&parked);
    watched.wait_until_delivers(&parked);
    assert_eq!(
        watched.metric("backhaul_broker_expired_certificate_connections"),
        1.0
    );
}

#[test]
fn a_revoked_device_is_cut_off_within_a_second() {
    let watched = Watched::new();
    let stolen = AgentPlan::new("stolen");
    watched.site.issue(&stolen);
    let _agent = watched.site.start_agent(&stolen);
    watched.wait_until_delivers(&stolen);

    watched.site.certs().revoke("default.stolen", now()).unwrap();
    let (revoked, mut looks) = (Instant::now(), 0);
    watched
        .site
        .wait_until("the live session is cut", Duration::from_secs(30), || {
            looks += 1;
            watched.closed("revoked") == 1.0
        });
    let took = revoked.elapsed();
    println!("cut off {took:?} after the CRL was there");
    // One every 50 ms and as long as the broker takes to answer: a second is longer on a busy machine.
    assert!(looks <= 20, "it took {took:?} and {looks} looks");
    watched
        .site
        .wait_until("it does not get in again", Duration::from_secs(20), || {
            watched.refused("revoked") >= 2.0
        });
    assert!(!watched.site.status(&stolen.name()).connected);
    watched.assert_undisturbed();
}

#[test]
fn a_device_outside_its_own_topics_is_cut_off_and_counted() {
    let watched = Watched::new();
    let site = &watched.site;
    let rogue = AgentPlan::new("rogue");
    site.issue(&rogue);
    let tls = client_config(&ClientFiles::in_folder(
        site.certs().path(),
        "devices/default/rogue",
    ))
    .unwrap();
    let neighbour = watched.neighbour.name();
    let shard = format!("{:02x}", neighbour.shard());
    let trespasses = [
        (
            "publish_acl",
            Trespass::Publish(format!("bh/1/{neighbour}/batch/{shard}")),
        ),
        ("publish_acl", Trespass::Publish("somewhere/else".to_owned())),
        (
            "subscribe_acl",
            Trespass::Subscribe(format!("bh/1/{neighbour}/ack")),
        ),
        ("subscribe_acl", Trespass::Subscribe("#".to_owned())),
        (
            "will_acl",
            Trespass::Will(format!("bh/1/{neighbour}/state/{shard}")),
        ),
        ("client_id", Trespass::None),
    ];
    for (reason, trespass_as) in trespasses {
        let count = || watched.closed(reason) + watched.refused(reason);
        let before = count();
        let what = format!("{trespass_as:?}");
        let id = if reason == "client_id" {
            neighbour.to_string()
        } else {
            rogue.name().to_string()
        };
        let outcome = trespass(site, &id, Arc::clone(&tls), trespass_as);
        assert!(outcome.is_some(), "{what} was let pass");
        assert_eq!(count(), before + 1.0, "{what} is counted as {reason}");
    }
    watched.assert_undisturbed();
}

/// What a client tries.
#[derive(Debug)]
enum Trespass {
    Publish(String),
    Subscribe(String),
    Will(String),
    None,
}

/// Connects, tries it, and returns after which time the broker ended the connection; `None`: it did not, for 10 s.
fn trespass(site: &Site, client_id: &str, tls: Arc<ClientConfig>, what: Trespass) -> Option<Duration> {
    let mut options = MqttOptions::new(client_id, "127.0.0.1", site.mqtt_port());
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    if let Trespass::Will(topic) = &what {
        options.set_last_will(rumqttc::LastWill::new(topic, "gone", QoS::AtLeastOnce, true));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, mut events) = AsyncClient::new(options, 10);
        match what {
            Trespass::Publish(topic) => client.publish(topic, QoS::AtLeastOnce, false, "x").await.unwrap(),
            Trespass::Subscribe(filter) => client.subscribe(filter, QoS::AtMostOnce).await.unwrap(),
            Trespass::Will(_) | Trespass::None => {}
        }
        let start = Instant::now();
        let ended = async { while events.poll().await.is_ok() {} };
        let in_time = tokio::time::timeout(Duration::from_secs(10), ended).await;
        in_time.ok().map(|()| start.elapsed())
    })
}
