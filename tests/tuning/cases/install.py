"""install: everything in its place, on a fake host and in a machine, and nothing left; and the configuration that it brings."""

import pathlib
import re
import subprocess
import tempfile
import tomllib

from harness import ROOT, SHELLS, case, differences, snapshot
from machine import Machine
from node import binary

INSTALL = ROOT / "tuning" / "install"
EXAMPLE = ROOT / "tuning" / "roost.toml"
PLACED = {
    "bin/roost": 0o755,
    "sbin/roost-tune": 0o755,
    "lib/systemd/system/roost.service": 0o644,
    "lib/systemd/system/roost.socket": 0o644,
    "lib/sysusers.d/roost.conf": 0o644,
    "lib/tmpfiles.d/roost.conf": 0o644,
    "share/doc/roost/capacity.conf": 0o644,
    "share/doc/roost/notify-reload.conf": 0o644,
    "share/doc/roost/tuning.md": 0o644,
}
CONFIG = "etc/roost/roost.toml"


def install_case(sentence):
    """Enters a function that takes an Install on an empty tree: once for each shell."""

    def enter(function):
        for shell in SHELLS:

            def run(shell=shell):
                with tempfile.TemporaryDirectory(prefix="roost-install-") as folder:
                    host = pathlib.Path(folder) / "host"
                    (host / "etc").mkdir(parents=True)
                    program = pathlib.Path(folder) / "roost"
                    program.write_text("#!/bin/sh\n")
                    program.chmod(0o755)
                    function(Install(shell, host, program))

            case(f"{sentence} [{shell}]")(run)
        return function

    return enter


