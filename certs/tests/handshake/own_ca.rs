//! Certificates that another CA made, with names of its own for itself and ours for the peers.

use std::fs;
use std::sync::Arc;

use certs::{
    PeerCertificate, Refusal, ServerFiles, ServerOptions, ServerTls, Standing, client_config_from_pem,
};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, PKCS_ECDSA_P384_SHA384,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::site::{Refused, assert_refused, connect_to};

struct OwnCa {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl OwnCa {
    fn new() -> OwnCa {
        OwnCa::named("Fleet issuing CA 7", None)
    }

    /// Signed by another, or by itself.
    fn named(cn: &str, by: Option<&OwnCa>) -> OwnCa {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example Works Ltd");
        params.distinguished_name.push(DnType::CommonName, cn);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer),
            None => params.self_signed(&key),
        };
        OwnCa {
            certificate: certificate.unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A CRL of these certificates.
    fn crl(&self, revoked: &[SerialNumber]) -> String {
        let revoked = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn issue(
        &self,
        cn: &str,
        o: &str,
        san: SanType,
        usage: ExtendedKeyUsagePurpose,
    ) -> (Certificate, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, o);
        params.distinguished_name.push(DnType::CommonName, cn);
        params.subject_alt_names = vec![san];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

fn server(ca: &OwnCa, dir: &TempDir) -> ServerTls {
    server_with(&[ca], None, dir)
}

/// The first CA issued the server's certificate.
fn server_with(cas: &[&OwnCa], crl: Option<String>, dir: &TempDir) -> ServerTls {
    let name = SanType::DnsName("mqtt.example".try_into().unwrap());
    let (cert, key) = cas[0].issue(
        "mqtt.example",
        "Example Works Ltd",
        name,
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let crl = crl.map(|crl| {
        let path = dir.path().join("crl.pem");
        fs::write(&path, crl).unwrap();
        path
    });
    let files = ServerFiles {
        crl,
        ..ServerFiles::in_folder(dir.path())
    };
    let bundle: String = cas.iter().map(|ca| ca.certificate.pem()).collect();
    fs::write(&files.ca, bundle).unwrap();
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    ServerTls::load(&files, &ServerOptions::default()).unwrap()
}

fn device(ca: &OwnCa, cn: &str) -> Arc<ClientConfig> {
    let (cert, key) = device_certificate(ca, cn);
    client(ca, &cert.pem(), &key)
}

fn device_certificate(ca: &OwnCa, cn: &str) -> (Certificate, KeyPair) {
    let uri = SanType::URI("spiffe://backhaul/acme/device/gw-1".try_into().unwrap());
    ca.issue(cn, "acme", uri, ExtendedKeyUsagePurpose::ClientAuth)
}

/// One that trusts a CA and sends a chain.
fn client(ca: &OwnCa, chain: &str, key: &KeyPair) -> Arc<ClientConfig> {
    let (ca, key) = (ca.certificate.pem(), key.serialize_pem());
    client_config_from_pem(ca.as_bytes(), chain.as_bytes(), key.as_bytes()).unwrap()
}

fn serial_of(certificate: &Certificate) -> SerialNumber {
    let peer = PeerCertificate::parse(certificate.der()).unwrap();
    SerialNumber::from_slice(peer.serial().as_bytes())
}

fn refused(server: &ServerTls, client: &Arc<ClientConfig>, why: &str) {
    assert_refused(connect_to(server, client, "mqtt.example"), why);
}

#[test]
fn a_ca_of_ones_own_works_when_it_puts_our_names_in() {
    let (ca, dir) = (OwnCa::new(), TempDir::new().unwrap());
    let server = server(&ca, &dir);
    let admitted = connect_to(&server, &device(&ca, "acme.gw-1"), "mqtt.example").unwrap();
    assert_eq!(
        (
            admitted.peer.identity().name().to_string().as_str(),
            admitted.standing
        ),
        ("acme.gw-1", Standing::Valid)
    );

    let mismatch = connect_to(&server, &device(&ca, "acme.gw-2"), "mqtt.example");
    assert!(
        matches!(mismatch, Err(Refused::Peer(Refusal::Identity(_)))),
        "{mismatch:?}"
    );
}

#[test]
fn a_revoked_device_is_refused_whatever_chain_it_sends() {
    let (ca, dir) = (OwnCa::new(), TempDir::new().unwrap());
    let (cert, key) = device_certificate(&ca, "acme.gw-1");
    let (other, other_key) = device_certificate(&ca, "acme.gw-1");
    let server = server_with(&[&ca], Some(ca.crl(&[serial_of(&cert)])), &dir);
    let with_root = |cert: &Certificate| cert.pem() + &ca.certificate.pem();
    for chain in [other.pem(), with_root(&other)] {
        connect_to(&server, &client(&ca, &chain, &other_key), "mqtt.example").unwrap();
    }
    for chain in [cert.pem(), with_root(&cert)] {
        refused(&server, &client(&ca, &chain, &key), "Revoked");
    }
}

#[test]
fn a_device_of_an_intermediate_needs_the_intermediate_s_crl() {
    let (ca, dir) = (OwnCa::new(), TempDir::new().unwrap());
    let below = OwnCa::named("Plant 3", Some(&ca));
    let (cert, key) = device_certificate(&below, "acme.gw-1");
    let client = client(&ca, &(cert.pem() + &below.certificate.pem()), &key);
    refused(
        &server_with(&[&ca], Some(ca.crl(&[])), &dir),
        &client,
        "UnknownRevocationStatus",
    );
    let both = |revoked: &[SerialNumber]| Some(ca.crl(&[]) + &below.crl(revoked));
    connect_to(&server_with(&[&ca], both(&[]), &dir), &client, "mqtt.example").unwrap();
    let server = server_with(&[&ca], both(&[serial_of(&cert)]), &dir);
    refused(&server, &client, "Revoked");
}

#[test]
fn of_two_cas_of_one_name_each_needs_its_crl() {
    let (old, new, dir) = (OwnCa::new(), OwnCa::new(), TempDir::new().unwrap());
    let server = server_with(&[&new, &old], Some(new.crl(&[])), &dir);
    connect_to(&server, &device(&new, "acme.gw-1"), "mqtt.example").unwrap();
    // The server's certificate is of the new one, so the old one's device has to trust that.
    let (cert, key) = device_certificate(&old, "acme.gw-1");
    assert!(connect_to(&server, &client(&new, &cert.pem(), &key), "mqtt.example").is_err());
}
