"""What scenarios are made of: the list they enter, and the clients they speak through.

A scenario is a function that takes a running node. It has that node for itself, a limit of time, and fails by raising.
"""

import contextlib
import json
import os
import signal
import subprocess
import threading

import websockets.exceptions
from websockets.sync.client import connect

from node import Node, activation, binary, confinement
from wire import Wire

START_SECONDS = 10
WAIT_SECONDS = 10
SCENARIOS = []


def scenario(name, *options, seconds=30, config=None, confined=()):
    """Enters a function into the list under a sentence; `options`, `config` (a roost.toml) and `confined` are the node's."""

    def enter(function):
        SCENARIOS.append((name, function, options, seconds, config, confined))
        return function

    return enter


class World(Node):
    """A node and everybody who talks to it; all of them end with it."""

    def __init__(self, *options, confined=(), passed=()):
        super().__init__(*options, confined=confined, passed=passed)
        self.others = contextlib.ExitStack()

    def end(self):
        try:
            self.others.close()
        finally:
            super().end()

    def client(self, path="/live", **options):
        """A connected Python client."""
        ws = connect(f"ws://{self.public}{path}", proxy=None, compression=None, ping_interval=None, close_timeout=2, **options)
        return Client(self.others.enter_context(ws))

    def subscriber(self, *channels):
        """A connected client that is subscribed to `channels`."""
        client = self.client()
        for channel in channels:
            client.subscribe(channel)
        return client

    def wire(self, address=None, **options):
        """A bare TCP connection to the public listener, or to another address."""
        return self.others.enter_context(Wire(address or self.public, **options))

    def curl(self, path, *arguments, body=None):
        """What curl gets from the API."""
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]
        command += ["--write-out", "\n%{content_type}\n%{http_code}", *arguments]
        if body is not None:
            command += ["--data-binary", "@-"]
        if self.api.startswith("unix:"):
            command += ["--unix-socket", self.api.removeprefix("unix:")]
        host = "localhost" if self.api.startswith("unix:") else self.api
        done = subprocess.run([*command, f"http://{host}{path}"], input=body, capture_output=True, check=False)
        assert done.returncode == 0, f"curl {path}: exit {done.returncode} {done.stderr.decode()}"
        text, content_type, status = done.stdout.decode().rsplit("\n", 2)
        return Answer(int(status), content_type, text)

    def publish(self, channel, data):
        """Publishes through the API and returns the answer's object."""
        answer = self.curl("/publish", body=json.dumps({"channel": channel, "data": data}).encode())
        assert answer.status == 200, answer
        return answer.json()

    def run(self, command, **options):
        """Starts another program that ends with the node; with `start_new_session`, and so does whatever it starts itself."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self.others.callback(finish, process)
        return process


def finish(process):
    """Ends a program at once, and the group that it leads if it leads one."""
    if process.poll() is None:
        leads = os.getpgid(process.pid) == process.pid
        (os.killpg if leads else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()


def refuses(*arguments, environment=None, confined=(), passed=()):
    """The exit code and the words of a node that will not start."""
    command = [*activation(passed), *confinement(confined), binary(), *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=[one.fileno() for _, one in passed],
    )
    assert done.returncode != 0, f"{arguments} started: {done.stdout}"
    assert "panicked" not in done.stderr, done.stderr
    return done.returncode, done.stderr


class Answer:
    """An answer of the API: `status`, `content_type`, `text`."""

    def __init__(self, status, content_type, text):
        self.status = status
        self.content_type = content_type
        self.text = text

    def __repr__(self):
        return f"{self.status} {self.content_type} {self.text[:300]!r}"

    def json(self):
        """The one JSON value that the body is."""
        assert self.content_type.startswith("application/json"), self
        return json.loads(self.text)

    def error(self, status, code):
        """Demands a JSON error on one line with this status and code."""
        assert self.status == status, self
        assert len(self.text.strip().splitlines()) == 1, self
        error = self.json()["error"]
        assert error["code"] == code, self
        assert error["message"], self


class Client:
    """A WebSocket client that speaks JSON."""

    def __init__(self, ws):
        self.ws = ws

    def say(self, message):
        """Sends an object, or a text as it is."""
        self.ws.send(message if isinstance(message, str) else json.dumps(message))

    def hear_text(self):
        """The next message as it arrived."""
        return self.ws.recv(timeout=WAIT_SECONDS)

    def hear(self):
        """The next message as an object."""
        return json.loads(self.hear_text())

    def ask(self, message):
        """Sends a message and returns the next one that arrives."""
        self.say(message)
        return self.hear()

    def subscribe(self, channel, **members):
        """Subscribes and returns the cursor."""
        answer = self.ask({"type": "subscribe", "channel": channel, **members})
        assert answer["type"] == "subscribed" and answer["channel"] == channel, answer
        return answer["cursor"]

    def error(self, message, code, **members):
        """Demands that a message is answered by an error with this code, and that the connection lives on."""
        answer = self.ask(message)
        text = answer.pop("message", None)
        assert text, f"{message}: an error says what is wrong: {answer}"
        assert answer == {"type": "error", "code": code, **members}, f"{message}: {answer}"
        assert self.ask({"type": "ping"}) == {"type": "pong"}

    def closed(self):
        """The code and reason of the close that comes next, past any message before it."""
        try:
            while True:
                self.ws.recv(timeout=WAIT_SECONDS)
        except websockets.exceptions.ConnectionClosed as closed:
            assert closed.rcvd, "the connection ended without a close frame"
            return closed.rcvd.code, closed.rcvd.reason


def in_parallel(*functions):
    """Runs them at the same time; raises what the first of them raised."""
    faults = []

    def guarded(function):
        try:
            function()
        except BaseException as fault:  # handed on below, whatever it is
            faults.append(fault)

    threads = [threading.Thread(target=guarded, args=[function], daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
