"""Starts a roost node on ports of its own, learns their addresses from it, and ends it by its process id.

Must never know a scenario. Used by tests/e2e, tests/cluster, tests/conformance and tests/autobahn.
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "tests" / ".work"
CONFINE = ROOT / "tests" / "e2e" / "confine.py"
ACTIVATE = ROOT / "tests" / "e2e" / "activate.py"
# A drain may take 10 s by default; a node that needs longer hangs.
END_SECONDS = 15
LOG_TAIL_LINES = 25


def binary():
    """The program under test: `ROOST_BIN`, or the debug build, whose checks are all switched on."""
    return os.environ.get("ROOST_BIN") or str(ROOT / "target" / "debug" / "roost")


def confinement(confined):
    """The words before a program that confine.py is to confine; none if there is nothing to confine."""
    return [sys.executable, str(CONFINE), *confined] if confined else []


def activation(passed):
    """The words before a program that sockets are passed to as systemd would: pairs of a name and a socket; none without any."""
    if not passed:
        return []
    names, sockets = zip(*passed, strict=True)
    return [sys.executable, str(ACTIVATE), ":".join(names), ",".join(str(one.fileno()) for one in sockets)]


def limit_seconds(seconds, what):
    """From now on the process has `seconds` for `what`, then TimeoutError rises in the main thread; 0 lifts the limit."""

    def expired(_signal, _frame):
        raise TimeoutError(f"{what} took longer than {seconds} s")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Node:
    """A running node, `confined` by the first arguments of confine.py and with sockets `passed` to it, if there are any.

    `public` and `api` are `host:port` (or `unix:PATH`), `publics` all public ones, `log` is the file that holds its stderr, and
    `end_code` is the exit code that `end` demands.
    """

    end_code = 0

    def __init__(self, *options, environment=None, confined=(), passed=()):
        logs = WORK / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="node-", suffix=".log", dir=logs)
        self.log = pathlib.Path(name)
        listeners = [word for option in ("--listen", "--api") if option not in options for word in (option, "127.0.0.1:0")]
        command = [*activation(passed), *confinement(confined), binary(), "serve", *listeners, *options]
        with os.fdopen(handle, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
                pass_fds=[one.fileno() for _, one in passed],
            )
        try:
            # A socket without a name is a public one; several of one address are told once.
            places = {one.getsockname() for name, one in passed if name != "api"}
            self.publics = [self._address("public", passed=bool(places)) for _ in places or [None]]
            self.public = self.publics[0]
            self.api = self._address("api", passed=any(name == "api" for name, _ in passed))
        except BaseException:
            self.kill()
            raise
        # Nobody reads its further output, yet a full pipe must not stop it.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def _address(self, listener, passed):
        line = self.process.stdout.readline().decode()
        word, _, address = line.strip().partition(" ")
        behind = " from systemd" if passed else ""
        if word != listener or ":" not in address or not address.endswith(behind):
            raise AssertionError(f"expected `{listener} ADDRESS{behind}` on stdout, got {line!r}\n{self.log_tail()}")
        return address.removesuffix(behind)

    def log_tail(self):
        """The last lines that the node logged; a node that ended well keeps no log."""
        if not self.log.exists():
            return "(it ended well)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def signal(self, number):
        """Sends it a signal, unless it has ended already."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self):
        """Its exit code, once it has ended."""
        return self.process.wait(END_SECONDS)

    def end(self):
        """Ends it as an operator would and demands that it ends well."""
        self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the node did not end within {END_SECONDS} s of SIGTERM\n{self.log_tail()}") from None
        log = self.log.read_text(errors="replace")
        assert "panicked" not in log, f"the node panicked\n{self.log_tail()}"
        assert code == self.end_code, f"the node ended with {code}\n{self.log_tail()}"
        self.log.unlink()

    def kill(self):
        """Ends it at once, whatever state it is in."""
        self.process.kill()
        self.process.wait()
