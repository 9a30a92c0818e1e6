"""A node starts, keeps watch over its connections, and ends; and says clearly why it will not start."""

import json
import os
import re
import signal
import socket
import subprocess
import tempfile

from harness import START_SECONDS, World, refuses, scenario
from node import binary
from wire import CLOSE, PING, PONG, TEXT, frame, upgrade


def ends_well(world, number):
    clients = [world.client(), world.subscriber("a"), world.client(subprotocols=["roost.v1"])]
    world.wire().send(b"GET /live HTTP/1.1\r\nHost:")  # in the middle of its handshake
    world.signal(number)
    for client in clients:
        code, reason = client.closed()
        assert code == 1001, code
        assert re.fullmatch(r"(.* )?retry_after_ms=\d+", reason), reason
    assert world.wait() == 0
    with socket.socket() as late:
        host, _, port = world.public.rpartition(":")
        assert late.connect_ex((host, int(port))) != 0, "somebody still listens"


@scenario("SIGTERM closes every connection with 1001 and ends with exit code 0")
def sigterm(world):
    ends_well(world, signal.SIGTERM)


@scenario("SIGINT closes every connection with 1001 and ends with exit code 0")
def sigint(world):
    ends_well(world, signal.SIGINT)


@scenario("SIGTERM ends a node that nobody is connected to, at once", seconds=5)
def sigterm_alone(world):
    world.signal(signal.SIGTERM)
    assert world.wait() == 0


@scenario("a second SIGTERM ends the drain at once", "--drain-over", "1h", seconds=10)
def second_signal(world):
    stuck = world.wire().open()
    world.signal(signal.SIGTERM)
    # Readiness turns false first, so that nobody is sent here any more.
    while world.curl("/readyz").status == 200:
        pass
    world.signal(signal.SIGTERM)
    # Not 0: this end was forced, with a client still there.
    world.end_code = 1
    assert world.wait() == 1
    stuck.socket.close()


@scenario("a port that is taken gives exit code 1 and an error that names it")
def port_taken(world):
    for option, address in [("--listen", world.public), ("--api", world.api)]:
        other = "--api" if option == "--listen" else "--listen"
        code, words = refuses("serve", option, address, other, "127.0.0.1:0")
        assert code == 1, (code, words)
        assert address.rpartition(":")[2] in words, words


@scenario("a wrong option, key or value is named, with its place and the nearest valid one")
def wrong_options(world):
    _, words = refuses("serve", "--lisen", "127.0.0.1:0")
    assert "--lisen" in words and "--listen" in words, words
    _, words = refuses("serve", "--ping-interval", "fast")
    assert "ping-interval" in words and "fast" in words, words
    _, words = refuses("serve", "--listen", "nowhere")
    assert "nowhere" in words, words
    _, words = refuses("serve", "--config", "/nonexistent/roost.toml")
    assert "/nonexistent/roost.toml" in words, words
    _, words = refuses("sevre")
    assert "sevre" in words and "serve" in words, words


@scenario("an API address that others can reach is refused: whoever reaches it may publish")
def open_api(world):
    _, words = refuses("serve", "--listen", "127.0.0.1:0", "--api", "0.0.0.0:0")
    assert "0.0.0.0" in words and "loopback" in words, words


