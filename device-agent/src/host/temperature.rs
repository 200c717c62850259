//! Collectors `hwmon` (temperatures only) and `thermal_zone`, from /sys/class.

use std::path::Path;

use super::{CollectError, Root, number};
use crate::exposition::MetricType::Gauge;
use crate::exposition::PageWriter;

/// A temperature sensor of a chip.
struct Sensor {
    chip: String,
    name: String,
    label: Option<String>,
    celsius: f64,
}

pub(super) fn hwmon(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let (mut chips, mut sensors) = (Vec::new(), Vec::new());
    for monitor in root.list("sys/class/hwmon")? {
        let folder = format!("sys/class/hwmon/{monitor}");
        let chip = chip_name(root, &folder, &monitor);
        if let Some(name) = root.attribute(format!("{folder}/name")) {
            chips.push((chip.clone(), clean(&name)));
        }
        for file in root.list(&folder)? {
            let Some(name) = file
                .strip_suffix("_input")
                .filter(|name| name.starts_with("temp"))
            else {
                continue;
            };
            // A sensor may be there and refuse to be read.
            let Some(text) = root.attribute(format!("{folder}/{file}")) else {
                continue;
            };
            let millidegrees: f64 = number(&file, Some(&text))?;
            let label = root.attribute(format!("{folder}/{name}_label"));
            let name = name.to_owned();
            sensors.push(Sensor {
                chip: chip.clone(),
                name,
                label,
                celsius: millidegrees * 0.001,
            });
        }
    }
    if chips.is_empty() && sensors.is_empty() {
        return Err(CollectError::NoData);
    }
    write_hwmon(&chips, &sensors, page);
    Ok(())
}

fn write_hwmon(chips: &[(String, String)], sensors: &[Sensor], page: &mut PageWriter) {
    page.family(
        "node_hwmon_chip_names",
        Gauge,
        "Annotation metric for human-readable chip names",
    );
    for (chip, name) in chips {
        page.sample(
            "node_hwmon_chip_names",
            &[("chip", chip), ("chip_name", name)],
            1.0,
        );
    }
    page.family(
        "node_hwmon_sensor_label",
        Gauge,
        "Label for given chip and sensor",
    );
    for sensor in sensors {
        if let Some(label) = &sensor.label {
            let labels = [
                ("chip", &*sensor.chip),
                ("label", label),
                ("sensor", &sensor.name),
            ];
            page.sample("node_hwmon_sensor_label", &labels, 1.0);
        }
    }
    page.family(
        "node_hwmon_temp_celsius",
        Gauge,
        "Hardware monitor for temperature (input)",
    );
    for sensor in sensors {
        let labels = [("chip", &*sensor.chip), ("sensor", &sensor.name)];
        page.sample("node_hwmon_temp_celsius", &labels, sensor.celsius);
    }
}

/// hwmon numbers depend on the order of module loading; the device's place on its bus does not.
fn chip_name(root: &Root, folder: &str, monitor: &str) -> String {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name)
            .map(|n| clean(&n.to_string_lossy()))
            .unwrap_or_default()
    };
    if let Ok(device) = std::fs::canonicalize(root.path(format!("{folder}/device"))) {
        let (bus, name) = (part(device.parent()), part(Some(&device)));
        match (bus.is_empty(), name.is_empty()) {
            (false, false) => return format!("{bus}_{name}"),
            (true, false) => return name,
            (_, true) => {}
        }
    }
    let name = root
        .attribute(format!("{folder}/name"))
        .map(|name| clean(&name))
        .unwrap_or_default();
    if name.is_empty() { clean(monitor) } else { name }
}

fn clean(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == ':' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    name.trim_matches('_').to_owned()
}

pub(super) fn thermal_zone(root: &Root, page: &mut PageWriter) -> Result<(), CollectError> {
    let mut zones = Vec::new();
    for entry in root.list("sys/class/thermal")? {
        let Some(zone) = entry.strip_prefix("thermal_zone") else {
            continue;
        };
        let read = |file: &str| root.attribute(format!("sys/class/thermal/{entry}/{file}"));
        if let (Some(kind), Some(temp)) = (read("type"), read("temp")) {
            zones.push((
                zone.to_owned(),
                kind,
                number::<f64>("temp", Some(&temp))? / 1000.0,
            ));
        }
    }
    if zones.is_empty() {
        return Err(CollectError::NoData);
    }
    page.family("node_thermal_zone_temp", Gauge, "Zone temperature in Celsius");
    for (zone, kind, celsius) in zones {
        page.sample(
            "node_thermal_zone_temp",
            &[("type", &kind), ("zone", &zone)],
            celsius,
        );
    }
    Ok(())
}
