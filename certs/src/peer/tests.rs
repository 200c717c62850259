use proptest::prelude::*;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::*;
use crate::authority::{Authority, DEVICE_DAYS};

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

/// A self-signed certificate with these names.
fn with_names(cn: &[&str], o: &[&str], uris: &[&str]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // rcgen keeps one attribute of a kind; a second CN goes in by its OID, which is another key to it.
    for (i, cn) in cn.iter().enumerate() {
        let kind = if i == 0 {
            DnType::CommonName
        } else {
            DnType::CustomDnType(vec![2, 5, 4, 3])
        };
        params.distinguished_name.push(kind, *cn);
    }
    for o in o {
        params.distinguished_name.push(DnType::OrganizationName, *o);
    }
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI((*uri).try_into().unwrap()))
        .collect();
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .to_vec()
}

const URI: &str = "spiffe://backhaul/acme/device/gw-1";

#[test]
fn names_that_agree_are_an_identity() {
    let identity = identity_of(&with_names(&["acme.gw-1"], &["acme"], &[URI])).unwrap();
    assert_eq!(identity, Identity::from_uri(URI).unwrap());
}

#[test]
fn names_that_disagree_are_none() {
    let fault = |cn: &[&str], o: &[&str], uris: &[&str]| identity_of(&with_names(cn, o, uris)).unwrap_err();
    for cn in [
        &["acme.gw-2"][..],
        &["evil.gw-1"],
        &["gw-1"],
        &["acme.gw-1 "],
        &["ACME.gw-1"],
        &[],
    ] {
        assert!(
            matches!(fault(cn, &["acme"], &[URI]), IdentityFault::CommonName { .. }),
            "{cn:?}"
        );
    }
    assert!(matches!(
        fault(&["acme.gw-1", "acme.gw-2"], &["acme"], &[URI]),
        IdentityFault::CommonName { found: None, .. }
    ));
    for o in [&["evil"][..], &["acme2"], &[]] {
        assert!(
            matches!(
                fault(&["acme.gw-1"], o, &[URI]),
                IdentityFault::Organization { .. }
            ),
            "{o:?}"
        );
    }
    assert_eq!(fault(&["acme.gw-1"], &["acme"], &[]), IdentityFault::NoUri);
    assert_eq!(
        fault(&["acme.gw-1"], &["acme"], &[URI, URI]),
        IdentityFault::SeveralUris
    );
    let own = "spiffe://backhaul/_backhaul/device/x";
    assert!(matches!(
        fault(&["_backhaul.x"], &["_backhaul"], &[own]),
        IdentityFault::Uri(_)
    ));
}

#[test]
fn an_issued_certificate_says_who_and_how_long() {
    let authority = Authority::create(8000, NOW).unwrap();
    let issued = authority
        .issue_device(&"acme.gw-1".parse().unwrap(), DEVICE_DAYS, NOW)
        .unwrap();
    let der = crate::files::certificates(issued.cert_pem.as_bytes())
        .unwrap()
        .remove(0);
    let peer = PeerCertificate::parse(&der).unwrap();
    assert_eq!(peer.identity().uri(), URI);
    assert_eq!(peer.serial(), &issued.serial);
    assert_eq!(peer.issuer(), authority.subject());
    assert_eq!(peer.not_before(), NOW.minus(Duration::from_secs(3600)));
    assert_eq!(peer.not_after(), NOW.plus(DAY * DEVICE_DAYS));
    assert_eq!(peer.not_after(), issued.not_after);
}

#[test]
fn only_an_expired_device_stands_in_grace() {
    let authority = Authority::create(8000, NOW).unwrap();
    let peer = |uri: &str| {
        let issued = authority
            .issue(&Identity::from_uri(uri).unwrap(), &[], 10, NOW)
            .unwrap();
        let der = crate::files::certificates(issued.cert_pem.as_bytes())
            .unwrap()
            .remove(0);
        PeerCertificate::parse(&der).unwrap()
    };
    let (device, bridge) = (peer(URI), peer("spiffe://backhaul/acme/bridge/b"));
    let grace = DAY * 5;
    let at = |after_days: u32, ms: u64| NOW.plus(DAY * after_days + Duration::from_millis(ms));
    assert_eq!(
        device.standing(NOW.minus(Duration::from_secs(3601)), grace),
        Standing::NotYet
    );
    assert_eq!(device.standing(at(10, 999), grace), Standing::Valid);
    assert_eq!(device.standing(at(10, 1000), grace), Standing::Grace);
    assert_eq!(device.standing(at(15, 999), grace), Standing::Grace);
    assert_eq!(device.standing(at(15, 1000), grace), Standing::Expired);
    assert_eq!(device.standing(at(10, 1000), Duration::ZERO), Standing::Expired);
    assert_eq!(bridge.standing(at(10, 999), grace), Standing::Valid);
    assert_eq!(bridge.standing(at(10, 1000), grace), Standing::Expired);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_identity_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(identity_of(&bytes).is_err());
    }

    #[test]
    fn a_damaged_certificate_does_not_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        thread_local!(static GOOD: Vec<u8> = with_names(&["acme.gw-1"], &["acme"], &[URI]));
        let mut bytes = GOOD.with(Clone::clone);
        for (at, value) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(peer) = PeerCertificate::parse(&bytes) {
            let _ = peer.standing(NOW, DAY);
            prop_assert!(peer.serial().as_bytes().len() <= 20);
        }
    }
}
