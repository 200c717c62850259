//! How the listener is guarded: users, tokens, certificates, tenants, browsers, compression, and that it follows its files.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge::WebFile;
use certs::{CertsFolder, ClientFiles, DEVICE_DAYS, InitOptions, client_config};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use crate::server::{Api, now};

/// Of the token `grafana-reads`.
const TOKEN: &str = "d46457b1fd142f4087f582c3197b50e0d2b7eb9c5090c67f696c97c936de4494";

fn file(folder: &Path, text: &str) -> WebFile {
    let path = folder.join("web.yml");
    std::fs::write(&path, text).unwrap();
    WebFile {
        path,
        reload: Arc::new(Notify::new()),
    }
}

fn users() -> String {
    // bcrypt's lowest cost.
    let hash = bcrypt::hash("test", 4).unwrap();
    format!(
        "basic_auth_users: {{alice: {hash}, bob: {hash}, carol: {hash}}}\n\
         bearer_tokens: {{grafana: {TOKEN}}}\n\
         tenants: {{alice: [acme], bob: ['*'], grafana: [default, acme]}}\n\
         http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
    )
}

/// `Basic` of `<user>:test`.
fn basic(user: &str) -> String {
    let plain = format!("{user}:test");
    format!("Basic {}", STANDARD.encode(plain))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_known_users_and_tokens_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let web = file(folder.path(), &users());
    let api = Api::start_with(|config| config.web = Some(web)).await;
    let path = "/api/v1/query?query=up";
    let unauthorized = (401, "Unauthorized\n".to_owned());
    assert_eq!(api.get(path).await, unauthorized);
    for wrong in [
        "Basic !!",
        "Basic YWxpY2U6d3Jvbmc=",
        &basic("dave"),
        "Bearer other",
        "Digest x",
        "Bearer",
    ] {
        assert_eq!(
            api.get_as(path, &[("authorization", wrong)]).await,
            unauthorized,
            "{wrong}"
        );
    }
    for right in [
        &basic("carol"),
        &basic("carol"),
        "Bearer grafana-reads",
        "bearer grafana-reads",
    ] {
        let (code, body) = api.get_as(path, &[("authorization", right)]).await;
        assert_eq!((code, body.contains("gw-1")), (200, true), "{right}: {body}");
    }
    for path in ["/metrics", "/-/healthy", "/federate", "/nothing"] {
        assert_eq!(api.get(path).await, unauthorized, "{path}");
    }
    let (code, head, _) = api.exchange(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(code, 401);
    assert!(
        head.contains("www-authenticate: Basic") && head.contains("x-frame-options: deny"),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_sees_its_tenants_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let web = file(folder.path(), &users());
    let api = Api::start_with(|config| config.web = Some(web)).await;
    let ask = async |who: &str, tenant: Option<&str>, path: &str| {
        let mut headers = vec![("authorization", who)];
        headers.extend(tenant.map(|tenant| ("x-scope-orgid", tenant)));
        api.get_as(path, &headers).await
    };
    let (alice, bob, carol) = (basic("alice"), basic("bob"), basic("carol"));
    let query = "/api/v1/query?query=up";
    // Alice's one tenant needs no name, and has no devices.
    let (code, body) = ask(&alice, None, query).await;
    assert_eq!((code, body.contains("gw-1")), (200, false), "{body}");
    for (who, tenant, code) in [
        (&alice, Some("default"), 403),
        (&alice, Some("acme"), 200),
        (&carol, Some("acme"), 403),
        (&carol, Some("default"), 200),
        (&bob, Some("acme"), 200),
        (&bob, None, 200),
    ] {
        let (found, body) = ask(who, tenant, query).await;
        assert_eq!(found, code, "{tenant:?} {body}");
        assert!(
            code == 200 || body.contains(r#""errorType":"forbidden","error":"tenant: "#),
            "{body}"
        );
    }
    // Devices of all tenants are listed for who may see all.
    for (who, shown) in [(&bob, true), (&carol, true), (&alice, false)] {
        for path in [
            "/api/v1/fleet/devices",
            "/api/v1/fleet/series",
            "/api/v1/fleet/equation",
        ] {
            let (code, body) = ask(who, None, path).await;
            assert_eq!((code, body.contains("gw-1")), (200, shown), "{path} {body}");
        }
    }
    let other = "/api/v1/fleet/devices?tenant=default";
    assert_eq!(ask(&alice, None, other).await.0, 403);
    for path in [
        "/api/v1/fleet/destinations",
        "/api/v1/status/config",
        "/api/v1/status/flags",
    ] {
        assert_eq!(ask(&carol, None, path).await.0, 403, "{path}");
        assert_eq!(ask(&bob, None, path).await.0, 200, "{path}");
    }
    assert_eq!(ask(&alice, Some("default"), "/federate?match[]=up").await.0, 403);
}

/// Code and body of an answer over TLS; an error if the connection is refused.
async fn over_tls(
    api: &Api,
    client: &Arc<rustls::ClientConfig>,
    request: &str,
) -> std::io::Result<(u16, String)> {
    let tcp = TcpStream::connect(api.address()).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, tcp).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer).unwrap();
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    };
    Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
}

