//! `backhaul certs`: the authority's commands.
//!
//! Only arguments, times and output are here; what a certificate holds and how files are replaced is the library's
//! business (docs/identity.md).

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use certs::{CA_DAYS, CertsFolder, DEVICE_DAYS, IndexEntry, InitOptions, PART_DAYS, SigningRequest};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Table, presets};
use wire::name::OWN_TENANT;
use wire::{DeviceId, DeviceName, Identity, Role, Tenant, Timestamp};

/// Make a certificate authority, issue and revoke certificates.
#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    /// The folder of broker and bridge; certificates are in its `certs`.
    #[arg(long, value_name = "DIR", default_value = "backhaul", global = true)]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a CA, and certificates for server, bridge and operator.
    Init(Init),
    /// Issue certificates and keys.
    #[command(subcommand)]
    Issue(Issue),
    /// Certify a key that a device made itself.
    Sign(Sign),
    /// Revoke every certificate of a name, or one serial.
    Revoke {
        /// `<tenant>.<id>`, or a serial in hex.
        #[arg(value_name = "NAME|SERIAL", required = true)]
        what: Vec<String>,
    },
    /// List what was issued, with expiry.
    List,
}

#[derive(Debug, Args)]
struct Init {
    /// A further DNS name or IP address of the broker; localhost and this host's name are always in.
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// How long the CA is valid, days.
    #[arg(long, default_value_t = CA_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Subcommand)]
enum Issue {
    /// The broker's server certificate.
    Server {
        /// A further DNS name or IP address; localhost and this host's name are always in.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// How long it is valid, days.
        #[arg(long, default_value_t = PART_DAYS, value_parser = days())]
        days: u32,
    },
    /// A bridge's certificate.
    Bridge(Part),
    /// An operator's certificate.
    Operator(Part),
    /// Certificates of devices.
    Device(Devices),
}

#[derive(Debug, Args)]
struct Part {
    /// Only for this tenant; without it, for all tenants.
    #[arg(long, default_value = OWN_TENANT)]
    tenant: Tenant,
    /// Its id; without it, the role's name.
    #[arg(long)]
    id: Option<DeviceId>,
    /// How long it is valid, days.
    #[arg(long, default_value_t = PART_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
struct Devices {
    /// The tenant of ids that name none.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// Device ids, or `<tenant>.<id>`.
    #[arg(value_name = "ID", required_unless_present = "from")]
    ids: Vec<String>,
    /// A file with one id or `<tenant>.<id>` per line.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write to `DIR/<tenant>/<id>.{crt,key}`, with the CA beside them.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How long they are valid, days.
    #[arg(long, default_value_t = DEVICE_DAYS, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
struct Sign {
    /// The signing request, PEM or DER.
    csr: PathBuf,
    /// The name to certify; without it, the request's CN.
    #[arg(long, value_name = "TENANT.ID")]
    name: Option<DeviceName>,
    /// What the certificate is for.
    #[arg(long, value_enum, default_value_t = SignedRole::Device)]
    role: SignedRole,
    /// How long it is valid, days; 10 years for a device, 2 for others.
    #[arg(long, value_parser = days())]
    days: Option<u32>,
    /// Where the certificate goes; without it, to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SignedRole {
    Device,
    Bridge,
    Operator,
}

impl From<SignedRole> for Role {
    fn from(role: SignedRole) -> Role {
        match role {
            SignedRole::Device => Role::Device,
            SignedRole::Bridge => Role::Bridge,
            SignedRole::Operator => Role::Operator,
        }
    }
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// Runs a `certs` command.
pub(crate) fn run(args: CertsArgs) -> Result<()> {
    let folder = CertsFolder::of_dir(&args.dir);
    let now = now()?;
    let mut out = io::stdout().lock();
    match args.command {
        Command::Init(init) => make(&folder, init, now, &mut out),
        Command::Issue(Issue::Device(devices)) => issue_devices(&folder, &devices, now, &mut out),
        Command::Issue(Issue::Server { names, days }) => {
            let identity = Identity::new(Role::Broker, Tenant::new(OWN_TENANT)?, DeviceId::new("broker")?)?;
            let path = folder.issue_part(&identity, &names, days, now)?;
            Ok(writeln!(out, "{}", path.display())?)
        }
        Command::Issue(Issue::Bridge(part)) => issue_part(&folder, Role::Bridge, part, now, &mut out),
        Command::Issue(Issue::Operator(part)) => issue_part(&folder, Role::Operator, part, now, &mut out),
        Command::Sign(request) => sign(&folder, &request, now, &mut out),
        Command::Revoke { what } => what
            .iter()
            .try_for_each(|one| revoke(&folder, one, now, &mut out)),
        Command::List => list(&folder, now, &mut out),
    }
}

fn now() -> Result<Timestamp> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    Ok(Timestamp::from_ms(i64::try_from(since.as_millis())?))
}

fn make(folder: &CertsFolder, init: Init, now: Timestamp, out: &mut impl Write) -> Result<()> {
    let options = InitOptions {
        server_names: init.names,
        ca_days: init.days,
        ..InitOptions::default()
    };
    folder.init(&options, now)?;
    let path = folder.path().display();
    writeln!(out, "CA, server, bridge and operator certificates are in {path}")?;
    writeln!(out, "Keep {path}/ca.key safe: whoever has it can be any device.")?;
    Ok(writeln!(
        out,
        "Next: backhaul certs issue device --tenant TENANT ID"
    )?)
}

fn issue_part(
    folder: &CertsFolder,
    role: Role,
    part: Part,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<()> {
    let id = part.id.map_or_else(|| DeviceId::new(role.as_str()), Ok)?;
    let path = folder.issue_part(&Identity::new(role, part.tenant, id)?, &[], part.days, now)?;
    Ok(writeln!(out, "{}", path.display())?)
}

fn issue_devices(
    folder: &CertsFolder,
    devices: &Devices,
    now: Timestamp,
    out: &mut impl Write,
) -> Result<()> {
    let mut names = Vec::new();
    for id in &devices.ids {
        names.push(device_name(&devices.tenant, id).with_context(|| format!("device {id:?}"))?);
    }
    if let Some(file) = &devices.from {
        names.extend(names_in(file, &devices.tenant)?);
    }
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if names.is_empty() {
        bail!("no device is named");
    }
    folder.issue_devices(&names, devices.days, devices.out.as_deref(), now)?;
    let stored = devices
        .out
        .clone()
        .unwrap_or_else(|| folder.path().join("devices"));
    match names.as_slice() {
        [one] => writeln!(out, "{}/{}/{}.crt", stored.display(), one.tenant(), one.device())?,
        many => writeln!(out, "{} certificates are in {}", many.len(), stored.display())?,
    }
    Ok(())
}

fn names_in(file: &Path, tenant: &Tenant) -> Result<Vec<DeviceName>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |(at, line)| device_name(tenant, line).with_context(|| format!("{}:{at}", file.display()));
    lines.map(parse).collect()
}

fn device_name(tenant: &Tenant, text: &str) -> Result<DeviceName> {
    match text.contains('.') {
        true => Ok(text.parse()?),
        false => Ok(DeviceName::new(tenant.clone(), text.parse()?)),
    }
}

fn sign(folder: &CertsFolder, args: &Sign, now: Timestamp, out: &mut impl Write) -> Result<()> {
    let bytes = fs::read(&args.csr).with_context(|| args.csr.display().to_string())?;
    let request = SigningRequest::parse(&bytes)?;
    let identity = request.identity(args.role.into(), args.name.as_ref())?;
    let default = if args.role == SignedRole::Device {
        DEVICE_DAYS
    } else {
        PART_DAYS
    };
    let signed = folder.sign(&request, &identity, args.days.unwrap_or(default), now)?;
    match &args.out {
        Some(path) => fs::write(path, &signed.cert_pem).with_context(|| path.display().to_string()),
        None => Ok(out.write_all(signed.cert_pem.as_bytes())?),
    }
}

fn revoke(folder: &CertsFolder, what: &str, now: Timestamp, out: &mut impl Write) -> Result<()> {
    for revoked in folder.revoke(what, now)? {
        match revoked.identity {
            Some(identity) => writeln!(
                out,
                "revoked {} ({} {})",
                revoked.serial,
                identity.role(),
                identity.name()
            )?,
            None => writeln!(out, "revoked {} (not in the index)", revoked.serial)?,
        }
    }
    Ok(())
}

fn list(folder: &CertsFolder, now: Timestamp, out: &mut impl Write) -> Result<()> {
    let index = folder.index()?;
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["NAME", "ROLE", "EXPIRES", "STATE", "SERIAL"]);
    for entry in index.entries() {
        table.add_row([
            entry.identity.name().to_string(),
            entry.identity.role().to_string(),
            date(entry.not_after),
            state(entry, now),
            entry.serial.to_string(),
        ]);
    }
    Ok(writeln!(out, "{}", table.trim_fmt())?)
}

/// Certificates with less time than this are shown with the days that are left.
const SOON_DAYS: i64 = 90;

fn state(entry: &IndexEntry, now: Timestamp) -> String {
    let left = (entry.not_after.ms() - now.ms()).div_euclid(86_400_000);
    match entry.revoked_at {
        Some(at) => format!("revoked {}", date(at)),
        None if left < 0 => "expired".to_owned(),
        None if left < SOON_DAYS => format!("{left} days left"),
        None => "valid".to_owned(),
    }
}

/// `YYYY-MM-DD` in UTC: the Gregorian calendar counted in 400-year eras that start in March.
fn date(at: Timestamp) -> String {
    let days = at.ms().div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(Timestamp::from_ms(seconds * 1000)), text);
        }
    }

    #[test]
    fn a_file_names_devices_with_and_without_tenant() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# fleet\ngw-1\n\n  acme.gw-2  \n").unwrap();
        let names = names_in(file.path(), &Tenant::new("default").unwrap()).unwrap();
        assert_eq!(
            names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["default.gw-1", "acme.gw-2"]
        );
        fs::write(file.path(), "gw-1\nbad/name\n").unwrap();
        let error = names_in(file.path(), &Tenant::new("default").unwrap()).unwrap_err();
        assert!(error.to_string().ends_with(":2"), "{error}");
    }
}