class Install:
    """tuning/install on a fake host, with a program that stands for the binary."""

    def __init__(self, shell, host, program):
        self.shell, self.host, self.program = shell, host, program

    def __call__(self, *words, code=0):
        named = [] if "--binary" in words or "--uninstall" in words else ["--binary", str(self.program)]
        command = [self.shell, str(INSTALL), *words, *named, "--root", str(self.host)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == code, f"{words}: {done}"
        return done.stdout + done.stderr

    def refuses(self, *words):
        before = snapshot(self.host)
        said = self(*words, code=2)
        assert said.startswith("install: ") and said.count("\n") == 1, said
        assert not differences(before, snapshot(self.host))
        return said


@install_case("everything comes to its place, and uninstall leaves the tree as it was")
def there_and_back(install):
    for prefix in ("usr/local", "usr", "opt/roost"):
        before = snapshot(install.host)
        install("--prefix", f"/{prefix}")
        for name, mode in PLACED.items():
            assert (install.host / prefix / name).stat().st_mode & 0o777 == mode, name
        assert (install.host / CONFIG).stat().st_mode & 0o777 == 0o640
        unit = (install.host / prefix / "lib/systemd/system/roost.service").read_text()
        paths = re.findall(r"^Exec\w+=(\S*/roost) ", unit, re.MULTILINE)
        assert len(paths) > 1 and set(paths) == {f"/{prefix}/bin/roost"}, paths
        assert "nothing is left" in install("--uninstall")
        changed = differences(before, snapshot(install.host), times=False)
        assert not changed, changed
    assert "nothing to take away" in install("--uninstall")


@install_case("installed over itself it is the same, and over an older one it is new")
def over(install):
    before = snapshot(install.host)
    install()
    first = snapshot(install.host)
    install()
    assert not differences(first, snapshot(install.host), times=False)
    install.program.write_text("#!/bin/sh\necho newer\n")
    install()
    assert "newer" in (install.host / "usr/local/bin/roost").read_text()
    install("--prefix", "/usr")
    assert not (install.host / "usr/local/bin/roost").exists()
    install("--uninstall")
    assert not [name for name in differences(before, snapshot(install.host), times=False) if (install.host / name).is_file()]


@install_case("an edited configuration survives an upgrade and an uninstall, but not a purge")
def edited(install):
    before = snapshot(install.host)
    install()
    (install.host / CONFIG).write_text("shards = 2\n")
    for words in ([], ["--uninstall"]):
        assert "has been edited, and stays" in install(*words)
        assert (install.host / CONFIG).read_text() == "shards = 2\n"
    assert "install has not put it there" in install.refuses()
    (install.host / CONFIG).unlink()
    (install.host / CONFIG).parent.rmdir()
    install()
    (install.host / CONFIG).write_text("shards = 2\n")
    install("--uninstall", "--purge")
    assert not differences(before, snapshot(install.host), times=False)


@install_case("what is in the way, missing or wrong is refused, and nothing is half done")
def refused(install):
    assert "cargo build --release" in install.refuses("--binary", "/nowhere/roost")
    assert "--fast" in install.refuses("--fast")
    assert "--purge" in install.refuses("--purge")
    assert "--prefix" in install.refuses("--prefix", "here")
    (install.host / "usr/local/bin").mkdir(parents=True)
    (install.host / "usr/local/bin/roost").write_text("mine\n")
    assert "usr/local/bin/roost is there already" in install.refuses()
    (install.host / "usr/local/bin/roost").unlink()
    # A file stands where a folder must be.
    (install.host / "usr/local/share").write_text("")
    assert "cannot" in install.refuses()


@case("every key of the example is one of the node's, and every key of the node is in the example")
def example():
    def check(text):
        with tempfile.TemporaryDirectory(prefix="roost-example-") as folder:
            path = pathlib.Path(folder)
            (path / "token.key").write_text("k" * 32)
            (path / "roost.toml").write_text(text.replace("@/etc/roost/", f"@{folder}/"))
            done = subprocess.run([binary(), "serve", "--config", str(path / "roost.toml"), "--check"], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr

    text = EXAMPLE.read_text()
    check(text)
    whole = re.sub(r"^#(?=[a-z_\[])", "", text, flags=re.MULTILINE)
    check(whole)
    printed = subprocess.run([binary(), "serve", "--print-config"], capture_output=True, text=True, check=True).stdout
    keys, known = tomllib.loads(whole), tomllib.loads(printed)
    assert keys.keys() == known.keys(), f"not both in tuning/roost.toml and an option: {sorted(keys.keys() ^ known.keys())}"
    policy = keys["channels"]["chat:"]
    assert policy.keys() >= known["channels"][""].keys(), f"missing: {sorted(known['channels'][''].keys() - policy.keys())}"


def files(machine):
    """What there is in a machine where things are installed."""
    places = "/etc /usr/local /var/lib"
    listed = machine.run("sh", "-c", f"find {places} -type f ! -name '*-' -exec sha256sum {{}} + ; find {places} -type d -o -type l")
    # systemd's own notes, and the backups of the user database.
    return {line for line in listed.splitlines() if not re.search(r"/var/lib/(systemd|private|dbus)|/etc/(\.pwd\.lock|machine-id|subuid|subgid)", line)}


@case("in a machine it runs as the user that it made, reads its configuration alone, and leaves nothing", seconds=90)
def machine():
    with Machine() as machine:
        for name in ("install", "tune", "roost.toml", "README.md", *(f"systemd/{path.name}" for path in (ROOT / "tuning/systemd").iterdir())):
            machine.copy(ROOT / "tuning" / name, f"/opt/tree/tuning/{name}")
        machine.copy(binary(), "/opt/tree/target/release/roost")
        before, queue = files(machine), machine.run("cat", "/proc/sys/net/core/somaxconn")
        said = machine.run("/opt/tree/tuning/install", "--connections", "1000")
        assert "installed: edit /etc/roost/roost.toml" in said, said
        assert machine.run("cat", "/proc/sys/net/core/somaxconn") == "65535\n"
        assert machine.run("stat", "--format=%a %U %G", "/etc/roost/roost.toml") == "640 root roost\n"
        machine.run("systemctl", "enable", "--now", "--quiet", "roost.service")
        machine.until("the node is ready", lambda: machine.run("curl", "-s", "127.0.0.1:8081/readyz", code=None))
        pid = machine.property("roost.service", "MainPID")
        assert machine.run("stat", "--format=%U", f"/proc/{pid}") == "roost\n"
        assert "nothing is left" in machine.run("/opt/tree/tuning/install", "--uninstall")
        assert machine.property("roost.service", "LoadState") == "not-found"
        assert machine.run("id", "roost", code=1)
        assert machine.run("cat", "/proc/sys/net/core/somaxconn") == queue
        assert files(machine) == before, sorted(files(machine) ^ before)