fn get(path: &str, tenant: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nthanos-tenant: {tenant}\r\n\r\n")
}

/// Certificates of a site in a folder, with a device `acme.gw-1`.
fn site(folder: &Path) -> CertsFolder {
    let certs = CertsFolder::new(folder.to_owned());
    certs.init(&InitOptions::default(), now()).unwrap();
    certs
        .issue_devices(&["acme.gw-1".parse().unwrap()], DEVICE_DAYS, None, now())
        .unwrap();
    certs
}

const MUTUAL: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  \
                      client_auth_type: RequireAndVerifyClientCert\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_a_principal() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    site(folder.path());
    let web = file(folder.path(), &format!("{MUTUAL}tenants: {{}}\n"));
    let api = Api::start_with(|config| config.web = Some(web)).await;
    let operator = client_config(&ClientFiles::in_folder(folder.path(), "operator")).unwrap();
    let device = ClientFiles {
        cert: folder.path().join("devices/acme/gw-1.crt"),
        key: folder.path().join("devices/acme/gw-1.key"),
        ..ClientFiles::in_folder(folder.path(), "operator")
    };
    let device = client_config(&device).unwrap();
    let query = "/api/v1/query?query=up";
    // The site's operator serves every tenant; a device may not read.
    assert_eq!(
        over_tls(&api, &operator, &get(query, "default")).await.unwrap().0,
        200
    );
    assert_eq!(
        over_tls(&api, &operator, &get(query, "acme")).await.unwrap().0,
        200
    );
    assert_eq!(over_tls(&api, &device, &get(query, "acme")).await.unwrap().0, 403);
    // Without a certificate, or without TLS, there is no answer.
    let mut roots = rustls::RootCertStore::empty();
    let ca = std::fs::read(folder.path().join("ca.crt")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let nobody = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert!(
        over_tls(&api, &Arc::new(nobody), &get(query, "default"))
            .await
            .is_err()
    );
    let mut plain = TcpStream::connect(api.address()).await.unwrap();
    plain.write_all(get(query, "default").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_on_new_connections_and_on_old_ones() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let certs = site(folder.path());
    let web = file(folder.path(), &format!("{MUTUAL}  client_crl_file: crl.pem\n"));
    let reload = Arc::clone(&web.reload);
    let api = Api::start_with(|config| config.web = Some(web)).await;
    let operator = client_config(&ClientFiles::in_folder(folder.path(), "operator")).unwrap();
    let tcp = TcpStream::connect(api.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut kept = TlsConnector::from(Arc::clone(&operator))
        .connect(name, tcp)
        .await
        .unwrap();
    let mut ask = async || {
        kept.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        let mut answer = vec![0; 4096];
        let read = kept.read(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    assert!(ask().await.unwrap().starts_with("HTTP/1.1 200"));

    certs.revoke("_backhaul.operator", now()).unwrap();
    reload.notify_one();
    let deadline = Instant::now() + Duration::from_secs(30);
    while over_tls(&api, &operator, &get("/-/healthy", "default"))
        .await
        .is_ok()
    {
        assert!(
            Instant::now() < deadline,
            "the revoked certificate is still let in"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ask().await.unwrap().starts_with("HTTP/1.1 401"));
    assert!(ask().await.is_ok_and(|answer| answer.is_empty()) || ask().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_file_are_followed_and_faults_refused() {
    let folder = tempfile::tempdir().unwrap();
    let web = file(folder.path(), "{}");
    let (path, reload) = (web.path.clone(), Arc::clone(&web.reload));
    let api = Api::start_with(|config| config.web = Some(web)).await;
    let code = async || api.get("/-/healthy").await.0;
    assert_eq!(code().await, 200);
    let until = async |expected: u16| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while code().await != expected {
            assert!(Instant::now() < deadline, "waited for {expected}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    std::fs::write(&path, users()).unwrap();
    reload.notify_one();
    until(401).await;
    std::fs::write(&path, "basic_auth_users: [").unwrap();
    reload.notify_one();
    // A file that follows shows that the one before was looked at, or passed over.
    assert_eq!(code().await, 401);
    std::fs::write(&path, "{}").unwrap();
    // Nobody asks: it is seen all the same.
    until(200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_idle_ones_end() {
    let api = Api::start_with(|config| {
        config.http_connections = 2;
        config.http_idle = Duration::from_millis(300);
    })
    .await;
    // Two that say nothing take all there is, until they have been idle for too long.
    let mut silent = TcpStream::connect(api.address()).await.unwrap();
    let mut slow = TcpStream::connect(api.address()).await.unwrap();
    slow.write_all(b"GET /-/healthy HT").await.unwrap();
    assert_eq!(api.get("/-/healthy").await.0, 200);
    for stream in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        // Reset or closed, but not answered.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_other_origins_are_answered_as_prometheus_answers_them() {
    let api =
        Api::start_with(|config| config.cors_origin = regex::Regex::new("^(?:https?://good)$").unwrap())
            .await;
    let ask = async |method: &str, path: &str, origin: &str| {
        let request = format!("{method} {path} HTTP/1.0\r\norigin: {origin}\r\n\r\n");
        let (code, head, _) = api.exchange(request.as_bytes()).await;
        (code, head)
    };
    let (code, head) = ask("OPTIONS", "/api/v1/query", "http://good").await;
    assert_eq!(code, 204);
    for line in [
        "access-control-allow-headers: Accept, Authorization, Content-Type, Origin",
        "access-control-allow-methods: GET, POST, OPTIONS",
        "access-control-allow-origin: http://good",
        "access-control-expose-headers: Date",
        "vary: Origin",
    ] {
        assert!(head.contains(line), "{head}");
    }
    let (_, head) = ask("GET", "/api/v1/labels", "http://good.evil").await;
    assert!(
        head.contains("vary: Origin") && !head.contains("access-control"),
        "{head}"
    );
    let (_, head) = ask("GET", "/metrics", "http://good").await;
    assert!(!head.contains("access-control"), "{head}");
    let (code, head) = ask("DELETE", "/api/v1/query", "http://good").await;
    assert_eq!(
        (code, head.contains("allow: GET, OPTIONS, POST")),
        (405, true),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_compressed_if_that_is_accepted() {
    let api = Api::start().await;
    // A page that is the same each time.
    let page = "/api/v1/openapi.json";
    let plain = api.get(page).await.1;
    for (accepted, encoding) in [
        ("br, gzip", Some("gzip")),
        ("deflate, gzip", Some("deflate")),
        ("br", None),
    ] {
        let request = format!("GET {page} HTTP/1.0\r\naccept-encoding: {accepted}\r\n\r\n");
        let (_, head, body) = api.exchange(request.as_bytes()).await;
        let mut text = String::new();
        match encoding {
            Some("gzip") => flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text),
            Some(_) => flate2::read::ZlibDecoder::new(body.as_slice()).read_to_string(&mut text),
            None => Read::read_to_string(&mut body.as_slice(), &mut text),
        }
        .unwrap();
        let named = encoding.map(|name| format!("content-encoding: {name}"));
        assert_eq!(head.contains("content-encoding"), named.is_some(), "{head}");
        assert!(named.is_none_or(|line| head.contains(&line)), "{head}");
        assert!(text == plain, "{accepted}");
    }
    let request = "GET /api/v1/alerts HTTP/1.0\r\naccept-encoding: gzip\r\n\r\n";
    let (_, head, _) = api.exchange(request.as_bytes()).await;
    assert!(!head.contains("content-encoding"), "{head}");
}
