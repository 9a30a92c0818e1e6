"""What tune refuses: always one clear line, exit code 2, and nothing half done."""

import os
import signal
import subprocess
import tempfile

from harness import TUNE, differences, programs, snapshot, tune_case

REQUIRED = [
    "fs/nr_open", "fs/file-max", "net/core/somaxconn", "net/ipv4/tcp_max_syn_backlog", "net/core/rmem_max", "net/ipv4/tcp_mem",
    "net/ipv4/tcp_wmem", "net/ipv4/tcp_max_orphans", "net/ipv4/tcp_max_tw_buckets", "net/ipv4/tcp_fin_timeout", "vm/min_free_kbytes",
    "net/ipv4/tcp_slow_start_after_idle",
]
GARBAGE = ["", "abc", "12 x", "-1", "007", "1.5", "0x10", "9223372036854775808", "99999999999999999999", "4096 4096", "$(id)", "*"]


@tune_case("a value that is none is refused by its path", seconds=120)
def garbage(tune):
    for key, values in (("net/core/somaxconn", GARBAGE), ("net/ipv4/tcp_mem", ["1 2", "1 2 3 4", "1 2 x", ""])):
        good = tune.host.sysctl(key)
        for value in values:
            tune.host.set(key, value)
            words = tune.refuses("apply")
            assert f"proc/sys/{key} holds `{' '.join(value.split())}`" in words, words
        assert f"proc/sys/{key} holds" in tune.refuses("check")
        tune.host.set(key, good)
    tune.host.write("sys/kernel/mm/transparent_hugepage/enabled", "17%\n")
    assert "transparent_hugepage/enabled holds" in tune.refuses("apply")


@tune_case("what cannot be read is told, all of it at once")
def unreadable(tune):
    for key in ("net/core/somaxconn", "fs/nr_open"):
        tune.host.remove(f"proc/sys/{key}")
        (tune.host.path / "proc/sys" / key).mkdir()
    for command in ("check", "apply"):
        words = tune.refuses(command)
        assert "somaxconn" in words and "nr_open" in words, words


@tune_case("a key that every kernel has and this one lacks is missed", seconds=120)
def missing(tune):
    for key in REQUIRED:
        value = tune.host.sysctl(key)
        tune.host.remove(f"proc/sys/{key}")
        for command in ("check", "apply"):
            assert f"there is no {tune.host.path}/proc/sys/{key}" in tune.refuses(command)
        tune.host.set(key, value)


@tune_case("without memory, cores or /proc there is nothing to work from")
def no_host(tune):
    for name, text in (
        ("proc/meminfo", "MemTotal: much kB\n"), ("proc/meminfo", "MemTotal: 0 kB\n"), ("proc/meminfo", ""), ("proc/self/smaps", "x\n"),
        ("sys/devices/system/cpu/online", "0-\n"), ("sys/devices/system/cpu/online", "3-0\n"), ("sys/devices/system/cpu/online", ""),
    ):
        good = tune.host.read(name)
        tune.host.write(name, text)
        assert name in tune.refuses("check"), text
        tune.host.remove(name)
        assert name in tune.refuses("apply"), text
        tune.host.write(name, good)
    tune.host.remove("proc/sys")
    assert "mount /proc" in tune.refuses("check")


