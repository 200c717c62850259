//! Collectors against folders of files as a kernel writes them, and against this machine.

use std::fs;

use super::*;

fn host_with(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let host = Host::at(folder.path());
    (folder, host)
}

fn page(host: &mut Host) -> String {
    String::from_utf8(host.collect().to_vec()).unwrap()
}

fn assert_lines(page: &str, lines: &[&str]) {
    for line in lines {
        assert!(page.lines().any(|l| l == *line), "{line} is not in\n{page}");
    }
}

#[test]
fn cpu_times_have_node_exporter_s_names_and_never_fall() {
    let stat = "cpu  9 9 9 9\ncpu0 3357 0 4313 1362393 5 6 7 8 9 10\ncpu3 1 2 3 4 5 6 7 8 9 10\nintr 12345 1 2\nctxt 77\nbtime 1700000000\nprocesses 26442\nprocs_running 2\nprocs_blocked 1\n";
    let (folder, mut host) = host_with(&[("proc/stat", stat)]);
    let first = page(&mut host);
    assert_lines(
        &first,
        &[
            "# TYPE node_cpu_seconds_total counter",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 33.57",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 13623.93",
            "node_cpu_seconds_total{cpu=\"3\",mode=\"steal\"} 0.08",
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 0.1",
            "node_boot_time_seconds 1700000000.0",
            "node_intr_total 12345.0",
            "node_procs_blocked 1.0",
            "node_scrape_collector_success{collector=\"cpu\"} 1.0",
            "node_scrape_collector_success{collector=\"meminfo\"} 0.0",
        ],
    );
    fs::write(
        folder.path().join("proc/stat"),
        stat.replace("1362393 5", "1362380 4").replace("3357", "3358"),
    )
    .unwrap();
    let second = page(&mut host);
    assert_lines(
        &second,
        &[
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 13623.93",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"iowait\"} 0.05",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 33.58",
        ],
    );
    fs::write(folder.path().join("proc/stat"), stat.replace("1362393", "100")).unwrap();
    assert_lines(
        &page(&mut host),
        &["node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1.0"],
    );
}

