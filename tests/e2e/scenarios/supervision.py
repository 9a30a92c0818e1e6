"""What a node tells systemd, and what it takes over of a configuration that it is asked to read anew."""

import os
import pathlib
import signal
import socket
import tempfile

from harness import scenario
from node import Node
from wire import upgrade

SECONDS = 20


class Supervisor:
    """A socket as systemd has one for each service."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(SECONDS)
        self.heard = []

    def wait_for(self, word):
        """The lines told up to the first that has `word`, and that one."""
        while True:
            lines = self.socket.recv(4096).decode().splitlines()
            self.heard += lines
            if any(word in line for line in lines):
                return lines


def log_has(node, *words):
    """Waits until a line of the node's log has all of `words`."""
    while not any(all(word in line for word in words) for line in node.log.read_text(errors="replace").splitlines()):
        pass


def status_of(node, origin):
    """What a page of `origin` is answered that asks for a WebSocket."""
    host, _, port = node.public.rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS) as stream:
        stream.sendall(upgrade("/live", headers=[("Origin", origin)]))
        return int(stream.recv(4096).split()[1])


@scenario("a supervised node tells systemd that it is ready, that it lives, and that it goes away", seconds=60)
def supervised(world):
    with tempfile.TemporaryDirectory() as folder:
        supervisor = Supervisor(folder)
        environment = {"NOTIFY_SOCKET": supervisor.path, "WATCHDOG_USEC": "600000"}
        node = Node("--shards", "3", environment=environment)
        try:
            supervisor.wait_for("READY=1")
            for _ in range(3):
                lines = supervisor.wait_for("WATCHDOG=1")
                assert any(line.startswith("STATUS=serving 0 of ") for line in lines), lines
            assert "STOPPING=1" not in supervisor.heard
            node.signal(signal.SIGTERM)
            supervisor.wait_for("STOPPING=1")
            # A second signal would end it at once.
            assert node.wait() == 0, node.log_tail()
        finally:
            node.kill()


@scenario("SIGHUP takes over what can be, names what cannot, and a wrong file changes nothing", seconds=60)
def reloaded(world):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "roost.toml"
        path.write_text('origin = ["https://one.example"]\n')
        supervisor = Supervisor(folder)
        node = Node("--config", str(path), environment={"NOTIFY_SOCKET": supervisor.path})
        try:
            supervisor.wait_for("READY=1")
            origins = ["https://one.example", "https://two.example"]
            assert [status_of(node, origin) for origin in origins] == [101, 403]
            path.write_text('origin = ["https://two.example"]\nshards = 7\n')
            node.signal(signal.SIGHUP)
            assert "RELOADING=1" in supervisor.wait_for("RELOADING=1")
            supervisor.wait_for("READY=1")
            log_has(node, "taken=", "origin")
            log_has(node, "kept=", "shards")
            while [status_of(node, origin) for origin in origins] != [403, 101]:
                pass  # Shards hear of it by mail.
            path.write_text('origin = ["https://three.example"]\nshrads = 7\n')
            node.signal(signal.SIGHUP)
            log_has(node, "ERROR", "shrads", "nothing has changed")
            assert [status_of(node, origin) for origin in origins] == [403, 101]
            node.end()
        finally:
            node.kill()
