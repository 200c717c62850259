//! Collectors `conntrack`, `netclass`, `netdev`, `netstat` and `sockstat`.

use procfs::FromRead as _;
use procfs::net::{DeviceStatus, InterfaceDeviceStatus};

use super::{CollectError, Root, number};
use crate::exposition::MetricType::{Counter, Gauge, Unknown};
use crate::exposition::PageWriter;

pub(super) fn conntrack(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    for (file, name, help) in [
        (
            "nf_conntrack_count",
            "node_nf_conntrack_entries",
            "Number of currently allocated flow entries for connection tracking.",
        ),
        (
            "nf_conntrack_max",
            "node_nf_conntrack_entries_limit",
            "Maximum size of connection tracking table.",
        ),
    ] {
        let value = number(file, Some(&root.read(format!("proc/sys/net/netfilter/{file}"))?))?;
        page.single(name, Gauge, help, value);
    }
    Ok(())
}

type DeviceCounter = (&'static str, fn(&DeviceStatus) -> u64);

const DEVICE_COUNTERS: [DeviceCounter; 16] = [
    ("receive_bytes", |d| d.recv_bytes),
    ("receive_compressed", |d| d.recv_compressed),
    ("receive_drop", |d| d.recv_drop),
    ("receive_errs", |d| d.recv_errs),
    ("receive_fifo", |d| d.recv_fifo),
    ("receive_frame", |d| d.recv_frame),
    ("receive_multicast", |d| d.recv_multicast),
    ("receive_packets", |d| d.recv_packets),
    ("transmit_bytes", |d| d.sent_bytes),
    ("transmit_carrier", |d| d.sent_carrier),
    ("transmit_colls", |d| d.sent_colls),
    ("transmit_compressed", |d| d.sent_compressed),
    ("transmit_drop", |d| d.sent_drop),
    ("transmit_errs", |d| d.sent_errs),
    ("transmit_fifo", |d| d.sent_fifo),
    ("transmit_packets", |d| d.sent_packets),
];

pub(super) fn netdev(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let text = root.read("proc/net/dev")?;
    let status =
        InterfaceDeviceStatus::from_read(text.as_bytes()).map_err(|e| CollectError::Format(e.to_string()))?;
    let mut devices: Vec<DeviceStatus> = status.0.into_values().collect();
    devices.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for (statistic, value) in DEVICE_COUNTERS {
        let name = format!("node_network_{statistic}_total");
        page.family(&name, Counter, &format!("Network device statistic {statistic}."));
        for device in &devices {
            page.sample(&name, &[("device", &device.name)], value(device) as f64);
        }
    }
    Ok(())
}

/// What /sys/class/net says of one interface.
struct Interface {
    name: String,
    attributes: Vec<(&'static str, String)>,
}

impl Interface {
    fn read(root: &Root, name: String) -> Self {
        let read = |file: &'static str| Some((file, root.attribute(format!("sys/class/net/{name}/{file}"))?));
        let files = [
            "address",
            "broadcast",
            "carrier",
            "carrier_changes",
            "duplex",
            "flags",
            "ifalias",
            "mtu",
            "operstate",
            "speed",
        ];
        Interface {
            attributes: files.into_iter().filter_map(read).collect(),
            name,
        }
    }

    fn text(&self, file: &str) -> &str {
        self.attributes
            .iter()
            .find(|(name, _)| *name == file)
            .map_or("", |(_, text)| text)
    }

    fn number(&self, file: &str) -> Option<f64> {
        self.text(file).parse().ok()
    }

    fn admin_state(&self) -> &'static str {
        let flags = u32::from_str_radix(self.text("flags").trim_start_matches("0x"), 16);
        match flags {
            Ok(flags) if flags & 1 == 1 => "up",
            _ => "down",
        }
    }
}

pub(super) fn netclass(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let names = root.list("sys/class/net")?;
    // `bonding_masters` is a file among the interfaces.
    let interfaces = names
        .into_iter()
        .filter(|name| root.path(format!("sys/class/net/{name}")).is_dir());
    let interfaces: Vec<Interface> = interfaces.map(|name| Interface::read(root, name)).collect();
    let help = "Value is 1 if operstate is 'up', 0 otherwise.";
    page.family("node_network_up", Gauge, help);
    for interface in &interfaces {
        let up = f64::from(u8::from(interface.text("operstate") == "up"));
        page.sample("node_network_up", &[("device", &interface.name)], up);
    }
    let help = "Non-numeric data from /sys/class/net/<iface>, value is always 1.";
    page.family("node_network_info", Gauge, help);
    for interface in &interfaces {
        let labels = [
            ("address", interface.text("address")),
            ("adminstate", interface.admin_state()),
            ("broadcast", interface.text("broadcast")),
            ("device", &interface.name),
            ("duplex", interface.text("duplex")),
            ("ifalias", interface.text("ifalias")),
            ("operstate", interface.text("operstate")),
        ];
        page.sample("node_network_info", &labels, 1.0);
    }
    for (property, kind, value) in PROPERTIES {
        let name = format!("node_network_{property}");
        page.family(&name, kind, &format!("Network device property: {property}"));
        for interface in &interfaces {
            if let Some(value) = value(interface) {
                page.sample(&name, &[("device", &interface.name)], value);
            }
        }
    }
    Ok(())
}

type Property = (
    &'static str,
    crate::exposition::MetricType,
    fn(&Interface) -> Option<f64>,
);

const PROPERTIES: [Property; 4] = [
    ("carrier", Gauge, |i| i.number("carrier")),
    ("carrier_changes_total", Counter, |i| i.number("carrier_changes")),
    ("mtu_bytes", Gauge, |i| i.number("mtu")),
    // Megabits; -1 where the driver does not know.
    ("speed_bytes", Gauge, |i| {
        i.number("speed")
            .filter(|s| *s >= 0.0)
            .map(|s| s * 1000.0 * 1000.0 / 8.0)
    }),
];

pub(super) fn sockstat(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let mut text = root.read("proc/net/sockstat")?;
    // Absent without IPv6.
    if let Ok(six) = root.read("proc/net/sockstat6") {
        text.push_str(&six);
    }
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else {
            continue;
        };
        let mut words = rest.split_ascii_whitespace();
        while let (Some(state), Some(value)) = (words.next(), words.next()) {
            let value: f64 = number("proc/net/sockstat", Some(value))?;
            sockstat_value(protocol, state, value, page);
        }
    }
    Ok(())
}

