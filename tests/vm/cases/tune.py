"""`tune` with a kernel of its own: what belongs to the whole host is changed for real, and brought back."""

import contextlib
import re

from harness import PORT, QUICK, TUNE, case

# More than the memory of the guest holds: what is wanted is then more than what is there, for every key.
MANY = ["--connections", "4000000", "--force"]
CLIENTS = 5
# What changes by itself; the last one with the size of the table that the module is loaded with.
RESTLESS = re.compile(
    r"fs\.(dentry-state|file-nr|inode-nr|inode-state|aio-nr)|kernel\.(random\..*|ns_last_pid|pty\.nr|perf_.*|threads-max)|net\.netfilter\.nf_conntrack_(count|expect_max)"
)
PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
PACKETS = "/sys/class/net/eth0/queues/rx-0/rps_cpus"
# What apply is expected to change here, at least.
CHANGED = {
    "fs.nr_open", "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_migrate_req", "net.core.netdev_max_backlog",
    "net.ipv4.tcp_mem", "vm.min_free_kbytes", "net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_slow_start_after_idle", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", PAGES, PACKETS,
}  # fmt: skip


def values(guest):
    """Every key of the kernel that does not change by itself, with the two that are no sysctl."""
    listed = guest.shell("sysctl --all 2> /dev/null; for file in " + f"{PAGES} {PACKETS}" + '; do echo "$file = $(cat $file)"; done')
    pairs = (line.partition(" = ") for line in listed.splitlines())
    return {key: value.split() for key, _, value in pairs if not RESTLESS.fullmatch(key)}


def changed(before, after):
    """The keys whose values are not the same, with both."""
    return {key: (before.get(key), after.get(key)) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@case("tune applies every key of the host to a running kernel, twice is once, a boot makes the same of its files, and revert brings every value back", seconds=180)
def whole_host(world):
    world.install()
    guest = world.guest
    guest.run("modprobe", "nf_conntrack")
    drop_packets(guest)
    # As somebody has set it who knows better than the kernel, which raises it for huge pages.
    guest.run("sysctl", "--quiet", "vm.min_free_kbytes=5000")
    before, files = values(guest), world.files()
    try:
        guest.run(TUNE, "apply", "--spread", *MANY)
        applied = values(guest)
        assert changed(before, applied).keys() >= CHANGED, CHANGED - changed(before, applied).keys()
        said = guest.run(TUNE, "apply", "--spread", *MANY)
        assert said.startswith("nothing to change"), said
        keys = changed(before, applied).keys()
        start_anew(guest, before, keys)
        anew = {key: pair for key, pair in changed(applied, values(guest)).items() if key in keys}
        assert anew == {}, anew
        said = guest.run(TUNE, "check", "--spread", *MANY[:2], code=1)
        assert re.findall(r"^low +(.*?)  ", said, re.MULTILINE) == ["memory, KiB"], said
    finally:
        guest.run(TUNE, "revert")
    left = changed(before, values(guest))
    assert left == {}, left
    assert world.files() == files, sorted(world.files() ^ files)


def start_anew(guest, before, keys):
    """Brings these keys back to what they were, as a boot does, and lets those load the drop-ins who do so then."""
    sysctls = " ".join(f"'{key}={' '.join(before[key])}'" for key in keys if not key.startswith(("/", "net.netfilter")))
    guest.shell(
        f"""set -e
        echo always > {PAGES}
        echo 0 > {PACKETS}
        sysctl --quiet --write {sysctls}
        modprobe --remove nf_conntrack
        udevadm trigger --settle --action=add --subsystem-match=net
        systemd-tmpfiles --create
        modprobe nf_conntrack
        /lib/systemd/systemd-sysctl"""
    )


@case("with --notrack clients are kept out of connection tracking, and revert lets them be tracked again")
def notrack(world):
    with world.node(**QUICK) as guest:
        guest.shell("modprobe nf_conntrack && nft 'table inet watch { chain input { type filter hook input priority 0; ct state established accept; }; }'")
        assert newly_tracked(world) == CLIENTS
        guest.run(TUNE, "apply", "--connections", "1000", "--notrack", PORT)
        assert newly_tracked(world) == 0, guest.run("nft", "list", "ruleset")
        guest.run(TUNE, "revert")
        assert newly_tracked(world) == CLIENTS
        assert guest.run("nft", "list", "tables") == "table inet watch\n"
        guest.run("nft", "delete", "table", "inet", "watch")


def newly_tracked(world):
    """How many more connections are tracked while some clients are there."""
    count = lambda: int(world.guest.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))
    with contextlib.ExitStack() as ends:
        before = count()
        for _ in range(CLIENTS):
            ends.enter_context(world.connect())
        return count() - before


def drop_packets(guest):
    """Makes the kernel drop packets, so that its queue for them is to be lengthened: many arrive at once, and few may wait."""
    guest.run("sysctl", "--quiet", "net.core.netdev_max_backlog=1")
    guest.run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "slot", "1s", "1s")
    guest.run("bash", "-c", "for packet in $(seq 30); do echo > /dev/udp/127.0.0.1/9; done")
    dropped = lambda: any(int(line.split()[1], 16) for line in guest.run("cat", "/proc/net/softnet_stat").splitlines())
    guest.until("packets are dropped", dropped)
    guest.run("tc", "qdisc", "del", "dev", "lo", "root")
    guest.run("sysctl", "--quiet", "net.core.netdev_max_backlog=1000")
