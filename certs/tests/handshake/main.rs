//! Real handshakes over TCP: who gets in, and who does not.

#[cfg(test)]
mod own_ca;
#[cfg(test)]
mod site;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use certs::{
    CertsFolder, ClientFiles, Refusal, Reload, RevocationFault, ServerFiles, ServerOptions, ServerTls,
    ServerTlsSource, Standing, TlsError, client_config, own_certificate,
};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

use crate::site::{DAY, Refused, Site, assert_refused, connect, connect_to, now};

#[test]
fn a_device_is_let_in_under_its_name_and_resumes() {
    let site = Site::new();
    let (server, client) = (site.server(), site.device("acme.gw-1"));
    let first = connect(&server, &client).unwrap();
    assert_eq!(first.peer.identity().uri(), "spiffe://backhaul/acme/device/gw-1");
    assert_eq!((first.standing, first.resumed), (Standing::Valid, false));
    let second = connect(&server, &client).unwrap();
    assert!(second.resumed);
    assert_eq!(second.peer, first.peer);
}

#[test]
fn bridge_and_operator_are_let_in() {
    let site = Site::new();
    for name in ["bridge", "operator"] {
        let client = client_config(&ClientFiles::in_folder(site.certs(), name)).unwrap();
        let peer = connect(&site.server(), &client).unwrap().peer;
        assert_eq!(
            peer,
            own_certificate(&ClientFiles::in_folder(site.certs(), name)).unwrap()
        );
        assert_eq!(peer.identity().name().to_string(), format!("_backhaul.{name}"));
        assert_eq!(peer.identity().role().as_str(), name);
    }
}

#[test]
fn the_server_is_reached_by_its_addresses_and_names() {
    let dir = TempDir::new().unwrap();
    let folder = CertsFolder::new(dir.path());
    let options = certs::InitOptions {
        server_names: vec!["mqtt.example".into(), "10.1.2.3".into()],
        ..Default::default()
    };
    folder.init(&options, now()).unwrap();
    let server = ServerTls::load(&ServerFiles::in_folder(dir.path()), &ServerOptions::default()).unwrap();
    let client = client_config(&ClientFiles::in_folder(dir.path(), "bridge")).unwrap();
    for host in ["localhost", "127.0.0.1", "::1", "mqtt.example", "10.1.2.3"] {
        connect_to(&server, &client, host).unwrap();
    }
    assert!(connect_to(&server, &client, "other.example").is_err());
}

#[test]
fn a_device_cannot_pose_as_the_broker() {
    let site = Site::new();
    let client = site.device("acme.gw-1");
    let files = ServerFiles {
        cert: site.certs().join("devices/acme/gw-1.crt"),
        key: site.certs().join("devices/acme/gw-1.key"),
        ..site.files()
    };
    let impostor = ServerTls::load(&files, &ServerOptions::default()).unwrap();
    assert!(connect(&impostor, &client).is_err());
}

#[test]
fn the_servers_certificate_is_no_client() {
    let site = Site::new();
    let client = client_config(&ClientFiles::in_folder(site.certs(), "server")).unwrap();
    assert!(matches!(
        connect(&site.server(), &client),
        Err(Refused::Handshake(_))
    ));
}