fn sockstat_value(protocol: &str, state: &str, value: f64, page: &mut PageWriter) {
    let name = format!("node_sockstat_{protocol}_{state}");
    let help = match protocol {
        "sockets" => "Number of IPv4 sockets in use.".to_owned(),
        _ => format!("Number of {protocol} sockets in state {state}."),
    };
    page.single(&name, Gauge, &help, value);
    if state == "mem" {
        let help = format!("Number of {protocol} sockets in state mem_bytes.");
        page.single(&format!("{name}_bytes"), Gauge, &help, value * page_size());
    }
}

fn page_size() -> f64 {
    procfs::page_size() as f64
}

/// node_exporter's choice of what /proc/net/{netstat,snmp,snmp6} count.
pub(super) fn netstat(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let mut fields = paired(&root.read("proc/net/netstat")?);
    fields.extend(paired(&root.read("proc/net/snmp")?));
    if let Ok(six) = root.read("proc/net/snmp6") {
        fields.extend(six.lines().filter_map(snmp6_field));
    }
    fields.retain(|(protocol, field, _)| is_chosen(protocol, field));
    fields.sort_unstable();
    fields.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
    for (protocol, field, value) in fields {
        let value: f64 = number(&field, Some(&value))?;
        let help = format!("Statistic {protocol}{field}.");
        page.single(&format!("node_netstat_{protocol}_{field}"), Unknown, &help, value);
    }
    Ok(())
}

type NetstatField = (String, String, String);

/// A line `Proto: names` and a line `Proto: values` in turn.
fn paired(text: &str) -> Vec<NetstatField> {
    let mut fields = Vec::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if protocol == same {
            let pairs = names
                .split_ascii_whitespace()
                .zip(values.split_ascii_whitespace());
            fields
                .extend(pairs.map(|(name, value)| (protocol.to_owned(), name.to_owned(), value.to_owned())));
        }
    }
    fields
}

/// `Ip6InReceives 12` is field InReceives of protocol Ip6.
fn snmp6_field(line: &str) -> Option<NetstatField> {
    let mut words = line.split_ascii_whitespace();
    let (name, value) = (words.next()?, words.next()?);
    let (protocol, field) = name.split_at(name.find('6')? + 1);
    Some((protocol.to_owned(), field.to_owned(), value.to_owned()))
}

fn is_chosen(protocol: &str, field: &str) -> bool {
    let of = |fields: &[&str]| fields.contains(&field);
    of(&["InErrors", "InErrs"])
        || match protocol {
            "Ip" => of(&["Forwarding"]),
            "Ip6" | "IpExt" => of(&["InOctets", "OutOctets"]),
            "Icmp" | "Icmp6" => of(&["InMsgs", "OutMsgs"]),
            "TcpExt" => {
                field.starts_with("Listen")
                    || field.starts_with("Syncookies")
                    || of(&["TCPOFOQueue", "TCPRcvQDrop", "TCPSynRetrans", "TCPTimeouts"])
            }
            "Tcp" => of(&[
                "ActiveOpens",
                "CurrEstab",
                "InSegs",
                "OutRsts",
                "OutSegs",
                "PassiveOpens",
                "RetransSegs",
            ]),
            "Udp" | "Udp6" => of(&[
                "InDatagrams",
                "NoPorts",
                "OutDatagrams",
                "RcvbufErrors",
                "SndbufErrors",
            ]),
            _ => false,
        }
}
