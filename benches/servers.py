"""The servers that are measured, each a process on ports that the kernel chose, and the build that makes them."""

import pathlib
import resource
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target" / "release"
FD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def build():
    subprocess.run(["cargo", "build", "--release", "--bin", "roost", "--example", "raw"], cwd=ROOT, check=True)


class Server:
    """A server on two ports, one for clients and one for the publisher, which it prints in this order. Ends with its `with`."""

    def __init__(self, command):
        ports = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]
        self.process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.address, self.api = self.printed_address(), self.printed_address()

    def printed_address(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with exit code {self.process.wait()} before it listened")
        return line.split()[-1].removeprefix("http://")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def raw(mode, *options):
    return Server([TARGET / "examples" / "raw", "--mode", mode, *options])


def raw_carrying(connections, mode):
    """With as many threads as `connections` take: three quarters of each table, for the kernel deals them out at random."""
    return raw(mode, "--threads", str(-(-connections * 4 // (FD_LIMIT * 3))), "--own-tables")


def roost(*options):
    return Server([TARGET / "roost", "serve", "--log-level", "warn", *options])
