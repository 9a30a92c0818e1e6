"""A Redis server of Debian's on a loopback port of its own, which can be killed, stopped, started again, and asked.

Must never know what roost keeps in it.
"""

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import subprocess

START_SECONDS = 10
LOOK_SECONDS = 0.02
# How it keeps its data: each write before it is answered; when it is told to; never.
ALWAYS, SNAPSHOT, NEVER = "always", "snapshot", "never"
KEEPING = {
    ALWAYS: ["--appendonly", "yes", "--appendfsync", "always", "--save", ""],
    SNAPSHOT: ["--appendonly", "no", "--save", "", "--dbfilename", "dump.rdb"],
    NEVER: ["--appendonly", "no", "--save", "", "--dbfilename", "none.rdb"],
}


class Said(Exception):
    """An error that Redis answered."""


class Redis:
    """The server in `folder`, on one port over all its lives; with more `options`, over TLS as `tls` believes it, or as another `program`."""

    def __init__(self, folder, keeping, *options, tls=None, program=()):
        self.folder, self.keeping = pathlib.Path(folder), keeping
        self.options, self.tls, self.program = options, tls, program
        self.folder.mkdir()
        self.log = self.folder / "redis.log"
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    async def start(self):
        """Starts it on the data that it has; ready when this returns."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while True:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(self._words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            while self.process.poll() is None:
                try:
                    await self.command("PING")
                    return self
                except (OSError, EOFError, Said):  # it does not listen, or still loads
                    await asyncio.sleep(LOOK_SECONDS)
            # Somebody's connection may have been given the port meanwhile.
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"redis-server did not start:\n{self.log_tail()}")
            await asyncio.sleep(LOOK_SECONDS)

    def _words(self):
        port = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        keeping = [] if self.program else KEEPING[self.keeping]
        return ["redis-server", *self.program, *port, "--bind", "127.0.0.1", "--dir", str(self.folder), *keeping, *self.options]

    def kill(self):
        """Ends it at once."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def forget(self):
        """Throws its data away, once it has ended."""
        assert self.process.poll() is not None
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)
        for path in self.folder.glob("*.rdb"):
            path.unlink()

    def stop(self):
        """From now on it takes connections, as the kernel does that for it, and says nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    async def command(self, *words):
        """What it answers to a command, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)
        try:
            encoded = [str(word).encode() for word in words]
            writer.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
            return await answer(reader)
        finally:
            writer.transport.abort()

    async def cut(self, kind):
        """Cuts connections of one kind, `normal` or `pubsub`, and tells how many there were."""
        return await self.command("CLIENT", "KILL", "TYPE", kind)

    async def info(self, name):
        """A figure of its INFO."""
        for line in (await self.command("INFO", "everything")).splitlines():
            if line.startswith(f"{name}:"):
                return line.split(":", 1)[1]
        raise KeyError(name)

    def log_tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:]) if self.log.exists() else "(no log)"


async def answer(reader):
    """One answer of Redis' protocol, RESP 2."""
    line = (await reader.readuntil(b"\r\n"))[:-2].decode()
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise Said(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else (await reader.readexactly(int(rest) + 2))[:-2].decode(errors="replace")
    if kind == "*":
        return [await answer(reader) for _ in range(int(rest))]
    return rest


def free_port():
    """A port that nobody has now. Whoever takes it later may find that somebody was faster, and waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
