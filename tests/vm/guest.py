"""A guest: Debian booted by its own kernel in QEMU, and run from outside over its second serial line.

The processor is emulated, so it needs nothing of the host but QEMU, and boots in half a minute. What it writes to its disk is gone
with it. Its first serial line is its console, kept in a file. Must never know what runs in it.
"""

import contextlib
import pathlib
import re
import socket
import subprocess
import tempfile
import time

from machine import Systemd

BOOT_SECONDS = 240
START_SECONDS = 30
TAIL_LINES = 40
MEMORY_MB = 1024
CORES = 2
# The newest one of which little has to be emulated that nobody here needs: others take up to twice the time.
CPU = "Nehalem"
KERNEL_LINE = (
    # Nothing that a guest without secrets or a human being could need; device names as the kernel gives them.
    "console=ttyS0 root=/dev/nvme0n1 rw panic=-1 mitigations=off audit=0 apparmor=0 nokaslr net.ifnames=0 random.trust_cpu=on "
    "systemd.show_status=no quiet"
)


class Lost(Exception):
    """The guest does not answer: nothing can be asked of it any more."""


class Guest(Systemd):
    """`with Guest(folder, tree, ports) as guest:` boots the image in `folder` and waits until it answers.

    `tree` is a tar that it can read from /dev/nvme1n1. `ports` are those of the guest that this host can connect to, at
    `guest.address(port)`.
    """

    def __init__(self, folder, tree, ports):
        self.folder = pathlib.Path(folder)
        self.tree = tree
        self.ports = ports
        self.ends = contextlib.ExitStack()
        self.lost = None

    def __enter__(self):
        with contextlib.ExitStack() as ends:
            scratch = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="roost-guest-")))
            self.console = scratch / "console"
            lines = {name: ends.enter_context(_listener(scratch / name)) for name in ("agent", "monitor")}
            self.process = subprocess.Popen(self._command(scratch), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            ends.callback(self._end)
            self.agent, self.monitor = (ends.enter_context(self._accept(lines[name])) for name in ("agent", "monitor"))
            self.forwards = self._forwards()
            self._await_boot()
            self.ends = ends.pop_all()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends it."""
        self.ends.close()

    def run(self, *command, code=0, seconds=60):
        """Runs a program in the guest, demands its exit code (any, if None), and returns what it said."""
        return self.shell(" ".join(map(_quoted, command)), code, seconds)

    def shell(self, script, code=0, seconds=60):
        """Runs a shell script in the guest, demands its exit code (any, if None), and returns what it said."""
        if self.lost:
            raise Lost(self.lost)
        line = script.replace("\\", "\\\\").replace("\n", "\\n")
        try:
            self.agent.settimeout(seconds)
            self.agent.sendall(line.encode() + b"\n")
            said, end = self._answer()
        # Whatever comes between, the next answer would not be that to the next question.
        except BaseException as fault:
            self._lose(f"no answer to `{script}` within {seconds} s ({fault})")
        assert code is None or end == code, f"{script}: exit code {end}\n{said}"
        return said

    def write(self, name, text):
        """Writes a file in it, with the folders above."""
        self.shell(f"mkdir -p {_quoted(pathlib.PurePath(name).parent)} && printf %s {_quoted(text)} > {_quoted(name)}")

    def address(self, port):
        """Where this host reaches a port of the guest."""
        return f"127.0.0.1:{self.forwards[port]}"

    def tail(self):
        """The last lines of its console."""
        lines = self.console.read_text(errors="replace").splitlines() if self.console.exists() else []
        return "\n".join(lines[-TAIL_LINES:])

    def _answer(self):
        """What a script printed, and its exit code."""
        received = b""
        while not (found := re.search(rb"\001 (\d+)\n$", received)):
            piece = self.agent.recv(65536)
            if not piece:
                raise EOFError("QEMU has ended")
            received += piece
        return received[: found.start()].decode(errors="replace"), int(found[1])

    def _command(self, scratch):
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in self.ports)
        disk = "if=none,format=raw,cache=unsafe"
        return [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(CORES), "-m", str(MEMORY_MB),
            "-kernel", str(self.folder / "kernel"), "-append", KERNEL_LINE,
            "-drive", f"{disk},id=disk,snapshot=on,file={self.folder / 'disk'}", "-device", "nvme,drive=disk,serial=disk",
            "-drive", f"{disk},id=tree,read-only=on,file={self.tree}", "-device", "nvme,drive=tree,serial=tree",
            "-netdev", f"user,id=net,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=net,romfile=",
            "-serial", f"file:{self.console}",
            "-chardev", f"socket,id=agent,path={scratch / 'agent'}", "-serial", "chardev:agent",
            "-chardev", f"socket,id=monitor,path={scratch / 'monitor'}", "-mon", "chardev=monitor,mode=readline",
        ]  # fmt: skip

    def _accept(self, listener):
        listener.settimeout(START_SECONDS)
        try:
            return listener.accept()[0]
        except OSError:
            self._lose("QEMU does not start")

    def _forwards(self):
        """The ports of this host by those of the guest, as QEMU chose them."""
        self.monitor.settimeout(START_SECONDS)
        self.monitor.sendall(b"info usernet\n")
        found, said = {}, ""
        while found.keys() != set(self.ports):
            piece = self.monitor.recv(4096)
            if not piece:
                self._lose("QEMU has ended")
            said += piece.decode(errors="replace")
            found = {int(inner): int(outer) for outer, inner in re.findall(r"HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", said)}
        return found

    def _await_boot(self):
        deadline, said = time.monotonic() + BOOT_SECONDS, b""
        while not said.endswith(b"ready\n"):
            self.agent.settimeout(max(deadline - time.monotonic(), 0.1))
            try:
                piece = self.agent.recv(1)
            except OSError:
                piece = b""
            if not piece:
                self._lose(f"it did not boot within {BOOT_SECONDS} s")
            said += piece
        # Its card is found by whoever asks first.
        self.shell("modprobe -a virtio_pci virtio_net && udevadm settle && ip link set lo up && ip address add 10.0.2.15/24 dev eth0 && ip link set eth0 up")

    def _lose(self, why):
        ended = self.process.poll()
        said = self.process.stdout.read().decode(errors="replace") if ended is not None else ""
        self.lost = f"{why}\n{said}the console ends with:\n{self.tail()}"
        raise Lost(self.lost) from None

    def _end(self):
        # Its disk is thrown away: nothing is worth a shutdown.
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def _listener(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        yield listener


def _quoted(word):
    return "'" + str(word).replace("'", "'\\''") + "'"
