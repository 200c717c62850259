#!/usr/bin/env python3
"""CPU of evaluating rules over a fleet: `backhaul serve` and peers on the same fleet's data and the same rule file.

  tests/bench/rules.py PAGES [DEVICES [RULES [SECONDS]]]

PAGES: a folder of recorded exposition pages, <unix ms>.gz each. Defaults: 1000 devices, 1000 rules in groups of 50 every
15 s, measured for 90 s. A server at a time is loaded with 24 scrapes of each device that end now, then reads the rules on
SIGHUP; CPU is its own clock, of vmalert its own and VictoriaMetrics's. Environment as for queries.py, and VMALERT.
"""
import os, re, signal, sys, tempfile, time
import urllib.request

import queries
from queries import Server, free_port, get

SCRAPES = 24

# Of each kind one in ten rules records, the others are alerts of which few or none fire.
KINDS = [
    ("alert", "node_load1 > {n}"),
    ("alert", "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes) > 99.{n}"),
    ("alert", "rate(node_network_receive_errs_total[5m]) > {n}"),
    ("alert", "up{{job=\"node\"}} == -{n}"),
    ("record", "avg by (device_id) (rate(node_cpu_seconds_total{{mode=\"idle\"}}[5m]))"),
    ("alert", "predict_linear(node_filesystem_avail_bytes{{mountpoint=\"/\"}}[5m], 3600) < -{n}"),
    ("alert", "time() - node_boot_time_seconds < {n}"),
    ("alert", "node_filefd_allocated / node_filefd_maximum > 0.9{n}"),
    ("record", "count by (device_id) (node_network_up == 1)"),
    ("alert", "rate(node_context_switches_total[5m]) > 1e9 + {n}"),
]


def rules(count):
    lines = ["groups:"]
    for n in range(count):
        if n % 50 == 0:
            lines += [f"- name: g{n // 50}", "  interval: 15s", "  rules:"]
        kind, expr = KINDS[n % len(KINDS)]
        expr = expr.format(n=n)
        if kind == "record":
            lines += [f"  - record: bench:rule{n}:value", f"    expr: '{expr}'"]
        else:
            lines += [f"  - alert: Rule{n}", f"    expr: '{expr}'", "    for: 1m", "    labels: {severity: page}",
                      "    annotations: {summary: '{{ $labels.device_id }} is at {{ $value }}'}"]
    return "\n".join(lines) + "\n"


def sums(server, path, names):
    page = get(server.url(path)).decode()
    return [sum(float(v) for v in re.findall(rf"^{name}(?:{{[^\n]*}})? (\S+)$", page, re.M)) for name in names]


def measure(what, servers, watched, names, groups, seconds):
    for _ in range(120):
        if sums(watched, "/metrics", names)[0] >= groups:
            break
        time.sleep(1)
    (before, missed_before), cpu = sums(watched, "/metrics", names), sum(s.cpu_ms() for s in servers)
    time.sleep(seconds)
    (after, missed), cpu = sums(watched, "/metrics", names), sum(s.cpu_ms() for s in servers) - cpu
    memory = sum(s.memory_mb("VmHWM") for s in servers)
    rounds = (after - before - (missed - missed_before)) / groups
    print(f"{what:28} {cpu / 1000 / seconds:8.3f} cores  {cpu / 1000 / rounds:8.2f} s a round  {rounds:5.1f} rounds  "
          f"{missed - missed_before:4.0f} missed  peak RSS {memory:6.0f} MB", flush=True)


def ours(work, pages, devices, text, groups, seconds):
    binary, http, mqtt, folder = os.environ.get("BACKHAUL", "target/release/backhaul"), free_port(), free_port(), f"{work}/ours"
    config, file = f"{work}/serve.yml", f"{work}/rules-ours.yml"
    with open(config, "w") as f:
        f.write(f"rule_files: ['{work}/rules-ours*.yml']\n")
    server = Server("backhaul", [binary, "serve", "--config.file", config, "--dir", folder, "--mqtt", f"127.0.0.1:{mqtt}",
                                 "--web.listen-address", f"127.0.0.1:{http}"], http, "/-/ready", work)
    queries.loaded([binary, "simulate", "--connect", f"127.0.0.1:{mqtt}", "--certs", f"{folder}/certs", "--pages", pages,
                    "--devices", str(devices), "--scrapes", str(SCRAPES), "--batch", "4", "--prefix", "dev-", "--json"])
    write(file, text)
    server.process.send_signal(signal.SIGHUP)
    names = ["backhaul_rule_group_iterations_total", "backhaul_rule_group_iterations_missed_total"]
    measure("backhaul", [server], server, names, groups, seconds)


def write(file, text):
    with open(file, "w") as f:
        f.write(text)


def prometheus(work, pages, devices, text, groups, seconds):
    port, file = free_port(), f"{work}/rules-prom.yml"
    write(f"{work}/prometheus.yml", f"rule_files: ['{work}/rules-prom*.yml']\n")
    argv = [os.environ["PROMETHEUS"], f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/prom",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    server = queries.peer("prometheus", argv, port, "/-/ready", work, pages, devices, SCRAPES)
    write(file, text)
    server.process.send_signal(signal.SIGHUP)
    names = ["prometheus_rule_group_iterations_total", "prometheus_rule_group_iterations_missed_total"]
    measure("prometheus", [server], server, names, groups, seconds)


def victoria(work, pages, devices, text, groups, seconds):
    port, alert = free_port(), free_port()
    argv = [os.environ["VICTORIA"], f"-storageDataPath={work}/victoria", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=1d"]
    server = queries.peer("victoria", argv, port, "/health", work, pages, devices, SCRAPES)
    write(f"{work}/rules-vm.yml", text)
    base = server.url("")
    argv = [os.environ["VMALERT"], f"-rule={work}/rules-vm.yml", f"-datasource.url={base}", f"-remoteWrite.url={base}",
            "-notifier.blackhole", f"-httpListenAddr=127.0.0.1:{alert}"]
    vmalert = Server("vmalert", argv, alert, "/health", work)
    names = ["vmalert_iteration_total", "vmalert_iteration_missed_total"]
    measure("vmalert and VictoriaMetrics", [server, vmalert], vmalert, names, groups, seconds)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    pages = sys.argv[1]
    devices, count, seconds = [int(n) for n in sys.argv[2:5]] + [1000, 1000, 90][len(sys.argv) - 2:]
    text, groups = rules(count), -(-count // 50)
    systems = [ours]
    systems += [prometheus] if os.environ.get("PROMETHEUS") else []
    systems += [victoria] if os.environ.get("VICTORIA") and os.environ.get("VMALERT") else []
    for system in systems:
        with tempfile.TemporaryDirectory(prefix="bench-rules.", dir=os.environ.get("WORK")) as work:
            try:
                system(work, pages, devices, text, groups, seconds)
            finally:
                Server.end_all()


if __name__ == "__main__":
    main()
