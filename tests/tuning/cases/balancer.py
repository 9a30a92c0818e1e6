"""The load balancers' configurations as they stand, in a machine that has the addresses they name, before two real nodes."""

import json
import re

from harness import ROOT, case
from machine import Machine
from node import binary

BALANCERS = ROOT / "tuning" / "load-balancer"
# Some hosts keep from their root what it takes to raise limits: fewer connections are all that is changed for them (-n).
# Name, its configuration here and there, its certificate, its judgement of the configuration, its command.
HAPROXY = (
    "haproxy.cfg", "/etc/haproxy/haproxy.cfg", "/etc/haproxy/certs/live.pem",
    ["haproxy", "-dW", "-c", "-f", "/etc/haproxy/haproxy.cfg"], ["haproxy", "-W", "-db", "-n", "5000", "-f", "/etc/haproxy/haproxy.cfg"],
)
NGINX = ("nginx.conf", "/etc/nginx/nginx.conf", "/etc/nginx/certs/live.pem", ["nginx", "-t", "-q"], ["nginx", "-g", "daemon off;"])
ADDRESSES = {"edge-1": "10.0.0.11", "edge-2": "10.0.0.12"}
UPGRADE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
BENCH = "/usr/local/bin/roost bench idle --url ws://127.0.0.1/live --channel c --seconds 1 --warm-up 0 --rounds 1 --json 2> /dev/null"


class Site:
    """Two nodes and a balancer in a machine."""

    def __init__(self, machine, balancer, *options):
        self.machine = machine
        name, place, certificate, judge, command = balancer
        machine.copy(binary(), "/usr/local/bin/roost")
        machine.copy(BALANCERS / name, place)
        machine.write(certificate, "")
        machine.run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=live.example",
            "-keyout", "/run/key.pem", "-out", "/run/cert.pem",
        )
        machine.run("sh", "-c", f"cat /run/cert.pem /run/key.pem > {certificate}")
        said = machine.run(*judge)
        assert said in ("", "Configuration file is valid\n"), said
        for number, (node, address) in enumerate(ADDRESSES.items()):
            machine.run("ip", "address", "add", f"{address}/32", "dev", "lo")
            listen = [f"--listen={address}:8080", f"--api=127.0.0.1:{9001 + number}"]
            self.start(node, "/usr/local/bin/roost", "serve", *listen, *(options if number == 0 else ()))
        self.start("balancer", *command)
        for node in ADDRESSES:
            machine.until(f"{node} is ready", lambda node=node: self.ask(node, "/readyz"))
        machine.until("the balancer serves", lambda: self.get("http://127.0.0.1/roost.js", code=None)[0] == 200)

    def start(self, unit, *command):
        self.machine.run("systemd-run", "--quiet", f"--unit={unit}", "--property=LimitNOFILE=20000", *command)

    def ask(self, node, path, *words):
        """What a node's API says."""
        return self.machine.run("curl", "-sS", *words, f"127.0.0.1:{9001 + list(ADDRESSES).index(node)}{path}", code=None)

    def get(self, url, *words, seconds=10, code=0):
        """Status and body of an answer, of whoever's certificate."""
        text = self.machine.run("curl", "-sSk", "--max-time", seconds, "--write-out", "\n%{http_code}", *words, url, code=code)
        body, _, status = text.rpartition("\n")
        return int(status), body

    def stream(self, name, url, headers=()):
        """A client that goes on and on; what it hears is in a file."""
        words = [word for header in headers for word in ("--header", header)]
        self.start(name, "sh", "-c", 'exec curl -skN --http1.1 "$@" > /run/"$0"', name, *words, url)

    def heard(self, name, text):
        """Waits until a stream has said this."""
        return self.machine.until(f"{name} hears {text}", lambda: self.machine.run("grep", "--text", "-o", text, f"/run/{name}", code=None))

    def connections(self, node):
        """How many clients a node has."""
        return sum(map(int, re.findall(r"^roost_connections(?:\{[^}]*\})? (\d+)$", self.ask(node, "/metrics"), re.MULTILINE)))

    def bench(self, count):
        report = json.loads(self.machine.run("sh", "-c", f"{BENCH} --connections {count}"))
        assert report["pass"] and report["complaints_total"] == 0 and report["server"]["lost"] == 0, report


def every_way(balancer):
    with Machine() as machine:
        site = Site(machine, balancer)
        for name, url, headers in (
            ("ws", "http://127.0.0.1/live?channel=news", UPGRADE),
            ("wss", "https://127.0.0.1/live?channel=news", UPGRADE),
            ("events", "https://127.0.0.1/events?channel=news", ()),
        ):
            site.stream(name, url, headers)
        for name in ("ws", "wss"):
            site.heard(name, '"type":"subscribed"')
        site.heard("events", "^id:")
        status, body = site.get("http://127.0.0.1/poll?channel=news&wait=0")
        assert status == 200 and "cursors" in json.loads(body), body
        for node in ADDRESSES:
            site.ask(node, "/publish", "-d", '{"channel":"news","data":"from here"}')
        for name in ("ws", "wss", "events"):
            site.heard(name, '"data":"from here"')
        # What publishers use is not for the public.
        assert site.get("http://127.0.0.1/publish", "-d", '{"channel":"news","data":1}')[0] == 404
        assert site.get("https://127.0.0.1/metrics")[0] == 404


def nodes_away(balancer):
    with Machine() as machine:
        site = Site(machine, balancer)
        for number in range(8):
            site.stream(f"ws{number}", "http://127.0.0.1/live?channel=news", UPGRADE)
            site.heard(f"ws{number}", '"type":"subscribed"')
        assert all(site.connections(node) >= 3 for node in ADDRESSES), [site.connections(node) for node in ADDRESSES]
        machine.run("systemctl", "stop", "edge-1")
        told = [name for name in (f"ws{number}" for number in range(8)) if machine.run("grep", "-c", "--text", "retry_after_ms", f"/run/{name}", code=None) != "0\n"]
        assert 3 <= len(told) <= 5, told
        site.bench(300)


def node_full(balancer):
    with Machine() as machine:
        site = Site(machine, balancer, "--max-connections=50", "--shards=1")
        site.bench(400)


for name, balancer in (("HAProxy", HAPROXY), ("nginx", NGINX)):
    case(f"{name} takes its configuration and lets WebSockets, events and polls through, and nothing else", seconds=90)(
        lambda balancer=balancer: every_way(balancer)
    )
    case(f"{name} spreads clients over nodes, and those of a node that stops go to the other, told to come back", seconds=90)(
        lambda balancer=balancer: nodes_away(balancer)
    )
    case(f"{name} sends who finds one node full to the other", seconds=90)(lambda balancer=balancer: node_full(balancer))
