"""tune check: what it works out, what it tells, and its exit code."""

from harness import Tune, tune_case
from fake_root import FakeRoot

MILLION = 1_000_000


def power_of_two(least):
    return 1 << max(least - 1, 0).bit_length()


def wanted(count, ram_mib, page_kib=4):
    """The formulas, written down a second time."""
    pages = ram_mib * 1024 // page_kib
    memory = min(2 * count, pages // 2)
    return {
        "fs.nr_open": f">={max(1 << 20, power_of_two(count * 12 // 10 + 65536))}",
        "fs.file-max": f">={count * 15 // 10 + 262144}",
        "LimitNOFILE of roost.service": f">={count * 12 // 10 + 4096}",
        "net.core.somaxconn": ">=65535",
        "net.ipv4.tcp_max_syn_backlog": ">=262144" if count >= MILLION else ">=65535",
        "net.ipv4.tcp_migrate_req": "1",
        "memory, KiB": f">={count * 4200 // 1024}",
        "net.ipv4.tcp_mem": f">={memory // 2} {memory * 3 // 4} {memory}",
        "net.core.rmem_max": ">=65536",
        "net.core.wmem_max": ">=65536",
        "net.ipv4.tcp_rmem": "<=4096",
        "net.ipv4.tcp_wmem": "<=4096",
        "vm.min_free_kbytes": f">={min(1 << 20, ram_mib * 1024 // 100)}",
        "net.ipv4.tcp_max_orphans": f">={power_of_two(count // 4)}",
        "net.ipv4.tcp_max_tw_buckets": f">={count * 2}",
        "net.ipv4.tcp_fin_timeout": "<=30",
        "net.ipv4.tcp_tw_reuse": "2",
        "net.ipv4.tcp_slow_start_after_idle": "0",
        "net.ipv4.tcp_keepalive_time": "120",
        "net.ipv4.tcp_keepalive_intvl": "30",
        "net.ipv4.tcp_keepalive_probes": "4",
        "net.ipv4.tcp_notsent_lowat": "16384",
        "net.netfilter.nf_conntrack_max": f">={count * 13 // 10}",
        "net.netfilter.nf_conntrack_buckets": f">={max(8192, power_of_two(count * 13 // 40))}",
        "transparent_hugepage/enabled": "madvise|never",
    }


@tune_case("check works every value out from the connections and the memory")
def values(tune):
    for number, (count, ram_mib, page_kib) in enumerate(
        [(100_000, 2048, 4), (MILLION, 16384, 4), (3_000_000, 32768, 4), (10_000_000, 262_144, 4), (MILLION, 65536, 64), (1, 512, 4)]
    ):
        other = Tune(tune.shell, FakeRoot(tune.host.path / f"host{number}", ram_mib=ram_mib, page_kib=page_kib))
        rows = other("check", "--connections", str(count), code=1).rows
        for key, value in wanted(count, ram_mib, page_kib).items():
            assert rows[key].wanted == value, f"{count} in {ram_mib} MiB: {key}: {rows[key]}, not {value}"


@tune_case("check tells what is, what is wanted, what that lifts and why, and exits 1 while something is short")
def table(tune):
    answer = tune("check", code=1)
    row = answer.rows["net.core.somaxconn"]
    assert (row.state, row.now) == ("low", "4096"), row
    assert all(one.lifts and one.why for one in answer.rows.values()), answer.text
    low = [key for key, one in answer.rows.items() if one.state == "low"]
    assert answer.text.splitlines()[-1].startswith(f"{len(low)} short of 1000000 connections"), answer.text
    assert not answer.complaint, answer.complaint


@tune_case("check exits 0 once everything has been applied, and writes nothing itself")
def all_fits(tune):
    tune("apply")
    answer = tune("check")
    assert answer.text.splitlines()[-1] == "all fits 1000000 connections", answer.text
    assert not [row for row in answer.rows.values() if row.state not in ("ok", "note")], answer.text


@tune_case("what is more than enough is enough")
def more(tune):
    tune.host.set("net/core/somaxconn", "1000000")
    tune.host.set("net/ipv4/tcp_mem", "4000000\t8000000\t9223372036854775807")
    tune.host.set("net/ipv4/tcp_fin_timeout", "5")
    tune.host.set("fs/file-max", "9223372036854775807")
    rows = tune("check", code=1).rows
    for key in ("net.core.somaxconn", "net.ipv4.tcp_mem", "net.ipv4.tcp_fin_timeout", "fs.file-max"):
        assert rows[key].state == "ok", rows[key]


@tune_case("a host whose memory does not carry the connections is short of it, whatever its keys say", ram_mib=2048)
def memory(tune):
    tune("apply", "--force")
    answer = tune("check", code=1)
    assert answer.rows["memory, KiB"].state == "low", answer.text
    assert answer.text.splitlines()[-1].startswith("1 short"), answer.text


@tune_case("the limit of the unit is read as systemd reads it, and a small one is counted in tables")
def unit_limit(tune):
    def row(code=1):
        return tune("check", code=code).rows["LimitNOFILE of roost.service"]

    assert row().now == "524288", "what systemd gives by itself"
    tune.host.write("usr/local/lib/systemd/system/roost.service", "[Service]\nLimitNOFILE=20000\n")
    assert row().now == "20000", row()
    assert "into 53 tables" in row().why or "into 54 tables" in row().why, row()
    tune.host.write("etc/systemd/system/roost.service.d/50-more.conf", "[Service]\nLimitNOFILE=1024:2000000\n")
    assert (row().state, row().now) == ("ok", "2000000"), row()
    tune.host.write("etc/systemd/system/roost.service.d/60-most.conf", "[Service]\nLimitNOFILE=infinity\n")
    assert row().state == "ok", row()
    tune.host.write("etc/systemd/system/roost.service.d/70-bad.conf", "[Service]\nLimitNOFILE=many\n")
    assert row(2).state == "bad", row(2)


@tune_case("a balancer and a load generator want ports and probes of the host, a node does not")
def roles(tune):
    for role in ("proxy", "load"):
        rows = tune("check", "--role", role, code=1).rows
        assert rows["net.ipv4.ip_local_port_range"].wanted == "1024 65535", rows
        assert "16 pairs" in rows["net.ipv4.ip_local_port_range"].why, rows["net.ipv4.ip_local_port_range"]
        assert rows["net.ipv4.tcp_keepalive_time"].state == "low", rows
        # A balancer has two connections for each client.
        assert rows["fs.file-max"].wanted == (">=3262144" if role == "proxy" else ">=1762144"), rows["fs.file-max"]
        assert rows["memory, KiB"].wanted == (">=12890625" if role == "proxy" else ">=4101562"), rows["memory, KiB"]
        assert "LimitNOFILE of roost.service" not in rows
    node = tune("check", code=1).rows
    assert "net.ipv4.ip_local_port_range" not in node
    assert (node["net.ipv4.tcp_keepalive_time"].state, node["net.ipv4.tcp_keepalive_time"].now) == ("ok", "socket")


@tune_case("packets that a core had no room for ask for a longer queue")
def dropped(tune):
    assert "net.core.netdev_max_backlog" not in tune("check", code=1).rows
    tune.host.write("proc/net/softnet_stat", "00000010 00000000 00000000\n0000abcd 0000001f 00000000\n")
    row = tune("check", code=1).rows["net.core.netdev_max_backlog"]
    assert (row.state, row.wanted) == ("low", ">=65536"), row


@tune_case("huge pages are short where they are always given, and fine where they never are")
def huge_pages(tune):
    for text, state in (("[always] madvise never", "low"), ("always [madvise] never", "ok"), ("always madvise [never]", "ok")):
        tune.host.write("sys/kernel/mm/transparent_hugepage/enabled", text + "\n")
        assert tune("check", code=1).rows["transparent_hugepage/enabled"].state == state, text


@tune_case("packets of a card with one queue are advised to go to all cores, and are short of them on demand", cores=36)
def packets(tune):
    queue = "eth0/queues/rx-0/rps_cpus"
    row = tune("check", code=1).rows[queue]
    assert (row.state, row.wanted) == ("note", "fffffffff"), row
    assert tune("check", "--spread", code=1).rows[queue].state == "low"
    # As the kernel shows a mask of more than 32 cores.
    tune.host.write(f"sys/class/net/{queue}", "0000000f,ffffffff\n")
    assert tune("check", "--spread", code=1).rows[queue].state == "ok"


@tune_case("interrupts of a card with a queue for each core want a core each", cores=2, queues=2, interrupts=3)
def interrupts(tune):
    rows = tune("check", "--spread", code=1).rows
    assert [rows[f"irq/{number}/smp_affinity_list"].wanted for number in (30, 31, 32)] == ["0", "1", "0"], rows
    assert not [key for key in rows if "rps_cpus" in key], rows


@tune_case("a file that is read behind tune's own is told, and counted, where it takes the value back")
def overridden(tune):
    tune("apply")
    tune.host.write("etc/sysctl.d/99-sysctl.conf", "# mine\nnet.ipv4.tcp_fin_timeout=10\n\n -net/core/somaxconn = 128\n")
    answer = tune("check", code=1)
    assert answer.complaint.count("\n") == 1, answer.complaint
    assert "/etc/sysctl.d/99-sysctl.conf sets net.core.somaxconn to 128" in answer.complaint, answer.complaint
    tune.host.remove("etc/sysctl.d/99-sysctl.conf")
    tune.host.write("etc/sysctl.d/10-sysctl.conf", "net.core.somaxconn = 128\n")
    assert not tune("check").complaint


@tune_case("in a network namespace of its own the keys of the host are told as such, and do not fail")
def namespace(tune):
    tune.host.in_own_namespace()
    answer = tune("check", code=1)
    assert not answer.complaint, answer.complaint
    for key in ("net.ipv4.tcp_mem", "net.ipv4.tcp_max_orphans", "fs.nr_open", "LimitNOFILE of roost.service"):
        assert answer.rows[key].state == "host", answer.rows[key]
    assert answer.rows["net.core.somaxconn"].state == "low", answer.text


@tune_case("an older kernel and one without connection tracking lack keys, which is told and fine")
def lacking(tune):
    tune("apply")
    for key in ("net/ipv4/tcp_migrate_req", "net/ipv4/tcp_ehash_entries", "net/netfilter"):
        tune.host.remove(f"proc/sys/{key}")
    rows = tune("check").rows
    assert "5.14" in rows["net.ipv4.tcp_migrate_req"].why, rows
    assert "not loaded" in rows["net.netfilter.nf_conntrack_max"].why, rows


@tune_case("the help is the head of the file, and names every option")
def help_text(tune):
    text = tune("--help").text
    for word in ("check", "apply", "revert", "--connections", "--role", "--notrack", "--spread", "--dedicated", "--force", "--dry-run", "--root"):
        assert word in text, word
    assert "set -u" not in text and "#!" not in text, text
