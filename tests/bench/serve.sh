#!/usr/bin/env bash
# CPU, memory and disk of `backhaul serve` while `backhaul simulate` sends it a fleet, and of peers that are installed.
#
#   tests/bench/serve.sh PAGES [DEVICES [SCRAPES [BATCH ...]]]
#
# PAGES: a folder of recorded exposition pages, <unix ms>.gz each. Defaults: 1000 devices, 40 scrapes, batches of 4 and 1.
# Environment: BACKHAUL, the binary (default target/release/backhaul); RUNS, how often (1); WORK, a scratch folder.
# Peers: PROMETHEUS and VICTORIA, their binaries (default: those in PATH), sent the same fleet by remote write by
# FLEETLOAD, a load generator that takes --pages --devices --scrapes --url and prints JSON with "samples"; what is not
# there is said and skipped. CPU is user and system time of the server's process alone, from /proc/PID/stat.
set -euo pipefail

pages=${1:?a folder of recorded pages, see the head of this script}
devices=${2:-1000}
scrapes=${3:-40}
batches=("${@:4}")
[ ${#batches[@]} -gt 0 ] || batches=(4 1)
backhaul=${BACKHAUL:-target/release/backhaul}
prometheus=${PROMETHEUS:-$(command -v prometheus || true)}
victoria=${VICTORIA:-$(command -v victoria-metrics || true)}
fleetload=${FLEETLOAD:-}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/bench-serve.XXXXXX")
server=

stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop; rm -rf "$work"' EXIT

# User and system ticks so far.
ticks() { sed 's/.*) //' "/proc/$server/stat" | awk '{ print $12, $13 }'; }

# One of the port numbers that nothing listens on.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# Starts a server and waits until a URL answers: start URL COMMAND...
start() {
    local url=$1
    shift
    "$@" >"$work/log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        curl -sf -o /dev/null "$url" && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    echo "it did not start: $*" >&2
    tail -5 "$work/log" >&2
    exit 1
}

# Prints a line: report NAME FOLDER "TICKS BEFORE" SAMPLES [MORE]
report() {
    local after rss written rest
    after=$(ticks)
    rss=$(awk '/^VmHWM/ { print $2 * 1024 }' "/proc/$server/status")
    written=$(awk '/^write_bytes/ { print $2 }' "/proc/$server/io")
    rest=$(($(du -s --block-size=1 "$2" | cut -f1)))
    awk -v name="$1" -v before="$3" -v after="$after" -v hz="$(getconf CLK_TCK)" -v n="$4" -v rss="$rss" \
        -v written="$written" -v rest="$rest" -v more="${5:-}" 'BEGIN {
        split(before, b); split(after, a); m = n / 1e6
        printf "%-24s %.1f M samples: CPU %.3f s/M (user %.3f, system %.3f), peak RSS %.0f MB, written %.2f B/sample, on disk %.2f B/sample%s\n",
            name, m, (a[1] + a[2] - b[1] - b[2]) / hz / m, (a[1] - b[1]) / hz / m, (a[2] - b[2]) / hz / m,
            rss / 1e6, written / n, rest / n, more
    }'
}

field() { sed -n "s/.*\"$1\":[ ]*\\([0-9.]*\\).*/\\1/p" "$2" | tail -1; }

serve() {
    local batch=$1 mqtt http folder=$work/backhaul before
    mqtt=$(free_port)
    http=$(free_port)
    start "http://127.0.0.1:$http/-/ready" "$backhaul" serve --dir "$folder" \
        --mqtt "127.0.0.1:$mqtt" --web.listen-address "127.0.0.1:$http"
    before=$(ticks)
    "$backhaul" simulate --connect "127.0.0.1:$mqtt" --certs "$folder/certs" --pages "$pages" \
        --devices "$devices" --scrapes "$scrapes" --batch "$batch" --json >"$work/report" 2>"$work/simulate.log"
    report "backhaul, $batch a batch" "$folder/data" "$before" "$(field acked "$work/report")" \
        ", wire $(field wire_bytes_per_sample "$work/report") B/sample"
    stop
    rm -rf "$folder"
}

# peer NAME READY-PATH COMMAND...; PORT in the command is the port.
peer() {
    local name=$1 ready=$2 port before
    shift 2
    port=$(free_port)
    mkdir -p "$work/peer"
    start "http://127.0.0.1:$port$ready" "${@//PORT/$port}"
    before=$(ticks)
    "$fleetload" --pages "$pages" --max-pages 200 --url "http://127.0.0.1:$port/api/v1/write" --connections 4 \
        --preencode --devices "$devices" --scrapes "$scrapes" >"$work/report"
    # Past the flushes that what was taken in still causes.
    sleep 15
    report "$name" "$work/peer" "$before" "$(field samples "$work/report")"
    stop
    rm -rf "$work/peer"
}

echo "$devices devices x $scrapes scrapes of $pages"
for _ in $(seq "${RUNS:-1}"); do
    for batch in "${batches[@]}"; do
        serve "$batch"
    done
done
if [ -z "$fleetload" ]; then
    echo "peers skipped: FLEETLOAD names no remote-write load generator"
    exit
fi
if [ -n "$prometheus" ]; then
    echo 'global: {}' >"$work/prometheus.yml"
    peer prometheus /-/ready "$prometheus" "--config.file=$work/prometheus.yml" "--storage.tsdb.path=$work/peer" \
        --web.listen-address=127.0.0.1:PORT --web.enable-remote-write-receiver --log.level=warn
else
    echo "prometheus skipped: not in PATH, PROMETHEUS not set"
fi
if [ -n "$victoria" ]; then
    peer victoria-metrics /health "$victoria" "-storageDataPath=$work/peer" -httpListenAddr=127.0.0.1:PORT \
        -retentionPeriod=15d -loggerLevel=WARN
else
    echo "victoria-metrics skipped: not in PATH, VICTORIA not set"
fi
