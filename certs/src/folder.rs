//! The certificates folder: the authority, what it issued, and the files that brokers and peers use.
//!
//! ```text
//! ca.crt ca.key            the authority; the bundle may hold further roots
//! crl.pem                  CRLs, one per root
//! server.{crt,key}         the broker's; bridge.*, operator.* likewise
//! devices/<tenant>/<id>.*  devices'; bridges/, operators/, relays/ of a tenant likewise
//! index                    what was issued and revoked
//! lock                     held while writing
//! ```
//! Files are replaced by rename. `ca.crt` is written last when a folder is made: where it is, the folder is whole.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use wire::identity::IdentityError;
use wire::name::OWN_TENANT;
use wire::{DeviceId, DeviceName, Identity, Role, Tenant, Timestamp};

use crate::authority::{Authority, AuthorityError, CA_DAYS, IssuedPem, PART_DAYS, SignedPem};
use crate::files::{self, FileError, Kind, PemFault};
use crate::index::{Index, IndexEntry, IndexFault, Revocation};
use crate::issue;
use crate::request::SigningRequest;
use crate::revocation::{CrlState, RevocationFault, parse_crl};
use crate::serial::Serial;

/// Why the folder could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// There is a CA already; it is not replaced.
    #[error("{0} has a CA already")]
    AlreadyThere(PathBuf),
    /// No CA key here: the certificates were made elsewhere.
    #[error("{0} has no ca.key; issue certificates where the CA was made, or run `backhaul certs init`")]
    NoAuthority(PathBuf),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority is broken or cannot issue.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The name cannot have its role.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The index is broken.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// crl.pem is not PEM.
    #[error("crl.pem: {0}")]
    CrlPem(PemFault),
    /// crl.pem holds something else.
    #[error("crl.pem: {0}")]
    Crl(#[from] RevocationFault),
    /// Nothing issued has this name or serial.
    #[error("nothing issued here has the name or serial {0:?}")]
    NotIssued(String),
}

/// The end of one CRL in a PEM file.
const CRL_END: &str = "-----END X509 CRL-----";

/// What `certs init` makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOptions {
    /// Names of the server besides localhost, the loopback addresses and the host's.
    pub server_names: Vec<String>,
    /// How long the CA is valid, days.
    pub ca_days: u32,
    /// How long server, bridge and operator are valid, days.
    pub part_days: u32,
}

impl Default for InitOptions {
    fn default() -> Self {
        InitOptions {
            server_names: Vec::new(),
            ca_days: CA_DAYS,
            part_days: PART_DAYS,
        }
    }
}

/// A certificates folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertsFolder {
    path: PathBuf,
}