@scenario("--print-config shows each value and where it came from", config='ping_interval = "7s"\n')
def print_config(world):
    config = world.process.args[world.process.args.index("--config") + 1]
    done = subprocess.run(
        [binary(), "serve", "--print-config", "--config", config, "--idle-timeout", "99s"],
        capture_output=True, text=True, timeout=START_SECONDS, check=False, env={"ROOST_MAX_MESSAGE": "32KiB"}, stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    by_key = {line.replace("-", "_").split("=")[0].strip(): line for line in done.stdout.splitlines() if "=" in line}
    assert "7s" in by_key["ping_interval"] and "roost.toml" in by_key["ping_interval"], by_key
    assert "99s" in by_key["idle_timeout"] and "--idle-timeout" in by_key["idle_timeout"], by_key
    assert "32" in by_key["max_message"] and "ROOST_MAX_MESSAGE" in by_key["max_message"], by_key
    assert "default" in by_key["handshake_timeout"], by_key


@scenario("roost alone prints its help and a quick start")
def help_text(world):
    done = subprocess.run([binary()], capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert done.returncode == 0, done
    for words in ["Usage: roost", "roost serve", "roost tail", "roost publish"]:
        assert words in done.stdout, done


@scenario("a silent client is pinged, and one that answers stays", "--ping-interval", "200ms", "--idle-timeout", "2s")
def pinged(world):
    wire = world.wire().open()
    # Eleven pings take longer than the idle timeout.
    for _ in range(11):
        opcode, payload = wire.frame()
        assert opcode == PING, (opcode, payload)
        wire.send(frame(PONG, payload))
    wire.send(frame(TEXT, '{"type":"ping"}'))
    opcode, payload = wire.frame()
    while opcode == PING:
        opcode, payload = wire.frame()
    assert json.loads(payload) == {"type": "pong"}


@scenario("a client that does not answer its pings is gone after the idle timeout", "--ping-interval", "200ms", "--idle-timeout", "600ms")
def idle(world):
    wire = world.wire().open()
    opcodes = []
    try:
        while CLOSE not in opcodes:
            opcode, payload = wire.frame()
            opcodes.append(opcode)
        assert int.from_bytes(payload[:2], "big") == 4004, payload
        wire.ended()
    except EOFError:
        pass
    assert 1 <= opcodes.count(PING) <= 4, opcodes
    assert set(opcodes) <= {PING, CLOSE}, opcodes


@scenario("a client that talks without being pinged stays", "--ping-interval", "200ms", "--idle-timeout", "2s")
def talking(world):
    client = world.client()
    # The library answers pings by itself; the server's replies pace the loop for more than the idle timeout.
    wire = world.wire().open()
    for _ in range(11):
        assert wire.frame()[0] == PING
        wire.send(frame(TEXT, '{"type":"ping"}'))
        opcode, payload = wire.frame()
        assert (opcode, json.loads(payload)) == (TEXT, {"type": "pong"})
    assert client.ask({"type": "ping"}) == {"type": "pong"}


@scenario("one connection too many gets 503 and when to try again; a place that is free is given away", "--max-connections", "4", "--shards", "1")
def full(world):
    wires = [world.wire().open() for _ in range(4)]
    late = world.wire()
    late.send(upgrade())
    response = late.response()
    assert response.status == 503 and int(response.headers["retry-after"]) > 0, (response.status, response.headers)
    assert json.loads(response.body)["error"]["code"], response.body
    late.ended()
    wires[0].socket.close()
    while "roost_connections 3\n" not in re.sub(r"\{.*?\}", "", world.curl("/metrics").text):
        pass
    again = world.wire()
    again.send(upgrade())
    assert again.response().status == 101


@scenario("the API listens on a Unix socket and leaves none behind")
def unix_socket(world):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/api.sock"
        other = World("--api", f"unix:{path}")
        try:
            client = other.subscriber("a")
            other.publish("a", 1)
            assert client.hear()["data"] == 1
            publish = other.run([binary(), "publish", "a", "2", "--api", f"unix:{path}"])
            assert publish.wait(START_SECONDS) == 0, publish.stderr.read()
            assert client.hear()["data"] == 2
            other.end()
            assert os.listdir(folder) == [], os.listdir(folder)
        finally:
            other.kill()


@scenario("more than one shard: clients of all shards hear each other", "--shards", "3")
def shards(world):
    clients = [world.subscriber("a") for _ in range(24)]
    world.publish("a", "to all")
    assert {client.hear()["data"] for client in clients} == {"to all"}
    assert world.curl("/channels/a").json()["subscribers"] == 24