#[test]
fn a_client_without_certificate_is_refused() {
    let site = Site::new();
    let mut roots = RootCertStore::empty();
    roots.add(site.authority().certificate().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert_refused(connect(&site.server(), &Arc::new(client)), "no certificates");
}

#[test]
fn another_cas_device_is_refused() {
    let (site, other) = (Site::new(), Site::new());
    let foreign = other
        .authority()
        .issue_device(&"acme.gw-1".parse().unwrap(), 10, now())
        .unwrap();
    assert_refused(connect(&site.server(), &site.client(&foreign)), "UnknownIssuer");
}

#[test]
fn a_revoked_device_is_refused_and_its_live_session_is_known() {
    let site = Site::new();
    let (mut source, before) = ServerTlsSource::open(site.files(), ServerOptions::default()).unwrap();
    let (client, other) = (site.device("acme.gw-1"), site.device("acme.gw-2"));
    let live = connect(&before, &client).unwrap().peer;
    assert!(!before.revoked().covers(&live));
    assert!(matches!(source.poll(), Reload::Unchanged));

    site.folder.revoke("acme.gw-1", now()).unwrap();
    let Reload::Replaced(after) = source.poll() else {
        panic!("the new CRL was not seen")
    };
    assert!(after.revoked().covers(&live));
    // The client still has a ticket of the earlier configuration; it must not help.
    assert_refused(connect(&after, &client), "Revoked");
    connect(&after, &other).unwrap();
}

#[test]
fn admission_alone_refuses_a_revoked_device() {
    let site = Site::new();
    let peer = connect(&site.server(), &site.device("acme.gw-1")).unwrap().peer;
    site.folder.revoke("acme.gw-1", now()).unwrap();
    let chain = fs::read(site.certs().join("devices/acme/gw-1.crt")).unwrap();
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(&chain).unwrap();
    let refusal = site.server().admit(Some(&[der]), now()).unwrap_err();
    assert_eq!(refusal, Refusal::Revoked(peer.serial().clone()));
}

#[test]
fn an_expired_device_has_its_grace_and_no_more() {
    let site = Site::new();
    let uri = "spiffe://backhaul/acme/device/gw-1";
    let admitted = connect(&site.server(), &site.expired(uri, 89)).unwrap();
    assert_eq!(admitted.standing, Standing::Grace);
    assert_refused(connect(&site.server(), &site.expired(uri, 91)), "expired");

    let none = ServerOptions {
        grace: Duration::ZERO,
        ..ServerOptions::default()
    };
    let strict = ServerTls::load(&site.files(), &none).unwrap();
    assert_refused(connect(&strict, &site.expired(uri, 1)), "expired");
}

#[test]
fn only_devices_of_our_ca_have_a_grace() {
    let (site, other) = (Site::new(), Site::new());
    assert_refused(
        connect(
            &site.server(),
            &site.expired("spiffe://backhaul/_backhaul/bridge/bridge", 1),
        ),
        "expired",
    );
    let then = now().minus(DAY * 20);
    let foreign = other
        .authority()
        .issue_device(&"acme.gw-1".parse().unwrap(), 10, then)
        .unwrap();
    assert_refused(connect(&site.server(), &site.client(&foreign)), "UnknownIssuer");
}

#[test]
fn a_revoked_device_has_no_grace() {
    let site = Site::new();
    let then = now().minus(DAY * 20);
    site.folder
        .issue_devices(&["acme.gw-1".parse().unwrap()], 10, None, then)
        .unwrap();
    let client = client_config(&ClientFiles::in_folder(site.certs(), "devices/acme/gw-1")).unwrap();
    assert_eq!(
        connect(&site.server(), &client).unwrap().standing,
        Standing::Grace
    );
    site.folder.revoke("acme.gw-1", now()).unwrap();
    assert_refused(connect(&site.server(), &client), "Revoked");
}

#[test]
fn two_cas_are_trusted_while_one_follows_the_other() {
    let (old, new) = (Site::new(), Site::new());
    let (of_old, of_new) = (old.device("acme.gw-1"), new.device("acme.gw-2"));
    for file in ["ca.crt", "crl.pem"] {
        let both = [
            fs::read(old.certs().join(file)).unwrap(),
            fs::read(new.certs().join(file)).unwrap(),
        ]
        .concat();
        fs::write(old.certs().join(file), both).unwrap();
    }
    let serial = new.folder.index().unwrap().entries()[3].serial.clone();
    connect(&old.server(), &of_old).unwrap();
    // The second CA's device trusts only its own CA; the roots of its peer are what is tested.
    let issued = new
        .authority()
        .issue_device(&"acme.gw-2".parse().unwrap(), 10, now())
        .unwrap();
    connect(&old.server(), &old.client(&issued)).unwrap();
    drop(of_new);

    // Revoking under the first CA keeps the second's CRL in the file.
    old.folder.revoke("acme.gw-1", now()).unwrap();
    assert_refused(connect(&old.server(), &of_old), "Revoked");
    connect(&old.server(), &old.client(&issued)).unwrap();

    new.folder.revoke(&serial.to_string(), now()).unwrap();
    let first = fs::read_to_string(old.certs().join("crl.pem")).unwrap();
    let end = first.find("-----END X509 CRL-----").unwrap() + "-----END X509 CRL-----\n".len();
    let joined = first[..end].to_owned() + &fs::read_to_string(new.certs().join("crl.pem")).unwrap();
    fs::write(old.certs().join("crl.pem"), joined).unwrap();
    assert_eq!(old.server().revoked().len(), 2);
}

#[test]
fn a_broken_file_keeps_what_is_in_use_and_is_reported_once() {
    let site = Site::new();
    let (mut source, _tls) = ServerTlsSource::open(site.files(), ServerOptions::default()).unwrap();
    let crl = site.certs().join("crl.pem");
    let good = fs::read(&crl).unwrap();
    fs::write(&crl, &good[..good.len() / 2]).unwrap();
    assert!(matches!(source.poll(), Reload::Broken(TlsError::Pem { path, .. }) if path == crl));
    assert!(matches!(source.poll(), Reload::Unchanged));
    fs::remove_file(&crl).unwrap();
    assert!(matches!(source.poll(), Reload::Broken(TlsError::File(_))));
    fs::write(&crl, &good).unwrap();
    assert!(matches!(source.poll(), Reload::Replaced(_)));
}

#[test]
fn nothing_is_served_without_ca_crl_or_the_right_key() {
    let site = Site::new();
    let load = || ServerTls::load(&site.files(), &ServerOptions::default());
    let (ca, key, crl) = (
        site.certs().join("ca.crt"),
        site.certs().join("server.key"),
        site.certs().join("crl.pem"),
    );
    let other = Site::new();

    let good = fs::read(&key).unwrap();
    fs::copy(site.certs().join("bridge.key"), &key).unwrap();
    assert!(matches!(load(), Err(TlsError::KeyPair(_))));
    fs::write(&key, good).unwrap();

    let good = fs::read(&crl).unwrap();
    fs::copy(other.certs().join("crl.pem"), &crl).unwrap();
    assert!(matches!(
        load(),
        Err(TlsError::Revocation(RevocationFault::NoCrlOf(_)))
    ));
    fs::write(&crl, good).unwrap();

    load().unwrap();
    fs::write(&ca, "").unwrap();
    assert!(matches!(load(), Err(TlsError::Pem { .. })));
    fs::remove_file(&ca).unwrap();
    assert!(matches!(load(), Err(TlsError::File(_))));
}

#[test]
fn tls_1_2_is_spoken_only_when_asked_for() {
    let site = Site::new();
    let issued = site
        .authority()
        .issue_device(&"acme.gw-1".parse().unwrap(), 10, now())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(site.authority().certificate().clone()).unwrap();
    let cert = rustls::pki_types::pem::PemObject::from_pem_slice(issued.cert_pem.as_bytes()).unwrap();
    let key = rustls::pki_types::pem::PemObject::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .unwrap();
    let client = Arc::new(client);
    assert!(matches!(
        connect(&site.server(), &client),
        Err(Refused::Handshake(_))
    ));
    let both = ServerOptions {
        tls12: true,
        ..ServerOptions::default()
    };
    connect(&ServerTls::load(&site.files(), &both).unwrap(), &client).unwrap();
}
