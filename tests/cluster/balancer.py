"""HAProxy in front of three nodes, with a listening socket that it is handed, so that nobody can take its port.

Must never know a client.
"""

import os
import pathlib
import socket
import subprocess

CONFIG = pathlib.Path(__file__).resolve().parent / "haproxy.cfg"
# Debian keeps it where only root's PATH leads.
HAPROXY = "/usr/sbin/haproxy"
END_SECONDS = 10


class Balancer:
    """Round robin over `nodes`, which are three and keep their addresses."""

    def __init__(self, folder, nodes):
        self.log = pathlib.Path(folder) / "haproxy.log"
        variables = {}
        for number, node in enumerate(nodes, 1):
            variables |= {f"NODE{number}": node.public, f"API{number}": node.api.rsplit(":", 1)[1]}
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, self.log.open("wb") as log:
            self.address = "{}:{}".format(*listener.getsockname())
            self.process = subprocess.Popen(
                [HAPROXY, "-db", "-f", str(CONFIG)],
                env={**os.environ, **variables, "LISTENER": str(listener.fileno())},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[listener.fileno()],
            )

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