#[test]
fn memory_disks_and_pressure_keep_node_exporter_s_units() {
    let (_folder, mut host) = host_with(&[
        (
            "proc/meminfo",
            "MemTotal:       16280124 kB\nActive(anon):  100 kB\nHugePages_Total:       3\n",
        ),
        (
            "proc/vmstat",
            "nr_free_pages 5\npgfault 12\npgpgin 3\npgsteal_kswapd 1\noom_kill 0\n",
        ),
        (
            "proc/diskstats",
            " 254 0 vda 479 2 16 479 1 3 8 31 0 700 510 5 6 7 8 9 10\n 254 1 vda1 1 1 1 1 1 1 1 1 0 1 1\n 7 0 loop0 1 1 1 1 1 1 1 1 0 1 1\n 259 0 nvme0n1 9 0 0 0 0 0 0 0 0 0 0\n",
        ),
        (
            "proc/pressure/cpu",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234567\n",
        ),
        (
            "proc/pressure/io",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n",
        ),
        (
            "proc/pressure/memory",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=2\n",
        ),
    ]);
    let page = page(&mut host);
    assert_lines(
        &page,
        &[
            "node_memory_MemTotal_bytes 16670846976.0",
            "node_memory_Active_anon_bytes 102400.0",
            "node_memory_HugePages_Total 3.0",
            "node_vmstat_pgfault 12.0",
            // As node_exporter: the product with 0.001, not the quotient by 1000.
            "node_disk_read_time_seconds_total{device=\"vda\"} 0.47900000000000004",
            "node_disk_written_bytes_total{device=\"vda\"} 4096.0",
            "node_disk_flush_requests_time_seconds_total{device=\"vda\"} 0.01",
            "node_disk_reads_completed_total{device=\"nvme0n1\"} 9.0",
            "node_pressure_cpu_waiting_seconds_total 1.234567",
            "node_pressure_memory_stalled_seconds_total 2e-6",
        ],
    );
    for absent in ["vda1", "loop0", "nr_free_pages", "pgsteal"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn network_files_become_node_exporter_s_series() {
    let (_folder, mut host) = host_with(&[
        (
            "proc/net/dev",
            "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n  eth0: 1000 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        ),
        (
            "proc/net/sockstat",
            "sockets: used 290\nTCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1\n",
        ),
        (
            "proc/net/netstat",
            "TcpExt: SyncookiesSent TW TCPTimeouts\nTcpExt: 5 6 7\n",
        ),
        ("proc/net/snmp", "Tcp: RtoMin ActiveOpens\nTcp: 200 9\n"),
        ("proc/net/snmp6", "Ip6InOctets  55\nIp6InReceives 1\n"),
        ("sys/class/net/eth0/operstate", "up\n"),
        ("sys/class/net/eth0/speed", "1000\n"),
        ("sys/class/net/eth0/mtu", "1500\n"),
        ("sys/class/net/eth0/flags", "0x1003\n"),
        ("sys/class/net/eth0/address", "02:fc:00:00:00:01\n"),
        ("sys/class/net/bonding_masters", "\n"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "12\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "65536\n"),
    ]);
    assert_lines(
        &page(&mut host),
        &[
            "node_network_receive_bytes_total{device=\"eth0\"} 1000.0",
            "node_network_transmit_compressed_total{device=\"eth0\"} 16.0",
            "node_network_up{device=\"eth0\"} 1.0",
            "node_network_speed_bytes{device=\"eth0\"} 125000000.0",
            "node_network_mtu_bytes{device=\"eth0\"} 1500.0",
            "node_network_info{address=\"02:fc:00:00:00:01\",adminstate=\"up\",broadcast=\"\",device=\"eth0\",duplex=\"\",ifalias=\"\",operstate=\"up\"} 1.0",
            "node_sockstat_sockets_used 290.0",
            "node_sockstat_TCP_tw 4.0",
            &format!("node_sockstat_TCP_mem_bytes {:?}", procfs::page_size() as f64),
            "node_netstat_TcpExt_SyncookiesSent 5.0",
            "node_netstat_Tcp_ActiveOpens 9.0",
            "node_netstat_Ip6_InOctets 55.0",
            "node_nf_conntrack_entries 12.0",
        ],
    );
}

#[test]
fn filesystems_and_sensors_are_found_below_the_root() {
    let (folder, mut host) = host_with(&[
        (
            "proc/1/mounts",
            "/dev/vda / ext4 rw,relatime 0 0\n/dev/vdb /data\\040x ext4 ro 0 0\nproc /proc proc rw 0 0\n/dev/vdc /var/lib/docker/overlay2/x ext4 rw 0 0\n/dev/vdd /gone ext4 rw 0 0\n",
        ),
        ("data x/file", ""),
        ("sys/class/hwmon/hwmon0/name", "coretemp\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "42500\n"),
        ("sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n"),
        ("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n"),
        ("sys/class/thermal/thermal_zone0/temp", "41000\n"),
    ]);
    let page = page(&mut host);
    assert_lines(
        &page,
        &[
            "node_filesystem_readonly{device=\"/dev/vdb\",device_error=\"\",fstype=\"ext4\",mountpoint=\"/data x\"} 1.0",
            "node_filesystem_device_error{device=\"/dev/vdd\",device_error=\"No such file or directory\",fstype=\"ext4\",mountpoint=\"/gone\"} 1.0",
            "node_hwmon_temp_celsius{chip=\"coretemp\",sensor=\"temp1\"} 42.5",
            "node_hwmon_sensor_label{chip=\"coretemp\",label=\"Package id 0\",sensor=\"temp1\"} 1.0",
            "node_thermal_zone_temp{type=\"x86_pkg_temp\",zone=\"0\"} 41.0",
        ],
    );
    let size = page
        .lines()
        .find(|l| l.starts_with("node_filesystem_size_bytes{device=\"/dev/vda\""))
        .unwrap();
    let expected = nix::sys::statvfs::statvfs(folder.path()).unwrap();
    assert!(
        size.ends_with(&format!(
            " {:?}",
            (expected.blocks() * expected.fragment_size()) as f64
        )),
        "{size}"
    );
    assert!(!page.contains("docker") && !page.contains("fstype=\"proc\""));
}

#[test]
fn this_machine_gives_a_page_that_parses() {
    let mut host = Host::default();
    let page = page(&mut host);
    let mut entries = crate::exposition::Entries::new(page.as_bytes(), Default::default());
    let mut samples = 0;
    while let Some(entry) = entries.next(b"").unwrap() {
        if let crate::exposition::Entry::Sample(sample) = entry {
            sample.series.parse(&Default::default()).unwrap();
            samples += 1;
        }
    }
    assert!(samples > 100, "{page}");
    for collector in [
        "cpu", "loadavg", "meminfo", "netdev", "stat", "time", "uname", "filefd", "vmstat",
    ] {
        assert_lines(
            &page,
            &[&format!(
                "node_scrape_collector_success{{collector=\"{collector}\"}} 1.0"
            )],
        );
    }
}

#[test]
fn garbage_in_every_file_fails_collectors_and_nothing_else() {
    let files = [
        "proc/stat",
        "proc/meminfo",
        "proc/vmstat",
        "proc/diskstats",
        "proc/net/dev",
        "proc/loadavg",
        "proc/1/mounts",
        "proc/net/sockstat",
        "proc/sys/fs/file-nr",
    ];
    for garbage in [
        "",
        "cpu0 x\n",
        ":\n::\n",
        "a b c d e f g h i j k l m n o\n",
        "eth0: 1\n",
        "\u{fffd}\u{0}",
    ] {
        let (_folder, mut host) = host_with(&files.map(|file| (file, garbage)));
        assert_lines(
            &page(&mut host),
            &[
                "node_scrape_collector_success{collector=\"time\"} 1.0",
                "node_scrape_collector_success{collector=\"loadavg\"} 0.0",
            ],
        );
    }
}
