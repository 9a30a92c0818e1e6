"""What cases are made of: the list they enter, roost in the guest as `tuning/install` put it there, and clients outside.

Must never know a case.
"""

import contextlib
import json
import re
import subprocess
import tarfile
import tempfile

from node import ROOT, binary
from wire import TEXT, Wire, frame

CASES = []
PORT, PRIVILEGED_PORT = 8080, 80
# The listener of clients is reached from outside. Times are short: an emulated processor is slow enough.
CONFIG = """\
listen = "0.0.0.0:8080"
node = "guest"
shards = 2
max_connections = 2000
drain_over = "2s"
history = 1000
[channels."open:"]
clients_may_publish = true
"""
# Signs of life every three seconds, and still time for the node to find out which shard is silent: it waits five for an answer.
QUICK = {"quick": "[Service]\nWatchdogSec=9s\n"}
TREE = "/opt/roost"
BINARY = "/usr/local/bin/roost"
TUNE = "/usr/local/sbin/roost-tune"


def case(sentence, seconds=120):
    """Enters a function that takes a World into the list."""

    def enter(function):
        CASES.append((sentence, function, seconds))
        return function

    return enter


def pack(path):
    """What the guest gets: tuning/ as it stands, and the program under test beside it."""
    with tarfile.open(path, "w") as tar, tempfile.NamedTemporaryFile(prefix="roost-stripped-") as stripped:
        # Without what debuggers read, which is most of it: an emulated processor sums it up for install.
        subprocess.run(["strip", "-o", stripped.name, binary()], check=True)
        tar.add(ROOT / "tuning", "roost/tuning")
        tar.add(stripped.name, "roost/target/release/roost")


class World:
    """The guest, and roost in it. Cases share it: each finds the node installed and tuned as the one before has left it."""

    def __init__(self, guest):
        self.guest = guest
        self.before = None
        self.drop_ins = {}

    def install(self):
        """Puts roost in place, unless it is; what was there before is kept as `before`."""
        if self.before:
            return
        self.guest.run("tar", "--extract", "--no-same-owner", "--file", "/dev/nvme1n1", "--directory", "/opt")
        self.before = self.files()
        said = self.guest.run(f"{TREE}/tuning/install")
        assert "installed: edit /etc/roost/roost.toml" in said, said
        self.configure()

    def files(self):
        """The files of the guest where things are installed, with their sums and modes."""
        places, summed = "/etc /usr/local /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/lib/modprobe.d /var/lib", "/etc /usr/local"
        listed = self.guest.shell(
            f"find {places} -printf '%y %m %U %G %p %l\\n'; find {summed} -type f ! -name '*-' -exec sha256sum {{}} +", seconds=120
        )
        # systemd's own notes, and what comes and goes with any change of the user database.
        return {line for line in listed.splitlines() if not re.search(r"/var/lib/(systemd|private)|/etc/(\.pwd\.lock|\w+-) ", line)}

    def configure(self, **drop_ins):
        """Writes the configuration, and these drop-ins of the unit and no others of a test's."""
        self.guest.write("/etc/roost/roost.toml", CONFIG)
        if drop_ins == self.drop_ins:
            return
        self.guest.shell("rm -f /etc/systemd/system/roost.service.d/test-*; rmdir /etc/systemd/system/roost.service.d 2> /dev/null; true")
        for name, text in drop_ins.items():
            self.guest.write(f"/etc/systemd/system/roost.service.d/test-{name}.conf", text)
        self.guest.run("systemctl", "daemon-reload")
        self.drop_ins = drop_ins

    @contextlib.contextmanager
    def node(self, **drop_ins):
        """Installed, configured and started; afterwards it is stopped, which must go well."""
        self.install()
        self.configure(**drop_ins)
        self.guest.run("systemctl", "start", "roost.service")
        try:
            yield self.guest
            self.guest.run("systemctl", "stop", "roost.service")
            assert self.show("Result") == "success", self.guest.log()
        except AssertionError as fault:
            fault.add_note(f"the journal ends with:\n{self.guest.log()[-4000:]}")
            with contextlib.suppress(AssertionError):
                self.guest.shell("systemctl stop roost.service; systemctl reset-failed roost.service", code=None)
            raise

    def show(self, name):
        """A property of the service."""
        return self.guest.property("roost.service", name)

    def shows(self, **wanted):
        """Whether properties of the service have these values, all at one moment."""
        said = self.guest.run("systemctl", "show", f"--property={','.join(wanted)}", "roost.service")
        return dict(line.split("=", 1) for line in said.splitlines()) == wanted

    def connect(self, port=PORT):
        """A WebSocket from outside."""
        return Client(self.guest.address(port))


class Client(Wire):
    """A WebSocket that speaks roost's messages."""

    def __init__(self, address):
        super().__init__(address)
        # Emulated, everything takes longer.
        self.socket.settimeout(30)
        self.open()

    def say(self, **message):
        self.send(frame(TEXT, json.dumps(message)))

    def hear(self):
        """The next message."""
        while True:
            opcode, payload = self.frame()
            if opcode == TEXT:
                return json.loads(payload)

    def ask(self, **message):
        """Says it, and returns the next message."""
        self.say(**message)
        return self.hear()
