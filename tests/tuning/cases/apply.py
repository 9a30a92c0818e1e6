"""tune apply and revert on fake hosts: what is written, and that nothing of it is left."""

import re

from fake_root import FakeRoot
from harness import Tune, differences, programs, snapshot, tune_case

DROP_INS = {
    "etc/sysctl.d/90-roost-descriptors.conf": ["fs.nr_open", "fs.file-max"],
    "etc/sysctl.d/90-roost-queues.conf": ["net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_migrate_req"],
    "etc/sysctl.d/90-roost-memory.conf": ["net.ipv4.tcp_mem", "vm.min_free_kbytes"],
    "etc/sysctl.d/90-roost-ends.conf": ["net.ipv4.tcp_max_orphans", "net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_fin_timeout"],
    "etc/sysctl.d/90-roost-idle.conf": ["net.ipv4.tcp_slow_start_after_idle"],
    "etc/sysctl.d/90-roost-conntrack.conf": ["-net.netfilter.nf_conntrack_max", "-net.netfilter.nf_conntrack_buckets"],
}
OTHERS = ["etc/systemd/system/roost.service.d/20-capacity.conf", "etc/modprobe.d/roost-conntrack.conf"]
STATE = "var/lib/roost-tune/saved"


def keys_of(text):
    """The keys of a drop-in with their values, and that each has its reason above it."""
    found = {}
    for lifts, why, key, value in re.findall(r"^# Lifts: (.+)\.\n# Why: (.+)\.\n(\S+) = (.*)$", text, re.MULTILINE):
        assert lifts and why
        found[key] = value
    assert len(found) == len(re.findall(r"^[^#\n]", text, re.MULTILINE)), text
    return found


def unchanged(before, tune):
    changed = differences(before, snapshot(tune.host.path), times=False)
    assert not changed, changed


@tune_case("apply writes a drop-in for each concern, each key with what it lifts and why, and loads them")
def drop_ins(tune):
    before = snapshot(tune.host.path)
    tune("apply")
    for name, keys in DROP_INS.items():
        written = keys_of(tune.host.read(name))
        assert list(written) == keys, f"{name}: {written}"
        for key, value in written.items():
            path = key.removeprefix("-").replace(".", "/")
            assert tune.host.sysctl(path).split() == value.split(), key
    files = [name for name in differences(before, snapshot(tune.host.path)) if (tune.host.path / name).is_file() and name.startswith(("etc", "var"))]
    assert files == sorted([*DROP_INS, *OTHERS, STATE]), files
    assert "\nLimitNOFILE=1204096\n" in tune.host.read(OTHERS[0])
    assert "\noptions nf_conntrack hashsize=524288\n" in tune.host.read(OTHERS[1])


@tune_case("to apply twice changes nothing")
def twice(tune):
    tune("apply")
    before = snapshot(tune.host.path)
    assert tune("apply").text == "nothing to change\n"
    assert not differences(before, snapshot(tune.host.path))


@tune_case("revert leaves the tree as it was, to the byte, values and folders included", cores=4, queues=1)
def back(tune):
    tune.host.remove("etc")
    for options in ([], ["--notrack", "80,443"], ["--spread"], ["--dedicated"], ["--role", "proxy"], ["--connections", "3000000"]):
        before = snapshot(tune.host.path)
        tune("apply", *options)
        assert differences(before, snapshot(tune.host.path))
        tune("revert")
        unchanged(before, tune)
    assert tune("revert").text.startswith("nothing to take back")


