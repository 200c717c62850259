//! Who asks: users with passwords, holders of tokens, and certificates.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::HeaderValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use certs::identity_of;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use wire::Role;
use wire::name::OWN_TENANT;

use super::Access;
use super::tls::Tls;

/// Passwords found right that are kept, as bcrypt is slow on purpose.
const MAX_KEPT: usize = 100;

/// What the password of a user that there is not is compared with, so that its refusal takes as long.
pub(super) const NOBODY: &str = "$2b$10$oU11pmSqwerNQuQbPR5PHuHaI1696cCxt40cxyIcMMnMoW0h1eNw2";

/// The other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// Its certificate, which was verified, and those above it; empty: it showed none.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The settings under which the connection began; `None`: without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Nobody in particular.
    Anonymous,
    /// A user, or a token by its name.
    Account(String),
    /// The holder of a certificate of ours that serves a tenant (`None`: all).
    Certificate {
        /// Its common name.
        name: String,
        /// What it may see.
        access: Access,
    },
}

impl Peer {
    /// One without TLS.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Peer {
            address,
            chain: Vec::new(),
            tls: None,
        }
    }

    /// Whether its connection may go on under these settings. A connection outlives the settings it began under, and its
    /// certificate may be revoked since.
    pub(super) fn holds(&self, now: Option<&Arc<Tls>>) -> bool {
        match (now, &self.tls) {
            (Some(now), Some(began)) => Arc::ptr_eq(now, began) || now.still_admits(&self.chain),
            (Some(_), None) => false,
            (None, began) => began.is_none(),
        }
    }

    /// Who it is by its certificate.
    pub(crate) fn principal(&self) -> Principal {
        let Some(certificate) = self.chain.first() else {
            return Principal::Anonymous;
        };
        let Ok(identity) = identity_of(certificate) else {
            // Of another authority: it may be named in the file by what its subject says.
            return super::tls::common_name(certificate).map_or(Principal::Anonymous, Principal::Account);
        };
        let tenant = identity.name().tenant();
        let access = match identity.role() {
            Role::Operator | Role::Bridge if tenant.as_str() == OWN_TENANT => Access::All,
            Role::Operator | Role::Bridge => Access::Tenants(vec![tenant.clone()]),
            // A device sends; what it may read, the file has to say.
            Role::Device | Role::Relay | Role::Broker => Access::Tenants(Vec::new()),
        };
        let name = identity.name().to_string();
        Principal::Certificate { name, access }
    }
}

/// What a request shows.
pub(super) enum Credentials {
    /// Basic.
    Password { user: String, password: String },
    /// Bearer.
    Token(String),
}

impl Credentials {
    pub(super) fn of(authorization: &HeaderValue) -> Option<Self> {
        let (scheme, rest) = authorization.to_str().ok()?.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return Some(Credentials::Token(rest.trim().to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let plain = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        let (user, password) = plain.split_once(':')?;
        Some(Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// Users, tokens, and what each may see.
#[derive(Default)]
pub(super) struct Accounts {
    /// User -> bcrypt hash.
    users: BTreeMap<String, String>,
    /// Name -> SHA-256 of the token.
    tokens: BTreeMap<String, [u8; 32]>,
    /// Principal -> what it may see.
    tenants: BTreeMap<String, Access>,
    /// Digests of users, hashes and passwords that fit. Wrong ones are not kept: guesses would push out the others.
    right: Mutex<HashSet<[u8; 32]>>,
    /// Guesses wait for one another, in order, and take one core.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Accounts {
    pub(super) fn new(
        users: BTreeMap<String, String>,
        tokens: BTreeMap<String, [u8; 32]>,
        tenants: BTreeMap<String, Access>,
    ) -> Self {
        Accounts {
            users,
            tokens,
            tenants,
            right: Mutex::default(),
            turn: Arc::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.tokens.is_empty()
    }

    /// Whose credentials they are, if that takes no time to say; a password that was not right before takes some.
    pub(super) fn recall(&self, credentials: &Credentials) -> Option<Option<Principal>> {
        match credentials {
            Credentials::Token(token) => {
                let shown = sha256(&[token.as_bytes()]);
                // Digests tell nothing of a token by the time their comparison takes.
                let found = self.tokens.iter().find(|(_, known)| **known == shown);
                Some(found.map(|(name, _)| Principal::Account(name.clone())))
            }
            Credentials::Password { user, password } => {
                let key = key_of(user, self.users.get(user)?, password);
                let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
                right
                    .contains(&key)
                    .then(|| Some(Principal::Account(user.clone())))
            }
        }
    }

    /// Compares a password with its hash, for tens of milliseconds.
    pub(super) fn compare(&self, credentials: &Credentials) -> Option<Principal> {
        let Credentials::Password { user, password } = credentials else {
            return None;
        };
        let known = self.users.get(user);
        let hash = known.map_or(NOBODY, String::as_str);
        let fits = bcrypt::verify(password, hash).unwrap_or(false);
        known.filter(|_| fits)?;
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MAX_KEPT {
            right.clear();
        }
        right.insert(key_of(user, hash, password));
        Some(Principal::Account(user.clone()))
    }

    /// What the file says of a principal wins; anonymous peers on this machine are trusted.
    pub(super) fn access(&self, principal: &Principal, peer: &Peer) -> Access {
        let said = |name: &String| self.tenants.get(name).cloned();
        match principal {
            Principal::Anonymous if peer.address.ip().to_canonical().is_loopback() => Access::All,
            Principal::Anonymous => Access::least(),
            Principal::Account(name) => said(name).unwrap_or_else(Access::least),
            Principal::Certificate { name, access } => said(name).unwrap_or_else(|| access.clone()),
        }
    }
}

fn key_of(user: &str, hash: &str, password: &str) -> [u8; 32] {
    sha256(&[
        user.as_bytes(),
        b"\0",
        hash.as_bytes(),
        b"\0",
        password.as_bytes(),
    ])
}

/// The digest of some texts in a row.
pub(super) fn sha256(texts: &[&[u8]]) -> [u8; 32] {
    let digest = digest(&SHA256, &texts.concat());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_trusted_without_a_name() {
        for (address, access) in [
            ("127.0.0.1:1", Access::All),
            ("[::1]:1", Access::All),
            ("[::ffff:127.0.0.1]:1", Access::All),
            ("192.0.2.1:1", Access::least()),
        ] {
            let peer = Peer::plain(address.parse().unwrap());
            assert_eq!(
                Accounts::default().access(&peer.principal(), &peer),
                access,
                "{address}"
            );
        }
    }

    #[test]
    fn what_a_wrong_password_costs_is_not_kept() {
        let hash = bcrypt::hash("right", 4).unwrap();
        let users = BTreeMap::from([("alice".to_owned(), hash)]);
        let accounts = Accounts::new(users, BTreeMap::new(), BTreeMap::new());
        let shown = |user: &str, password: &str| Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let alice = Principal::Account("alice".to_owned());
        assert_eq!(accounts.recall(&shown("alice", "right")), None);
        assert_eq!(accounts.compare(&shown("alice", "right")), Some(alice.clone()));
        assert_eq!(accounts.recall(&shown("alice", "right")), Some(Some(alice)));
        for (user, password) in [("alice", "wrong"), ("bob", "right"), ("", "")] {
            assert_eq!(accounts.compare(&shown(user, password)), None);
            assert_eq!(accounts.recall(&shown(user, password)), None);
        }
    }
}
