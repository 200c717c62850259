//! A real client at the other end of a pipe that gives and takes few bytes at a time.

use certs::{CertsFolder, ClientFiles, InitOptions, ServerFiles, ServerOptions, ServerTls};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use wire::Identity;

use super::*;
use crate::tls::now;

/// More than a record, and more than is encrypted at a time.
const LONG: usize = 200_000;

/// Reads and writes so many bytes at a time.
struct Sips(DuplexStream, usize);

impl AsyncRead for Sips {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut some = vec![0; this.1.min(out.remaining())];
        let mut some = ReadBuf::new(&mut some);
        ready!(Pin::new(&mut this.0).poll_read(context, &mut some))?;
        out.put_slice(some.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sips {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let some = &data[..data.len().min(this.1)];
        Pin::new(&mut this.0).poll_write(context, some)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

struct Site {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    roots: RootCertStore,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = CertsFolder::new(dir.path().join("certs"));
        folder.init(&InitOptions::default(), now()).unwrap();
        let authority = folder.authority().unwrap();
        let identity = Identity::from_uri("spiffe://backhaul/acme/device/gw-1").unwrap();
        let issued = authority.issue(&identity, &[], 30, now()).unwrap();
        let (cert, key) = (issued.cert_pem.as_bytes(), issued.key_pem.as_bytes());
        let tls = ServerTls::load(&ServerFiles::in_folder(folder.path()), &ServerOptions::default());
        let operator = ClientFiles::in_folder(folder.path(), "operator");
        Site {
            roots: certs::client_roots(&operator).unwrap(),
            server: tls.unwrap().config(),
            client: certs::client_config_from_pem(authority.ca_pem().as_bytes(), cert, key).unwrap(),
        }
    }

    /// Both ends, over a pipe that holds so many bytes, of which the server reads and writes some at a time.
    async fn connect(
        &self,
        (pipe, sip): (usize, usize),
    ) -> (TlsStream<Sips>, client::TlsStream<DuplexStream>) {
        let (ours, theirs) = duplex(pipe);
        let connector = TlsConnector::from(self.client.clone());
        let (server, client) = tokio::join!(
            TlsStream::accept(self.server.clone(), Sips(ours, sip)),
            connector.connect("localhost".try_into().unwrap(), theirs),
        );
        (server.unwrap(), client.unwrap())
    }
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 31 % 251) as u8).collect()
}

/// Sends so many bytes each way at the same time.
async fn exchange(
    server: &mut TlsStream<Sips>,
    client: &mut client::TlsStream<DuplexStream>,
    (up, down): (usize, usize),
) {
    let (mut from_client, mut from_server) = (vec![0; up], vec![0; down]);
    let (up, down) = (text(up), text(down));
    let (mut server_read, mut server_write) = tokio::io::split(server);
    let (mut client_read, mut client_write) = tokio::io::split(client);
    let send = async {
        server_write.write_all(&down).await.unwrap();
        server_write.flush().await.unwrap();
    };
    let send_up = async {
        client_write.write_all(&up).await.unwrap();
        client_write.flush().await.unwrap();
    };
    let (read, read_down, (), ()) = tokio::join!(
        server_read.read_exact(&mut from_client),
        client_read.read_exact(&mut from_server),
        send,
        send_up,
    );
    read.unwrap();
    read_down.unwrap();
    assert!(from_client == up && from_server == down);
}

/// Bytes of the buffers.
fn room(stream: &TlsStream<Sips>) -> [usize; 3] {
    [
        stream.incoming.capacity(),
        stream.plain.capacity(),
        stream.outgoing.capacity(),
    ]
}

#[tokio::test]
async fn what_is_sent_arrives_however_little_the_pipe_takes_and_no_buffer_is_kept() {
    let site = Site::new();
    // A pipe holds at least the tickets that end the handshake.
    for pipe in [(5000, 7), (5000, 700), (17_000, 17_000), (1 << 20, 1 << 20)] {
        let (mut server, mut client) = site.connect(pipe).await;
        for lengths in [(1, 0), (0, 1), (LONG, 10), (10, LONG), (LONG, LONG)] {
            exchange(&mut server, &mut client, lengths).await;
        }
        assert_eq!(room(&server), [0; 3]);
    }
}

#[tokio::test]
async fn new_keys_and_goodbyes_are_answered() {
    let site = Site::new();
    let (mut server, mut client) = site.connect((5000, 5000)).await;
    client.get_mut().1.refresh_traffic_keys().unwrap();
    exchange(&mut server, &mut client, (1000, 1000)).await;
    // The server's answer to new keys came with its data, which is under new keys of its own.
    exchange(&mut server, &mut client, (10, 10)).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    server.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_end_without_a_goodbye_is_an_error() {
    let site = Site::new();
    let (mut server, client) = site.connect((5000, 5000)).await;
    drop(client.into_inner().0);
    let error = server.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_so() {
    let site = Site::new();
    let (ours, theirs) = duplex(1 << 20);
    let provider = rustls::crypto::ring::default_provider();
    let anonymous = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(site.roots.clone())
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(anonymous));
    let (server, client) = tokio::join!(TlsStream::accept(site.server.clone(), ours), async {
        // In TLS 1.3 a client is done before the server has seen its certificate.
        let mut client = connector.connect("localhost".try_into().unwrap(), theirs).await?;
        client.read(&mut [0; 10]).await
    });
    let inner = |error: io::Error| error.into_inner().unwrap().downcast::<Error>().unwrap();
    assert_eq!(*inner(server.err().unwrap()), Error::NoCertificatesPresented);
    let told = inner(client.unwrap_err());
    assert_eq!(
        *told,
        Error::AlertReceived(rustls::AlertDescription::CertificateRequired)
    );
}

#[tokio::test]
async fn a_message_that_does_not_end_takes_a_bounded_amount_of_memory() {
    let site = Site::new();
    let (ours, mut theirs) = duplex(1 << 20);
    let accept = TlsStream::accept(site.server.clone(), ours);
    let flood = async {
        // Records of a client's first message, which says that it is of 16 MB.
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.extend_from_slice(&[1, 0xff, 0xff, 0xff]);
        record.resize(5 + 0x4000, 0);
        let mut sent = 0;
        while sent < 16 << 20 && theirs.write_all(&record).await.is_ok() {
            sent += record.len();
            record[5..9].fill(0);
        }
        sent
    };
    let (accepted, sent) = tokio::join!(
        async move {
            // Dropped with its end of the pipe, so that the flood ends.
            accept.await.err()
        },
        flood
    );
    assert!(accepted.is_some());
    assert!(sent < 2 << 20, "{sent}");
}

#[tokio::test]
async fn any_other_bytes_are_an_error() {
    let site = Site::new();
    let (ours, mut theirs) = duplex(1 << 20);
    theirs.write_all(&text(1000)).await.unwrap();
    assert!(TlsStream::accept(site.server.clone(), ours).await.is_err());
}