@tune_case("huge pages go back to what they were, and are set again when the host starts")
def huge_pages(tune):
    tune.host.write("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
    tune("apply")
    assert tune.host.read("sys/kernel/mm/transparent_hugepage/enabled") == "madvise\n"
    assert "\nw /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n" in tune.host.read("etc/tmpfiles.d/roost-pages.conf")
    tune("revert")
    assert tune.host.read("sys/kernel/mm/transparent_hugepage/enabled") == "always\n"
    assert not (tune.host.path / "etc/tmpfiles.d").exists()


@tune_case("another number of connections gives what it gives on an untouched host")
def other_number(tune):
    fresh = Tune(tune.shell, FakeRoot(tune.host.path.parent / "fresh"))
    before = snapshot(tune.host.path)
    tune("apply", "--connections", "1100000", "--role", "proxy", "--spread")
    tune("apply", "--connections", "200000")
    fresh("apply", "--connections", "200000")
    # Folders that are needed no more stay until revert.
    one, other = snapshot(tune.host.path), snapshot(fresh.host.path)
    files = [name for name in one.keys() | other.keys() if name != STATE and not (tune.host.path / name).is_dir()]
    assert not [name for name in files if one.get(name, ())[:2] != other.get(name, ())[:2]]
    tune("revert")
    unchanged(before, tune)


@tune_case("a value that was high already is neither lowered nor written down")
def high(tune):
    tune.host.set("net/core/somaxconn", "100000")
    tune.host.set("net/ipv4/tcp_mem", "1\t2\t9000000")
    tune("apply")
    assert tune.host.sysctl("net/core/somaxconn") == "100000"
    assert tune.host.sysctl("net/ipv4/tcp_mem") == "1000000\t1500000\t9000000"
    assert "somaxconn" not in tune.host.read("etc/sysctl.d/90-roost-queues.conf")


@tune_case("what others have changed since stays and is told, unless revert is forced")
def drift(tune):
    before = snapshot(tune.host.path)
    for force in ([], ["--force"]):
        tune("apply")
        tune.host.set("net/core/somaxconn", "70000")
        answer = tune("revert", *force, code=0 if force else 1)
        assert ("others have changed it" in answer.complaint) != bool(force), answer.complaint
        assert tune.host.sysctl("net/core/somaxconn") == ("4096" if force else "70000")
        tune.host.set("net/core/somaxconn", "4096")
        unchanged(before, tune)


@tune_case("a drop-in that others have replaced since stays and is told")
def replaced(tune):
    tune("apply")
    tune.host.write("etc/sysctl.d/90-roost-idle.conf", "# mine\n")
    answer = tune("revert", code=1)
    assert "replaced by others" in answer.complaint, answer.complaint
    assert tune.host.read("etc/sysctl.d/90-roost-idle.conf") == "# mine\n"


@tune_case("a drop-in that somebody removed is written again")
def removed(tune):
    tune("apply")
    tune.host.remove("etc/sysctl.d/90-roost-idle.conf")
    tune("apply")
    assert "slow_start" in tune.host.read("etc/sysctl.d/90-roost-idle.conf")


@tune_case("after a boot with the drop-ins gone, apply and revert still know what was there first")
def boot(tune):
    before = snapshot(tune.host.path)
    tune("apply")
    tune.host.set("net/core/somaxconn", "4096")
    assert tune("apply").text.startswith("net.core.somaxconn: 4096 -> 65535\ndone")
    tune("revert")
    unchanged(before, tune)


@tune_case("a dry run tells every change and every file, and does none of it")
def dry_run(tune):
    before = snapshot(tune.host.path)
    text = tune("apply", "--dry-run").text
    assert "net.core.somaxconn: 4096 -> 65535\n" in text
    for name in [*DROP_INS, *OTHERS]:
        assert f"/{name}: written\n" in text and f"---- /{name}\n" in text, name
    assert not differences(before, snapshot(tune.host.path))
    tune("apply")
    before = snapshot(tune.host.path)
    text = tune("revert", "--dry-run").text
    assert "net.core.somaxconn: 65535 -> 4096\n" in text and "/etc/sysctl.d/90-roost-queues.conf: removed\n" in text
    assert not differences(before, snapshot(tune.host.path))


@tune_case("the mask of a card is spread over 36 cores in the kernel's writing, now and when it comes up", cores=36)
def mask(tune):
    tune("apply", "--spread")
    assert tune.host.read("sys/class/net/eth0/queues/rx-0/rps_cpus") == "f,ffffffff\n"
    rule = 'ACTION=="add", SUBSYSTEM=="net", KERNEL=="eth0", ATTR{queues/rx-0/rps_cpus}="f,ffffffff"'
    assert f"\n{rule}\n" in tune.host.read("etc/udev/rules.d/90-roost-cards.rules")
    assert tune("apply", "--spread").text == "nothing to change\n"


@tune_case("interrupts are spread, and one whose driver decides stays where it is", cores=2, queues=2, interrupts=3)
def interrupts(tune):
    before = snapshot(tune.host.path)
    # The kernel's answer to whoever reads number 31 does not change.
    with programs(cat='case $* in *irq/31*) echo 0-1 ;; *) exec /bin/cat "$@" ;; esac') as path:
        answer = tune("apply", "--spread", path=path)
    assert "irq/31/smp_affinity_list cannot be changed" in answer.complaint, answer.complaint
    assert [tune.host.read(f"proc/irq/{number}/smp_affinity_list") for number in (30, 32)] == ["0\n", "0\n"]
    tune.host.write("proc/irq/31/smp_affinity_list", "0-1\n")
    tune("revert")
    unchanged(before, tune)


@tune_case("in a network namespace of its own only its own keys are changed")
def namespace(tune):
    tune.host.in_own_namespace()
    before = snapshot(tune.host.path)
    answer = tune("apply")
    assert "network namespace of its own" in answer.text, answer.text
    changed = differences(before, snapshot(tune.host.path))
    assert "proc/sys/net/core/somaxconn" in changed
    assert not [name for name in changed if name.startswith(("proc/sys/fs", "proc/sys/vm", "sys/", "etc/systemd", "etc/modprobe"))], changed
    tune("revert")
    unchanged(before, tune)


@tune_case("clients of the ports named are kept out of connection tracking by rules that load with the unit")
def notrack(tune):
    tune("apply", "--notrack", "80,443")
    rules = tune.host.read("etc/roost/notrack.nft")
    assert "tcp dport { 80,443 } notrack" in rules and "tcp sport { 80,443 } notrack" in rules, rules
    assert "nft -f /etc/roost/notrack.nft" in tune.host.read("etc/systemd/system/roost.service.d/30-notrack.conf")
    assert tune.host.sysctl("net/netfilter/nf_conntrack_max") == "262144"
    assert tune("check", "--notrack", "80,443").rows["nft table inet roost"].state == "ok"