impl CertsFolder {
    /// The folder at a path; it need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        CertsFolder { path: path.into() }
    }

    /// The certificates folder of a common folder: `<dir>/certs`, or `dir` itself if that is one.
    pub fn of_dir(dir: &Path) -> Self {
        let itself = CertsFolder::new(dir);
        if itself.has_ca() {
            itself
        } else {
            CertsFolder::new(dir.join("certs"))
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has a CA certificate, its own or a foreign one.
    pub fn has_ca(&self) -> bool {
        self.path.join("ca.crt").exists()
    }

    /// Makes a CA and certificates for server, bridge and operator. A folder with a CA is left alone
    /// ([`FolderError::AlreadyThere`]).
    pub fn init(&self, options: &InitOptions, now: Timestamp) -> Result<(), FolderError> {
        fs::create_dir_all(&self.path).map_err(files::at(&self.path))?;
        let _lock = self.lock()?;
        if self.has_ca() {
            return Err(FolderError::AlreadyThere(self.path.clone()));
        }
        let authority = Authority::create(options.ca_days, now)?;
        self.write("ca.key", Kind::Secret, authority.key_pem().as_bytes())?;
        self.write(
            "crl.pem",
            Kind::Public,
            authority.crl_pem(&CrlState::new(), now)?.as_bytes(),
        )?;
        let mut index = Index::default();
        for (role, id) in [
            (Role::Broker, "broker"),
            (Role::Bridge, "bridge"),
            (Role::Operator, "operator"),
        ] {
            let identity = own(role, id)?;
            let names = server_names(&options.server_names);
            let issued = authority.issue(&identity, &names, options.part_days, now)?;
            self.record(&mut index, [entry(&identity, &issued.serial, issued.not_after)])?;
            self.write_pair(&identity, &issued)?;
        }
        Ok(self.write("ca.crt", Kind::Public, authority.ca_pem().as_bytes())?)
    }

    /// Issues for a server, bridge, operator or relay, and returns the certificate's path. The files of backhaul's own
    /// parts are replaced in place.
    pub fn issue_part(
        &self,
        identity: &Identity,
        names: &[String],
        days: u32,
        now: Timestamp,
    ) -> Result<PathBuf, FolderError> {
        let _lock = self.lock()?;
        let authority = self.authority()?;
        let issued = authority.issue(identity, &server_names(names), days, now)?;
        self.record(
            &mut self.index()?,
            [entry(identity, &issued.serial, issued.not_after)],
        )?;
        self.write_pair(identity, &issued)
    }

    /// Issues for devices, into `<out>/<tenant>/<id>.{crt,key}`; `out` is by default `devices` in this folder.
    /// Existing files are replaced; certificates issued earlier stay valid.
    pub fn issue_devices(
        &self,
        names: &[DeviceName],
        days: u32,
        out: Option<&Path>,
        now: Timestamp,
    ) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        let authority = self.authority()?;
        let mut issued = Vec::with_capacity(names.len());
        for name in names {
            let identity = Identity::new(Role::Device, name.tenant().clone(), name.device().clone())?;
            issued.push((identity, authority.issue_device(name, days, now)?));
        }
        let entries = issued
            .iter()
            .map(|(identity, pem)| entry(identity, &pem.serial, pem.not_after));
        self.record(&mut self.index()?, entries)?;
        let devices = self.path.join("devices");
        for (identity, pem) in &issued {
            write_device(out.unwrap_or(&devices), identity.name(), pem)?;
        }
        match out {
            Some(out) => Ok(files::replace(
                &out.join("ca.crt"),
                Kind::Public,
                authority.ca_pem().as_bytes(),
            )?),
            None => Ok(()),
        }
    }

    /// Certifies a requester's own key and enters it into the index.
    pub fn sign(
        &self,
        request: &SigningRequest,
        identity: &Identity,
        days: u32,
        now: Timestamp,
    ) -> Result<SignedPem, FolderError> {
        let _lock = self.lock()?;
        let signed = self.authority()?.sign(request, identity, days, now)?;
        self.record(
            &mut self.index()?,
            [entry(identity, &signed.serial, signed.not_after)],
        )?;
        Ok(signed)
    }

    /// Revokes every certificate of a name (`<tenant>.<id>`), or one serial (hex), by signing a new CRL. Doing it again
    /// is harmless.
    pub fn revoke(&self, name_or_serial: &str, now: Timestamp) -> Result<Vec<Revocation>, FolderError> {
        let _lock = self.lock()?;
        let authority = self.authority()?;
        let mut index = self.index()?;
        let revoked = index.matching(name_or_serial);
        if revoked.is_empty() {
            return Err(FolderError::NotIssued(name_or_serial.to_owned()));
        }
        let (mut state, others) = self.crl_state(&authority)?;
        for one in &revoked {
            state.revoke(&one.serial, now);
        }
        for entry in &mut index.entries {
            if entry.revoked_at.is_none() && revoked.iter().any(|one| one.serial == entry.serial) {
                entry.revoked_at = Some(now);
            }
        }
        let crl = authority.crl_pem(&state, now)? + &others;
        // The CRL first: it is what counts, and a second `revoke` mends the index.
        self.write("crl.pem", Kind::Public, crl.as_bytes())?;
        self.write("index", Kind::Public, index.to_text().as_bytes())?;
        Ok(revoked)
    }

    /// What was issued here.
    pub fn index(&self) -> Result<Index, FolderError> {
        let path = self.path.join("index");
        if !path.exists() {
            return Ok(Index::default());
        }
        Ok(Index::parse(&String::from_utf8_lossy(&files::read(&path)?))?)
    }

    /// The authority, if its key is here.
    pub fn authority(&self) -> Result<Authority, FolderError> {
        if !self.path.join("ca.key").exists() {
            return Err(FolderError::NoAuthority(self.path.clone()));
        }
        Ok(Authority::load(&self.path)?)
    }

    /// The state of the authority's own CRL, and the PEM of other CAs' CRLs in the file.
    fn crl_state(&self, authority: &Authority) -> Result<(CrlState, String), FolderError> {
        let path = self.path.join("crl.pem");
        if !path.exists() {
            return Ok((CrlState::new(), String::new()));
        }
        let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
        let (mut state, mut others) = (CrlState::new(), String::new());
        for block in text
            .split_inclusive(CRL_END)
            .filter(|block| block.contains(CRL_END))
        {
            let ders = files::crls(block.as_bytes()).map_err(FolderError::CrlPem)?;
            let crls: Vec<_> = ders.iter().map(|der| parse_crl(der)).collect::<Result<_, _>>()?;
            match crls
                .iter()
                .find(|crl| crl.issuer().as_raw() == authority.subject())
            {
                Some(own) => state = CrlState::after(own)?,
                None => others += &format!("{}\n", block.trim()),
            }
        }
        Ok((state, others))
    }

    fn lock(&self) -> Result<File, FileError> {
        let path = self.path.join("lock");
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        open.and_then(|file| file.lock().map(|()| file))
            .map_err(files::at(&path))
    }

    fn record(&self, index: &mut Index, new: impl IntoIterator<Item = IndexEntry>) -> Result<(), FileError> {
        index.entries.extend(new);
        self.write("index", Kind::Public, index.to_text().as_bytes())
    }

    fn write(&self, name: &str, kind: Kind, content: &[u8]) -> Result<(), FileError> {
        files::replace_durably(&self.path.join(name), kind, content)
    }

    fn write_pair(&self, identity: &Identity, pem: &IssuedPem) -> Result<PathBuf, FolderError> {
        let stem = self.path.join(stem(identity));
        let parent = stem.parent().unwrap_or(&self.path);
        fs::create_dir_all(parent).map_err(files::at(parent))?;
        let cert = stem.with_extension("crt");
        files::replace_durably(&stem.with_extension("key"), Kind::Secret, pem.key_pem.as_bytes())?;
        files::replace_durably(&cert, Kind::Public, pem.cert_pem.as_bytes())?;
        Ok(cert)
    }
}

