"""roost doctor, and the warnings of a node that starts: against tune on the same host, and against real limits in namespaces."""

import json
import pathlib
import re
import shutil
import signal
import subprocess

from harness import Tune, case, tune_case
from fake_root import FakeRoot
from node import binary

MILLION = 1_000_000
# What tune calls otherwise.
NAMES = {"RLIMIT_NOFILE": "LimitNOFILE of roost.service", "memory": "memory, KiB"}
# What tune has no row for: it follows from the number of shards, or is the same for every number.
OWN = {"system-call filter", "swap", "kernel.threads-max", "kernel.pid_max", "vm.max_map_count", "RLIMIT_NPROC", "pids.max of user-1000.slice"}
# roost says so in its own words.
STARTS = "a limit of this host carries fewer connections than this node takes"


def doctor(host, count, *options, code=1):
    """The findings, by limit."""
    command = [binary(), "doctor", "--connections", str(count), "--shards", "4", "--root", str(host.path), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{done.returncode}, not {code}: {done.stdout}{done.stderr}"
    return {one["limit"]: one for one in json.loads(done.stdout)["limits"]}


def wanted(finding):
    """As tune writes it, without the sign before it."""
    value = finding["wanted"]
    return str(value["bytes"] // 1024) if isinstance(value, dict) else " ".join(map(str, value))


@tune_case("roost doctor wants of each key what tune wants", seconds=120)
def same(tune):
    for number, (count, ram_mib, page_kib) in enumerate(
        [(100_000, 2048, 4), (MILLION, 16384, 4), (3_000_000, 32768, 4), (10_000_000, 262_144, 4), (MILLION, 65536, 64), (1, 512, 4)]
    ):
        other = Tune(tune.shell, FakeRoot(tune.host.path / f"host{number}", ram_mib=ram_mib, page_kib=page_kib))
        rows = {**other("check", "--connections", str(count), "--role", "proxy", code=1).rows, **other("check", "--connections", str(count), code=1).rows}
        findings = doctor(other.host, count, code=0 if count == 1 else 1)
        compared = 0
        for limit, finding in findings.items():
            if limit in OWN:
                continue
            row = rows[NAMES.get(limit, limit)]
            assert row.wanted.lstrip("<>=") == wanted(finding), f"{count} in {ram_mib} MiB: {limit}: {finding}, tune: {row}"
            compared += 1
        assert compared == 12, findings


@tune_case("a host that tune has fitted to a number of connections carries them, says roost doctor")
def fitted(tune):
    for count in (50_000, MILLION):
        short = [limit for limit, one in doctor(tune.host, count).items() if one["state"] == "short"]
        assert "net.core.somaxconn" in short, short
        tune("apply", "--connections", str(count))
        # What the kernel and systemd make of it.
        tune.host.set("fs/file-nr", f"1184\t0\t{tune.host.sysctl('fs/file-max')}")
        limits = tune.host.read("proc/self/limits").replace("1024                 1048576", "1024                 2000000")
        tune.host.write("proc/self/limits", limits)
        doctor(tune.host, count, code=0)
        tune("revert")
        tune.host.set("fs/file-nr", f"1184\t0\t{tune.host.sysctl('fs/file-max')}")


def node_log(*words, count="3000", shards="2"):
    """What a node says at its start, begun by `words`."""
    command = [*words, binary(), "serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--shards", shards, "--max-connections", count]
    node = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    try:
        assert node.stdout.readline().startswith("public "), node.stderr.read()
        node.send_signal(signal.SIGTERM)
        _, log = node.communicate(timeout=15)
    finally:
        node.kill()
    assert node.returncode == 0, log
    return log


def in_network(script):
    """The words that run a program in a network namespace of its own, behind a script."""
    return ["unshare", "--net", "sh", "-ec", f'ip link set lo up; {script}; exec "$@"', "sh"]


@case("a node warns at its start of each limit that its connections hit, once, with the fix, and starts; with the fix it warns no more", seconds=60)
def warns():
    assert shutil.which("ip"), "iproute2 is not there"
    log = node_log(*in_network("echo 100 > /proc/sys/net/core/somaxconn; echo 70000 > /proc/sys/net/ipv4/tcp_max_tw_buckets"))
    lines = [line for line in log.splitlines() if STARTS in line]
    assert len(lines) == 1, log
    assert re.search(r'WARN.* limit="net\.core\.somaxconn" carries=200 connections=3000 .*fix="sysctl -w net\.core\.somaxconn=65535"', lines[0]), lines
    assert STARTS not in node_log(*in_network("sysctl -w net.core.somaxconn=65535 > /dev/null")), "the fix does not help"


@case("where /proc shows processes alone a node starts, and warns of nothing that it does not see", seconds=60)
def hidden():
    script = "mount -t proc -o subset=pid proc /proc; test ! -e /proc/sys"
    words = ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]
    log = node_log(*words, count="100000")
    assert "WARN" not in log, log
    done = subprocess.run([*words, binary(), "doctor", "--connections", "100000"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout, done
    assert "error: there is no /proc/sys: is all of /proc and /sys there?\n" in done.stderr, done.stderr


@case("what a running node is limited by is told by its number", seconds=60)
def other_process():
    words = ["prlimit", "--nofile=900:900", "sleep", "60"]
    sleeper = subprocess.Popen(words)
    try:
        while not pathlib.Path(f"/proc/{sleeper.pid}/cmdline").read_text().startswith("sleep"):
            pass
        done = subprocess.run([binary(), "doctor", "--connections", "10", "--pid", str(sleeper.pid), "--json"], capture_output=True, text=True, check=False)
        (row,) = [one for one in json.loads(done.stdout)["limits"] if one["limit"] == "RLIMIT_NOFILE"]
        assert row["now"] == [900], row
    finally:
        sleeper.kill()
        sleeper.wait()
    done = subprocess.run([binary(), "doctor", "--connections", "10", "--pid", str(sleeper.pid)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and f"there is no /proc/{sleeper.pid}/limits" in done.stderr, done
