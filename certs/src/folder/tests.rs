use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::authority::DEVICE_DAYS;
use crate::revocation::RevokedSerials;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn made() -> (TempDir, CertsFolder) {
    let dir = TempDir::new().unwrap();
    let folder = CertsFolder::new(dir.path().join("certs"));
    folder.init(&InitOptions::default(), NOW).unwrap();
    (dir, folder)
}

fn names(all: &[&str]) -> Vec<DeviceName> {
    all.iter().map(|name| name.parse().unwrap()).collect()
}

fn crl(folder: &CertsFolder) -> RevokedSerials {
    let ders = files::crls(&files::read(&folder.path().join("crl.pem")).unwrap()).unwrap();
    RevokedSerials::parse(&ders).unwrap()
}

fn crl_number(folder: &CertsFolder) -> String {
    let ders = files::crls(&files::read(&folder.path().join("crl.pem")).unwrap()).unwrap();
    parse_crl(&ders[0]).unwrap().crl_number().unwrap().to_string()
}

fn files_under(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_under(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn every_private_key_is_readable_by_its_owner_only_and_no_temporary_file_stays() {
    let (_dir, folder) = made();
    folder
        .issue_devices(&names(&["acme.gw-1", "acme.gw-2"]), 10, None, NOW)
        .unwrap();
    let all = files_under(folder.path());
    let keys: Vec<_> = all
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "key"))
        .collect();
    assert_eq!(keys.len(), 4 + 2);
    for path in &all {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let secret = fs::read(path).unwrap().windows(11).any(|w| w == b"PRIVATE KEY");
        assert_eq!(secret, keys.contains(&path), "{}", path.display());
        if secret {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
        assert!(
            !path.file_name().unwrap().to_str().unwrap().starts_with('.'),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_ca_is_never_replaced() {
    let (_dir, folder) = made();
    let before = files::read(&folder.path().join("ca.crt")).unwrap();
    assert!(matches!(
        folder.init(&InitOptions::default(), NOW),
        Err(FolderError::AlreadyThere(_))
    ));
    assert_eq!(files::read(&folder.path().join("ca.crt")).unwrap(), before);
}

#[test]
fn a_folder_without_the_ca_key_issues_nothing() {
    let (_dir, folder) = made();
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    let result = folder.issue_devices(&names(&["acme.gw-1"]), 10, None, NOW);
    assert!(matches!(result, Err(FolderError::NoAuthority(_))));
}

#[test]
fn another_cas_key_is_refused() {
    let ((_a, folder), (_b, other)) = (made(), made());
    fs::copy(other.path().join("ca.key"), folder.path().join("ca.key")).unwrap();
    assert!(matches!(
        folder.authority(),
        Err(FolderError::Authority(AuthorityError::KeyPair))
    ));
}

#[test]
fn no_certificate_outlives_its_ca() {
    let dir = TempDir::new().unwrap();
    let folder = CertsFolder::new(dir.path());
    folder
        .init(
            &InitOptions {
                ca_days: 100,
                ..InitOptions::default()
            },
            NOW,
        )
        .unwrap();
    folder
        .issue_devices(&names(&["acme.gw-1"]), DEVICE_DAYS, None, NOW)
        .unwrap();
    let end = NOW.plus(Duration::from_secs(100 * 86_400));
    assert!(
        folder
            .index()
            .unwrap()
            .entries()
            .iter()
            .all(|entry| entry.not_after == end)
    );
}

#[test]
fn revoking_a_name_takes_all_its_certificates_and_raises_the_crl_number() {
    let (_dir, folder) = made();
    let both = names(&["acme.gw-1", "acme.gw-2"]);
    folder.issue_devices(&both, 10, None, NOW).unwrap();
    folder.issue_devices(&both[..1], 10, None, NOW).unwrap();
    assert!(crl(&folder).is_empty());
    assert_eq!(crl_number(&folder), "1");

    assert_eq!(folder.revoke("acme.gw-1", NOW).unwrap().len(), 2);
    assert_eq!((crl(&folder).len(), crl_number(&folder).as_str()), (2, "2"));
    folder.revoke("acme.gw-1", NOW).unwrap();
    assert_eq!((crl(&folder).len(), crl_number(&folder).as_str()), (2, "3"));

    let index = folder.index().unwrap();
    let revoked_at = |name: &str| {
        let of = index
            .entries()
            .iter()
            .filter(|e| e.identity.name().to_string() == name);
        of.map(|e| e.revoked_at).collect::<Vec<_>>()
    };
    assert_eq!(revoked_at("acme.gw-1"), [Some(NOW); 2]);
    assert_eq!(revoked_at("acme.gw-2"), [None]);
}

#[test]
fn a_serial_is_revoked_even_if_the_index_was_lost() {
    let (_dir, folder) = made();
    folder
        .issue_devices(&names(&["acme.gw-1"]), 10, None, NOW)
        .unwrap();
    let serial = folder.index().unwrap().entries()[3].serial.clone();
    fs::remove_file(folder.path().join("index")).unwrap();
    assert!(matches!(
        folder.revoke("acme.gw-1", NOW),
        Err(FolderError::NotIssued(_))
    ));
    assert!(matches!(
        folder.revoke("0abc", NOW),
        Err(FolderError::NotIssued(_))
    ));
    assert_eq!(folder.revoke(&serial.to_string(), NOW).unwrap()[0].identity, None);
    assert_eq!(crl(&folder).len(), 1);
}

#[test]
fn parts_and_devices_have_their_own_files() {
    let (dir, folder) = made();
    let at = |uri: &str| {
        folder
            .issue_part(&Identity::from_uri(uri).unwrap(), &[], 10, NOW)
            .unwrap()
    };
    assert_eq!(
        at("spiffe://backhaul/_backhaul/broker/broker"),
        folder.path().join("server.crt")
    );
    assert_eq!(
        at("spiffe://backhaul/_backhaul/bridge/bridge"),
        folder.path().join("bridge.crt")
    );
    assert_eq!(
        at("spiffe://backhaul/acme/bridge/bridge"),
        folder.path().join("bridges/acme/bridge.crt")
    );
    assert_eq!(
        at("spiffe://backhaul/acme/operator/amy"),
        folder.path().join("operators/acme/amy.crt")
    );
    let out = dir.path().join("out");
    folder
        .issue_devices(&names(&["acme.gw-1"]), 10, Some(&out), NOW)
        .unwrap();
    assert!(out.join("acme/gw-1.crt").exists() && out.join("acme/gw-1.key").exists());
    assert_eq!(
        fs::read(out.join("ca.crt")).unwrap(),
        fs::read(folder.path().join("ca.crt")).unwrap()
    );
}

#[test]
fn writers_take_turns_and_none_is_lost() {
    let (_dir, folder) = made();
    std::thread::scope(|scope| {
        for i in 0..8 {
            let folder = &folder;
            scope.spawn(move || {
                folder
                    .issue_devices(&names(&[&format!("acme.gw-{i}")]), 10, None, NOW)
                    .unwrap()
            });
        }
    });
    assert_eq!(folder.index().unwrap().entries().len(), 3 + 8);
}

proptest! {
    #[test]
    fn an_arbitrary_crl_does_not_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        junk in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        thread_local!(static GOOD: Vec<u8> = {
            let mut state = CrlState::new();
            state.revoke(&Serial::random().unwrap(), NOW);
            let pem = Authority::create(100, NOW).unwrap().crl_pem(&state, NOW).unwrap();
            files::crls(pem.as_bytes()).unwrap()[0].to_vec()
        });
        let mut bytes = GOOD.with(Clone::clone);
        for (at, value) in &edits {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        let _ = RevokedSerials::parse(&[bytes.into()]);
        prop_assert!(RevokedSerials::parse(&[junk.into()]).is_err());
    }
}
