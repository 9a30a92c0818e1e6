"""A small machine: this one's files with a real systemd on top, in namespaces of its own, booted in seconds.

Its root is an overlay whose changes are gone with it; it has processes, mounts, cgroups, a host name and a network of its own,
the host's /proc/sys and /sys are read-only in it, and only its own network's keys can be written. Wants root and systemd.
Must never know what runs in it.
"""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import time

BOOT_SECONDS = 60
# $1 is a folder for the overlay, beside which is the console.
SCRIPT = r"""
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
mkdir dev/shm dev/pts
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "dev/${node%:*}" c 1 "${node#*:}"; done
mknod -m 666 dev/tty c 5 0
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
touch dev/console
mount --bind "$1/../console" dev/console
# Units of the host that want hardware, terminals or the host's own services.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-networkd.service networking.service nginx.service haproxy.service; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done
ip link set lo up
mkdir run/host
pivot_root . run/host
umount --lazy run/host
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --show-status=no
"""


class Systemd:
    """What can be asked of any machine whose programs are run by a method `run`."""

    def property(self, unit, name):
        """A property of a unit, as systemctl shows it."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def until(self, what, condition, seconds=20):
        """Waits until a condition holds, and returns what it gave."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.log()}"
            time.sleep(0.05)
        return value

    def log(self, unit="roost.service"):
        """The journal of a unit."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit, code=None)


class Machine(Systemd):
    """`with Machine() as machine:` boots it and waits until its basic target is reached."""

    def __init__(self):
        self.ends = contextlib.ExitStack()
        self.pid = None

    def __enter__(self):
        with contextlib.ExitStack() as ends:
            folder = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="roost-machine-")))
            (folder / "disk").mkdir()
            self.console = folder / "console"
            self.console.touch()
            group = ends.enter_context(_group())
            # The group first: what the new namespace sees as the root of all groups is where it was made.
            enter = f'echo $$ > {group}/cgroup.procs && exec unshare --cgroup --pid --fork --kill-child --mount --net --uts --ipc sh -c "$@"'
            process = subprocess.Popen(
                ["sh", "-c", enter, "sh", SCRIPT, "sh", str(folder / "disk")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            ends.callback(self._end, process)
            self._await_boot(process)
            self.ends = ends.pop_all()
        return self

    def __exit__(self, *_):
        self.ends.close()

    def run(self, *command, code=0):
        """Runs a program in the machine, demands its exit code (any, if None), and returns what it said."""
        words = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wdns=/", *map(str, command)]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=environment
        )
        assert code is None or done.returncode == code, f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def path(self, name):
        """Where a file of the machine is for those outside."""
        return pathlib.Path(f"/proc/{self.pid}/root{name}")

    def write(self, name, text):
        """Writes a file in it, with the folders above."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text)

    def copy(self, source, name):
        """Copies a file of the host into it: what lies on other file systems of the host is not in it by itself."""
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, self.path(name))

    def _await_boot(self, process):
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            assert process.poll() is None, f"the machine ended: {process.stdout.read().decode()}{self.console.read_text()}"
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if children and pathlib.Path(f"/proc/{children[0]}/comm").read_text() == "systemd\n":
                self.pid = int(children[0])
                if self.run("systemctl", "is-active", "basic.target", code=None) == "active\n":
                    return
            assert time.monotonic() < deadline, f"the machine did not boot within {BOOT_SECONDS} s\n{self.console.read_text()}"
            time.sleep(0.05)

    def _end(self, process):
        # With the first process of its namespace all others end.
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                subprocess.run(["kill", "-KILL", str(self.pid)], check=False, stderr=subprocess.DEVNULL)
        process.kill()
        process.communicate()


@contextlib.contextmanager
def _group():
    """A cgroup for the machine, removed with whatever is left in it."""
    mounts = [line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    root = next(pathlib.Path(mount[1]) for mount in mounts if mount[2] == "cgroup2")
    own = next(line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    group = pathlib.Path(tempfile.mkdtemp(prefix="roost-machine-", dir=root / own.lstrip("/")))
    try:
        yield group
    finally:
        deadline = time.monotonic() + 10
        while group.exists():
            for folder in sorted(group.rglob("*"), reverse=True):
                if folder.is_dir():
                    with contextlib.suppress(OSError):
                        folder.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
            assert time.monotonic() < deadline, f"{group} is still in use"
            time.sleep(0.02)