@tune_case("wrong words are named", seconds=120)
def usage(tune):
    for words in (
        ["check", "--connections", "0"], ["check", "--connections", "-5"], ["check", "--connections", "1e6"], ["check", "--connections", "08"],
        ["check", "--connections", "1073741825"], ["check", "--connections="], ["check", "--role", "king"], ["apply", "--notrack", "80,"],
        ["apply", "--notrack", "0"], ["apply", "--notrack", "80;x"], ["check", "--root", "/nowhere"], ["check", "apply"], ["check", "--fast"], [],
    ):
        complaint = tune.refuses(*words)
        assert complaint.count("\n") == 1, complaint
        assert not words or words[-1].split("=")[0].lstrip("-") in complaint, complaint
    done = subprocess.run([tune.shell, str(TUNE), "check", "--connections"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "needs a value" in done.stderr, done


@tune_case("a host that is too small is told how many fit", ram_mib=2048)
def small(tune):
    words = tune.refuses("apply")
    assert f"{2048 * 1024 * 1024 // 4200} fit" in words, words
    tune("apply", "--connections", str(2048 * 1024 * 1024 // 4200))


@tune_case("a file of others in the place of a drop-in is not overwritten")
def foreign(tune):
    tune.host.write("etc/sysctl.d/90-roost-memory.conf", "# mine\n")
    assert "90-roost-memory.conf is not of tune's making" in tune.refuses("apply")


@tune_case("on a file system that is read-only nothing is begun", seconds=120)
def read_only(tune):
    for folder in ("proc/sys", "etc", "var", "."):
        tune.host.write("var/lib/x", "")
        before = snapshot(tune.host.path)
        words = read_only_run(tune, folder, "apply")
        assert "cannot be written" in words and "nothing has been changed" in words, words
        assert not differences(before, snapshot(tune.host.path)), folder
        assert tune("check", code=1).rows
    tune("apply")
    for folder in ("proc/sys", "etc", "var"):
        before = snapshot(tune.host.path)
        assert "cannot be written" in read_only_run(tune, folder, "revert")
        assert not differences(before, snapshot(tune.host.path)), folder


def read_only_run(tune, folder, command):
    """What tune says where a part of the host is mounted read-only, in a mount namespace that ends with it."""
    place = str(tune.host.path / folder)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", place, tune.shell, str(TUNE), command, "--root", str(tune.host.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    return done.stderr


@tune_case("without root apply and revert refuse, while check and a dry run work")
def no_root(tune):
    def as_nobody(*words):
        command = [tune.shell, "-s", "--", *words]
        # The script comes through the standard input: its folder may be closed to others.
        with open(TUNE, encoding="utf-8") as script:
            return subprocess.run(command, stdin=script, capture_output=True, text=True, check=False, user=65534, group=65534, extra_groups=[], cwd="/")

    done = as_nobody("apply", "--connections", "1000")
    assert done.returncode == 2 and "only root" in done.stderr, done
    assert as_nobody("check", "--connections", "1000").returncode in (0, 1)
    assert as_nobody("apply", "--dry-run", "--connections", "1000").returncode == 0


# Answers as the kernel that does not take a value: the file still holds the former one.
STUBBORN = 'case $* in *proc/sys/{key}) {deed}; [ ! -e "{mark}" ] || {{ echo 60; exit; }}; touch "{mark}" ;; esac; exec /bin/cat "$@"'


@tune_case("a value that the kernel does not take undoes those before it, and the files")
def not_taken(tune):
    for first in (True, False):
        if not first:
            tune("apply", "--connections", "200000", "--role", "proxy")
        before = snapshot(tune.host.path)
        with tempfile.TemporaryDirectory() as marks, programs(
            cat=STUBBORN.format(key="net/ipv4/tcp_fin_timeout" if first else "fs/nr_open", mark=f"{marks}/read", deed=":")
        ) as path:
            words = tune("apply", "--connections", "2000000", code=2, path=path).complaint
        assert "the kernel does not take" in words and "nothing has been changed" in words, words
        changed = differences(before, snapshot(tune.host.path), times=False)
        assert not changed, changed


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def heed_signals():
    """Whoever ran the tests may have them ignored, as nohup does; a shell cannot heed again what it was born to ignore."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@tune_case("a signal in the middle undoes what was done")
def interrupted(tune):
    before = snapshot(tune.host.path)
    for number in SIGNALS:
        with tempfile.TemporaryDirectory() as marks:
            deed = f"[ ! -e {marks}/read ] || kill -{int(number)} $(/bin/cat {marks}/pid)"
            with programs(cat=STUBBORN.format(key="net/ipv4/tcp_max_orphans", mark=f"{marks}/read", deed=deed)) as path:
                command = f'echo $$ > {marks}/pid; exec {tune.shell} "$@"'
                words = ["sh", "-c", command, "sh", str(TUNE), "apply", "--root", str(tune.host.path)]
                environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
                done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, preexec_fn=heed_signals)
        assert done.returncode == 2 and "interrupted; nothing has been changed" in done.stderr, done
        changed = differences(before, snapshot(tune.host.path), times=False)
        assert not changed, changed
