use super::*;

fn written(text: &str) -> Result<Web, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    std::fs::write(&path, text).unwrap();
    read(&path).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_asks_for_nothing() {
    let web = written("{}").unwrap();
    assert!(!web.has_tls() && !web.is_guarded() && web.headers.is_empty());
}

#[test]
fn users_tokens_and_headers_are_read() {
    let hash = bcrypt::hash("test", 4).unwrap();
    let text = format!(
        "basic_auth_users: {{alice: {hash}}}\n\
         bearer_tokens: {{grafana: {}}}\n\
         tenants: {{alice: [acme, default], grafana: ['*']}}\n\
         http_server_config: {{http2: false, headers: {{X-Frame-Options: deny}}}}\n",
        "ab".repeat(32)
    );
    let web = written(&text).unwrap();
    assert!(web.is_guarded() && !web.has_tls());
    assert_eq!(web.headers.len(), 1);
}

#[test]
fn the_password_of_nobody_takes_as_long_as_one() {
    let parts: bcrypt::HashParts = super::super::principal::NOBODY.parse().unwrap();
    assert_eq!(parts.get_cost(), 10);
}

#[test]
fn faults_are_named_with_what_to_change() {
    for (text, part) in [
        ("basic_auth_user: {}\n", "basic_auth_user"),
        (
            "basic_auth_users: {alice: secret}\n",
            "basic_auth_users.alice: it is no bcrypt hash",
        ),
        ("basic_auth_users: {'a:b': x}\n", "no user"),
        (
            "bearer_tokens: {grafana: abc}\n",
            "bearer_tokens.grafana: it is no SHA-256",
        ),
        ("tenants: {alice: [a.b]}\n", "tenants.alice"),
        (
            "http_server_config: {headers: {X-Other: a}}\n",
            "headers.X-Other: it cannot be set",
        ),
        (
            "tls_server_config: {}\n",
            "tls_server_config: cert_file is missing",
        ),
        (
            "tls_server_config: {cert_file: a, cert: b}\n",
            "cert and cert_file are both given",
        ),
        (
            "tls_server_config: {cert_file: none.crt, key_file: none.key}\n",
            "none.crt: No such file",
        ),
        ("tls_server_config: {min_version: SSL3}\n", "SSL3"),
    ] {
        let error = written(text).err().unwrap();
        assert!(error.contains(part) && error.contains("web.yml"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn what_tls_is_told_is_taken_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let certs = certs::CertsFolder::new(folder.path().to_owned());
    certs
        .init(&certs::InitOptions::default(), crate::ingest::wall_clock())
        .unwrap();
    let written = |more: &str| {
        let path = folder.path().join("web.yml");
        let text = format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{more}");
        std::fs::write(&path, text).unwrap();
        read(&path).map_err(|error| error.to_string())
    };
    let plain = written("").unwrap();
    assert!(plain.has_tls() && !plain.is_guarded());
    let mutual = "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n";
    assert!(written(mutual).unwrap().is_guarded());
    let asked = "  client_ca_file: ca.crt\n  client_auth_type: VerifyClientCertIfGiven\n";
    assert!(!written(asked).unwrap().is_guarded());
    for good in [
        "  min_version: TLS13\n",
        "  max_version: TLS12\n",
        "  cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n",
        "  curve_preferences: [CurveP256, X25519]\n",
    ] {
        assert!(written(good).is_ok(), "{good}");
    }
    for (bad, part) in [
        (
            "  client_auth_type: RequireAndVerifyClientCert\n",
            "client_ca_file is missing",
        ),
        ("  client_auth_type: RequireAnyClientCert\n", "is not verified"),
        ("  client_ca_file: ca.crt\n", "need a client_auth_type"),
        ("  max_version: TLS11\n", "nothing is left"),
        (
            "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n",
            "TLS_RSA_WITH_RC4_128_SHA is not there; there are TLS_AES",
        ),
        ("  curve_preferences: [CurveP521]\n", "CurveP521 is not there"),
    ] {
        let error = written(bad).err().unwrap();
        assert!(error.contains(part), "{error}");
    }
}
