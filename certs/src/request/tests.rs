use proptest::prelude::*;
use rcgen::{CertificateParams, CertificateSigningRequest, DistinguishedName, DnType, KeyPair, SanType};
use wire::Timestamp;

use super::*;
use crate::authority::Authority;
use crate::peer::PeerCertificate;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn request(
    cn: Option<&str>,
    o: Option<&str>,
    names: Vec<SanType>,
    key: &KeyPair,
) -> CertificateSigningRequest {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [(DnType::CommonName, cn), (DnType::OrganizationName, o)] {
        if let Some(value) = value {
            params.distinguished_name.push(kind, value);
        }
    }
    params.subject_alt_names = names;
    params.serialize_request(key).unwrap()
}

fn parse(cn: Option<&str>, o: Option<&str>, names: Vec<SanType>) -> SigningRequest {
    let csr = request(cn, o, names, &KeyPair::generate().unwrap());
    SigningRequest::parse(csr.pem().unwrap().as_bytes()).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

#[test]
fn a_signed_request_carries_the_requesters_key_and_the_authoritys_names() {
    let key = KeyPair::generate().unwrap();
    let csr = request(Some("acme.gw-1"), None, vec![], &key);
    let request = SigningRequest::parse(csr.der()).unwrap();
    let identity = request.identity(Role::Device, None).unwrap();
    let signed = Authority::create(8000, NOW)
        .unwrap()
        .sign(&request, &identity, 10, NOW)
        .unwrap();
    let der = crate::files::certificates(signed.cert_pem.as_bytes())
        .unwrap()
        .remove(0);
    assert_eq!(
        PeerCertificate::parse(&der).unwrap().identity().uri(),
        "spiffe://backhaul/acme/device/gw-1"
    );
    let (_, cert) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        cert.public_key().subject_public_key.data.as_ref(),
        key.public_key_raw()
    );
    assert!(!cert.is_ca());
}

#[test]
fn a_request_that_asks_for_more_is_refused() {
    let ask = |request: SigningRequest| request.identity(Role::Device, None).unwrap_err();
    let dns = SanType::DnsName("broker.example".try_into().unwrap());
    for names in [vec![dns], vec![uri("spiffe://backhaul/acme/bridge/gw-1")]] {
        assert!(matches!(
            ask(parse(Some("acme.gw-1"), None, names)),
            RequestFault::OtherName { .. }
        ));
    }
    assert!(matches!(
        ask(parse(Some("acme.gw-1"), Some("evil"), vec![])),
        RequestFault::OtherName { .. }
    ));
    assert!(matches!(
        ask(parse(Some("_backhaul.x"), None, vec![])),
        RequestFault::Identity(_)
    ));
    assert!(matches!(
        ask(parse(Some("no dot"), None, vec![])),
        RequestFault::Name(_)
    ));
    assert_eq!(ask(parse(None, None, vec![])), RequestFault::NoName);
}

#[test]
fn a_given_name_must_be_the_requests() {
    let name: DeviceName = "acme.gw-1".parse().unwrap();
    let own = vec![uri("spiffe://backhaul/acme/device/gw-1")];
    assert!(parse(None, None, own).identity(Role::Device, Some(&name)).is_ok());
    let other = parse(Some("acme.gw-2"), None, vec![]).identity(Role::Device, Some(&name));
    assert!(matches!(other, Err(RequestFault::OtherName { .. })));
}

#[test]
fn a_request_without_its_keys_signature_is_refused() {
    let csr = request(Some("acme.gw-1"), None, vec![], &KeyPair::generate().unwrap());
    let mut der = csr.der().to_vec();
    let at = der.windows(4).position(|w| w == b"gw-1").unwrap();
    der[at + 3] = b'2';
    assert_eq!(SigningRequest::parse(&der), Err(RequestFault::Signature));
    assert_eq!(SigningRequest::parse(b"hello"), Err(RequestFault::NotRequest));
}

proptest! {
    #[test]
    fn a_damaged_request_does_not_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        junk in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        thread_local!(static GOOD: Vec<u8> =
            request(Some("acme.gw-1"), Some("acme"), vec![], &KeyPair::generate().unwrap()).der().to_vec());
        let mut bytes = GOOD.with(Clone::clone);
        for (at, value) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        let _ = SigningRequest::parse(&bytes).map(|request| request.identity(Role::Device, None));
        prop_assert!(SigningRequest::parse(&junk).is_err());
    }
}
