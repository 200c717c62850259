#!/usr/bin/env python3
"""CPU per query of `backhaul serve` and of peers on the same fleet's data, in one run, queries interleaved.

  tests/bench/queries.py PAGES [DEVICES [SCRAPES [RUNS]]]

PAGES: a folder of recorded exposition pages, <unix ms>.gz each. Defaults: 100 devices, 400 scrapes, 20 runs.
Environment: BACKHAUL, our binaries, divided by commas (default target/release/backhaul); INTERVAL, seconds between scrapes
(15); ONLY, a pattern of the names of queries; WORK, a scratch folder. Peers: PROMETHEUS and VICTORIA, their binaries, loaded
by FLEETLOAD, as for serve.sh; what is not named is left out. The queries are those of queries.txt beside this file; each is
asked of every server in turn, once the servers rest from the load. CPU is the time that all threads of the server ran, from
its CPU clock; the median of the runs. Standard library only.
"""
import json, os, re, shutil, socket, statistics, subprocess, sys, tempfile, time
import urllib.parse, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
INTERVAL = int(os.environ.get("INTERVAL", "15"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(url, timeout=300):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


class Server:
    started = []

    def __init__(self, name, argv, port, ready, work):
        self.name, self.port, self.end = name, port, None
        with open(f"{work}/{name}.log", "wb") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        Server.started.append(self)
        while True:
            try:
                get(self.url(ready), 2)
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit(f"{name} did not start: see {work}/{name}.log")
                time.sleep(0.1)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    @classmethod
    def end_all(cls):
        for server in cls.started:
            server.process.terminate()
        for server in cls.started:
            server.process.wait()
        cls.started.clear()

    def cpu_ms(self):
        # The process's own CPU clock: threads that have ended count as well.
        return time.clock_gettime_ns(~self.process.pid << 3 | 2) / 1e6

    def rest(self):
        """Waits until it is done with what the load left behind: compactions, seals, flushes."""
        for _ in range(120):
            before = self.cpu_ms()
            time.sleep(5)
            if self.cpu_ms() - before < 150:
                return

    def memory_mb(self, key):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(key + r":\s+(\d+)", f.read())[1]) / 1000


def loaded(argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{argv[0]}: {done.stderr[-500:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(binary, number, work, pages, devices, scrapes):
    http, mqtt, folder = free_port(), free_port(), f"{work}/backhaul{number}"
    argv = [binary, "serve", "--dir", folder, "--mqtt", f"127.0.0.1:{mqtt}", "--web.listen-address", f"127.0.0.1:{http}"]
    server = Server(f"backhaul{number}", argv, http, "/-/ready", work)
    loaded([binary, "simulate", "--connect", f"127.0.0.1:{mqtt}", "--certs", f"{folder}/certs", "--pages", pages,
            "--devices", str(devices), "--scrapes", str(scrapes), "--interval", f"{INTERVAL}s", "--batch", "4", "--prefix", "dev-",
            "--json"])
    newest = urllib.parse.quote("max(timestamp(node_load1))")
    answer = json.loads(get(server.url(f"/api/v1/query?query={newest}")))
    server.end = float(answer["data"]["result"][0]["value"][1])
    return server


def peer(name, argv, port, ready, work, pages, devices, scrapes):
    server = Server(name, argv, port, ready, work)
    load = loaded([os.environ["FLEETLOAD"], "--pages", pages, "--url", server.url("/api/v1/write"), "--connections", "4",
                   "--merge", "--devices", str(devices), "--scrapes", str(scrapes), "--interval-ms", str(INTERVAL * 1000)])
    if load["failed_samples"]:
        raise SystemExit(f"{name} refused {load['failed_samples']:.0f} samples: {load['error']}")
    server.end = load["end_ms"] / 1000
    return server


def peers(work, *load):
    if program := os.environ.get("PROMETHEUS"):
        port, config = free_port(), f"{work}/prometheus.yml"
        with open(config, "w") as f:
            f.write("global: {}\n")
        yield peer("prometheus", [program, f"--config.file={config}", f"--storage.tsdb.path={work}/prometheus",
                   f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=warn"],
                   port, "/-/ready", work, *load)
    if program := os.environ.get("VICTORIA"):
        port = free_port()
        yield peer("victoria", [program, f"-storageDataPath={work}/victoria", f"-httpListenAddr=127.0.0.1:{port}",
                   "-retentionPeriod=15d", "-search.latencyOffset=0s", "-search.maxUniqueTimeseries=2000000",
                   "-search.maxQueryDuration=300s", "-loggerLevel=WARN"], port, "/health", work, *load)


def path(kind, query, end, scrapes):
    text = urllib.parse.quote(query)
    if kind == "instant":
        return f"/api/v1/query?query={text}&time={end:.3f}&nocache=1"
    if kind == "get":
        query = query.replace("{start}", f"{end - 1800:.0f}").replace("{end}", f"{end:.0f}")
        return urllib.parse.quote(query, safe="/?&=")
    back, step = (1800, 15) if kind == "range" else (min(scrapes * INTERVAL, 86400), 60)
    return f"/api/v1/query_range?query={text}&start={end - back:.3f}&end={end:.3f}&step={step}&nocache=1"


def measure(server, url):
    before = server.cpu_ms()
    get(url)
    return server.cpu_ms() - before


def compare(servers, scrapes, runs):
    print(f"{'CPU ms per query':24}" + "".join(f"{server.name:>14}" for server in servers))
    with open(f"{HERE}/queries.txt") as f:
        queries = [[x.strip() for x in line.split("|", 2)] for line in f if line.strip() and line[0] != "#"]
    only = re.compile(os.environ.get("ONLY", ""))
    for name, kind, query in (q for q in queries if only.search(q[0])):
        urls = [server.url(path(kind, query, server.end, scrapes)) for server in servers]
        times = [[] for _ in servers]
        for run in range(runs + 1):
            for server, url, of_server in zip(servers, urls, times):
                cpu = measure(server, url)
                if run > 0:  # the first one fills caches
                    of_server.append(cpu)
        print(f"{name:24}" + "".join(f"{statistics.median(t):14.2f}" for t in times), flush=True)
    for what, key in (("RSS at the end, MB", "VmRSS"), ("peak RSS, MB", "VmHWM")):
        print(f"{what:24}" + "".join(f"{server.memory_mb(key):14.0f}" for server in servers))


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    pages = sys.argv[1]
    devices, scrapes, runs = [int(n) for n in sys.argv[2:5]] + [100, 400, 20][len(sys.argv) - 2:]
    servers = []
    with tempfile.TemporaryDirectory(prefix="bench-queries.", dir=os.environ.get("WORK")) as work:
        try:
            load = (pages, devices, scrapes)
            for server in peers(work, *load):
                servers.append(server)
            for number, binary in enumerate(os.environ.get("BACKHAUL", "target/release/backhaul").split(",")):
                servers.append(ours(binary, number, work, *load))
            for server in servers:
                server.rest()
            compare(servers, scrapes, runs)
        finally:
            Server.end_all()


if __name__ == "__main__":
    main()
