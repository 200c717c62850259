//! Certificates that another CA made, with names of its own for itself and ours for the peers.

use std::fs;
use std::sync::Arc;

use certs::{Refusal, ServerFiles, ServerOptions, ServerTls, Standing, client_config_from_pem};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, SanType,
};
use rustls::ClientConfig;
use tempfile::TempDir;

use crate::site::{Refused, connect_to};

struct OwnCa {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl OwnCa {
    fn new() -> OwnCa {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Example Works Ltd");
        params
            .distinguished_name
            .push(DnType::CommonName, "Fleet issuing CA 7");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        OwnCa {
            certificate: params.self_signed(&key).unwrap(),
            issuer: Issuer::new(params, key),
        }
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
    let name = SanType::DnsName("mqtt.example".try_into().unwrap());
    let (cert, key) = ca.issue(
        "mqtt.example",
        "Example Works Ltd",
        name,
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    let files = ServerFiles {
        crl: None,
        ..ServerFiles::in_folder(dir.path())
    };
    fs::write(&files.ca, ca.certificate.pem()).unwrap();
    fs::write(&files.cert, cert.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    ServerTls::load(&files, &ServerOptions::default()).unwrap()
}

fn device(ca: &OwnCa, cn: &str) -> Arc<ClientConfig> {
    let uri = SanType::URI("spiffe://backhaul/acme/device/gw-1".try_into().unwrap());
    let (cert, key) = ca.issue(cn, "acme", uri, ExtendedKeyUsagePurpose::ClientAuth);
    let ca = ca.certificate.pem();
    client_config_from_pem(
        ca.as_bytes(),
        cert.pem().as_bytes(),
        key.serialize_pem().as_bytes(),
    )
    .unwrap()
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
