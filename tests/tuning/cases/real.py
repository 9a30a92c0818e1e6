"""tune against this machine's own kernel, in a network namespace that ends with the case; and its files against those who read them."""

import contextlib
import pathlib
import shutil
import subprocess

from harness import TUNE, tune_case

SYSCTLS = pathlib.Path("/proc/sys")
# What apply changes where it may, as a namespace has it and as the host has it.
OWN = [
    "net/core/somaxconn", "net/ipv4/tcp_max_syn_backlog", "net/ipv4/tcp_migrate_req", "net/ipv4/tcp_max_tw_buckets", "net/ipv4/tcp_fin_timeout",
    "net/ipv4/tcp_slow_start_after_idle",
]
HOST = ["fs/nr_open", "fs/file-max", "net/ipv4/tcp_mem", "net/ipv4/tcp_max_orphans", "vm/min_free_kbytes", *OWN]


class Namespace:
    """A network namespace, held open by a process that waits for its standard input to end."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo there && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.holder.stdout.readline() == "there\n"

    def run(self, *command, code=0):
        words = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, f"{command}: {done}"
        return done.stdout + done.stderr

    def values(self):
        return {key: self.run("cat", SYSCTLS / key).split() for key in OWN}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.wait()


@contextlib.contextmanager
def host_unchanged():
    def values():
        return {key: (SYSCTLS / key).read_text() for key in HOST}

    before = values()
    yield
    assert values() == before, "keys of the host have changed"


def with_this_kernel(tune):
    """The fake host gets this machine's own /proc and /sys."""
    for name in ("proc", "sys"):
        shutil.rmtree(tune.host.path / name)
        (tune.host.path / name).symlink_to(f"/{name}")


@tune_case("the kernel takes what apply writes, check is content, and revert brings every value back")
def kernel(tune):
    with_this_kernel(tune)
    with host_unchanged(), Namespace() as namespace:
        def run(*words, code=0):
            return namespace.run(tune.shell, TUNE, *words, "--connections", "1000", "--root", tune.host.path, code=code)

        before = namespace.values()
        told = run("apply")
        assert "net.core.somaxconn: 4096 -> 65535" in told and "network namespace of its own" in told, told
        assert namespace.values() == {
            "net/core/somaxconn": ["65535"],
            "net/ipv4/tcp_max_syn_backlog": ["65535"],
            "net/ipv4/tcp_migrate_req": ["1"],
            "net/ipv4/tcp_max_tw_buckets": before["net/ipv4/tcp_max_tw_buckets"],
            "net/ipv4/tcp_fin_timeout": ["30"],
            "net/ipv4/tcp_slow_start_after_idle": ["0"],
        }
        assert run("apply").startswith("nothing to change")
        run("revert")
        assert namespace.values() == before
    assert not (tune.host.path / "var").exists()


@tune_case("a balancer's keys are taken by the kernel as well, and brought back")
def kernel_of_balancer(tune):
    with_this_kernel(tune)
    keys = ["ip_local_port_range", "tcp_keepalive_time", "tcp_keepalive_intvl", "tcp_keepalive_probes", "tcp_notsent_lowat", "tcp_wmem", "tcp_rmem"]
    with host_unchanged(), Namespace() as namespace:
        def values():
            return {key: namespace.run("cat", SYSCTLS / "net/ipv4" / key).split() for key in keys}

        before = values()
        options = ["--role", "proxy", "--dedicated", "--connections", "1000", "--root", tune.host.path]
        namespace.run(tune.shell, TUNE, "apply", *options)
        applied = values()
        assert applied["ip_local_port_range"] == ["1024", "65535"] and applied["tcp_keepalive_time"] == ["120"], applied
        namespace.run(tune.shell, TUNE, "revert", "--root", tune.host.path)
        assert values() == before


@tune_case("what listens after apply has a queue as long as it asks for, and a short one before")
def backlog(tune):
    with_this_kernel(tune)
    listen = "import socket,subprocess as s;l=socket.socket();l.bind(('127.0.0.1',0));l.listen(65535);s.run(['ss','-Hltn'])"
    with host_unchanged(), Namespace() as namespace:
        def queue():
            return namespace.run("python3", "-c", listen).split()[2]

        namespace.run("ip", "link", "set", "lo", "up")
        assert queue() == "4096"
        namespace.run(tune.shell, TUNE, "apply", "--connections", "1000", "--root", tune.host.path)
        assert queue() == "65535"


@tune_case("systemd's own loader makes of the drop-ins, at the next boot, what apply made")
def loader(tune):
    with_this_kernel(tune)
    with host_unchanged(), Namespace() as namespace:
        namespace.run(tune.shell, TUNE, "apply", "--connections", "1000", "--root", tune.host.path)
        applied = namespace.values()
        kept = tune.host.path / "kept"
        shutil.copytree(tune.host.path / "etc/sysctl.d", kept)
        namespace.run(tune.shell, TUNE, "revert", "--root", tune.host.path)
        assert namespace.values() != applied
        namespace.run("/lib/systemd/systemd-sysctl", *sorted(kept.glob("*.conf")))
        assert namespace.values() == applied


@tune_case("systemd-tmpfiles makes of the drop-in for huge pages what apply made")
def tmpfiles(tune):
    pages = "sys/kernel/mm/transparent_hugepage/enabled"
    # In one word, because the loader does not shorten what is a plain file here.
    tune.host.write(pages, "always\n")
    tune("apply")
    tune.host.write(pages, "always\n")
    done = subprocess.run(
        ["systemd-tmpfiles", f"--root={tune.host.path}", "--create", "roost-pages.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    assert tune.host.read(pages).strip() == "madvise"


@tune_case("the kernel takes the rules that keep clients out of connection tracking, also twice")
def rules(tune):
    tune("apply", "--notrack", "80,443")
    file = tune.host.path / "etc/roost/notrack.nft"
    with Namespace() as namespace:
        for _ in range(2):
            namespace.run("nft", "-f", file)
        text = namespace.run("nft", "list", "ruleset")
    assert text.count("table inet roost") == 1, text
    assert "tcp dport { 80, 443 } notrack" in text and "tcp sport { 80, 443 } notrack" in text, text