/// Where a peer's files are, without their suffix: the broker's own parts at the top, those of tenants in folders. Ids
/// hold neither dots nor slashes, so no id can name another's file.
fn stem(identity: &Identity) -> PathBuf {
    let (tenant, id) = (identity.name().tenant(), identity.name().device().as_str());
    let plural = match identity.role() {
        Role::Broker if id == "broker" => return "server".into(),
        Role::Bridge | Role::Operator if tenant.as_str() == OWN_TENANT && id == identity.role().as_str() => {
            return id.into();
        }
        Role::Broker => "servers",
        Role::Bridge => "bridges",
        Role::Operator => "operators",
        Role::Relay => "relays",
        Role::Device => "devices",
    };
    Path::new(plural).join(tenant.as_str()).join(id)
}

/// Not pressed to the disk one by one, or a thousand devices would take minutes: a lost one is issued again.
fn write_device(out: &Path, name: &DeviceName, pem: &IssuedPem) -> Result<(), FileError> {
    let folder = out.join(name.tenant().as_str());
    fs::create_dir_all(&folder).map_err(files::at(&folder))?;
    let stem = folder.join(name.device().as_str());
    files::replace(&stem.with_extension("key"), Kind::Secret, pem.key_pem.as_bytes())?;
    files::replace(&stem.with_extension("crt"), Kind::Public, pem.cert_pem.as_bytes())
}

fn own(role: Role, id: &str) -> Result<Identity, FolderError> {
    let tenant = Tenant::new(OWN_TENANT).map_err(IdentityError::from)?;
    Ok(Identity::new(
        role,
        tenant,
        DeviceId::new(id).map_err(IdentityError::from)?,
    )?)
}

fn entry(identity: &Identity, serial: &Serial, not_after: Timestamp) -> IndexEntry {
    IndexEntry {
        serial: serial.clone(),
        identity: identity.clone(),
        not_after,
        revoked_at: None,
    }
}

/// The names of this host and those asked for, each once.
fn server_names(more: &[String]) -> Vec<String> {
    let mut names = issue::local_names();
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests;
