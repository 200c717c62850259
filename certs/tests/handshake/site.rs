//! A folder of certificates, and connections over TCP between a server and a client of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certs::{
    Authority, CertsFolder, ClientFiles, IssuedPem, PeerCertificate, Refusal, ServerFiles, ServerOptions,
    ServerTls, Standing, client_config, client_config_from_pem,
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection, Stream};
use tempfile::TempDir;
use wire::{DeviceName, Identity, Timestamp};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) struct Site {
    _dir: TempDir,
    pub(crate) folder: CertsFolder,
}

impl Site {
    pub(crate) fn new() -> Site {
        let dir = TempDir::new().unwrap();
        let folder = CertsFolder::new(dir.path().join("certs"));
        // Made long ago, so that a device's certificate can have run out.
        let long_ago = now().minus(DAY * 300);
        folder.init(&certs::InitOptions::default(), long_ago).unwrap();
        Site { _dir: dir, folder }
    }

    pub(crate) fn certs(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn files(&self) -> ServerFiles {
        ServerFiles::in_folder(self.certs())
    }

    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::load(&self.files(), &ServerOptions::default()).unwrap()
    }

    pub(crate) fn device(&self, name: &str) -> Arc<ClientConfig> {
        self.folder
            .issue_devices(&[name.parse().unwrap()], 10, None, now())
            .unwrap();
        let name: DeviceName = name.parse().unwrap();
        let stem = format!("devices/{}/{}", name.tenant(), name.device());
        client_config(&ClientFiles::in_folder(self.certs(), &stem)).unwrap()
    }

    pub(crate) fn authority(&self) -> Authority {
        Authority::load(self.certs()).unwrap()
    }

    pub(crate) fn client(&self, issued: &IssuedPem) -> Arc<ClientConfig> {
        let ca = fs::read(self.certs().join("ca.crt")).unwrap();
        client_config_from_pem(&ca, issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    }

    /// A client whose certificate ran out some days ago.
    pub(crate) fn expired(&self, uri: &str, days_ago: u32) -> Arc<ClientConfig> {
        let then = now().minus(DAY * (days_ago + 10));
        self.client(
            &self
                .authority()
                .issue(&Identity::from_uri(uri).unwrap(), &[], 10, then)
                .unwrap(),
        )
    }
}

#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) peer: PeerCertificate,
    pub(crate) standing: Standing,
    pub(crate) resumed: bool,
}

#[derive(Debug)]
pub(crate) enum Refused {
    Handshake(String),
    Peer(Refusal),
}

/// Connects once; the outcome is the server's.
pub(crate) fn connect(server: &ServerTls, client: &Arc<ClientConfig>) -> Result<Admitted, Refused> {
    connect_to(server, client, "localhost")
}

pub(crate) fn connect_to(
    server: &ServerTls,
    client: &Arc<ClientConfig>,
    host: &str,
) -> Result<Admitted, Refused> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            let mut tls =
                ClientConnection::new(Arc::clone(client), host.to_owned().try_into().unwrap()).unwrap();
            let mut stream = Stream::new(&mut tls, &mut socket);
            // In TLS 1.3 a client learns of its refusal only when it reads; the ticket comes with the answer.
            let _ = stream.write_all(b"?").and_then(|()| stream.read_exact(&mut [0]));
        });
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(server.config()).unwrap();
        let mut stream = Stream::new(&mut tls, &mut socket);
        let heard = stream.read_exact(&mut [0]).and_then(|()| stream.write_all(b"!"));
        drop(socket);
        client.join().unwrap();
        heard.map_err(|e| Refused::Handshake(e.to_string()))?;
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
        let (peer, standing) = server
            .admit(tls.peer_certificates(), now())
            .map_err(Refused::Peer)?;
        Ok(Admitted {
            peer,
            standing,
            resumed,
        })
    })
}

#[track_caller]
pub(crate) fn assert_refused(outcome: Result<Admitted, Refused>, why: &str) {
    match outcome {
        Err(Refused::Handshake(e)) if e.contains(why) => {}
        other => panic!("expected a refusal with {why:?}, got {other:?}"),
    }
}
