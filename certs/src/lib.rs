//! Identities, a certificate authority, and TLS configurations.
//!
//! A peer is who its certificate says: [`PeerCertificate`] reads role and name, [`ServerTls`] decides whether a
//! certificate is accepted (chain, revocation, validity with a grace for parked devices), [`client_config`] is the
//! other end. [`CertsFolder`] is the authority on disk, [`Authority`] the one in memory. Times come in as
//! [`wire::Timestamp`]; only rustls reads the clock by itself, in the handshake. docs/identity.md has the argument.

mod authority;
mod client;
mod files;
mod folder;
mod grace;
mod index;
mod issue;
mod peer;
mod request;
mod revocation;
mod serial;
mod server;
mod source;

pub use authority::{Authority, AuthorityError, CA_DAYS, DEVICE_DAYS, IssuedPem, PART_DAYS, SignedPem};
pub use client::{ClientFiles, client_config, client_config_from_pem, client_roots, own_certificate};
pub use files::{FileError, PemFault};
pub use folder::{CertsFolder, FolderError, InitOptions};
pub use index::{Index, IndexEntry, IndexFault, Revocation};
pub use issue::ServerNameFault;
pub use peer::{IdentityFault, PeerCertificate, Standing, identity_of};
pub use request::{RequestFault, SigningRequest};
pub use revocation::{RevocationFault, RevokedSerials};
pub use serial::{Serial, SerialError};
pub use server::{Refusal, ServerFiles, ServerOptions, ServerTls, TlsError};
pub use source::{Reload, ServerTlsSource};
