"""What tuning/observability says, against promtool, a real node, and a real Prometheus that scrapes it."""

import contextlib
import http.client
import json
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.parse

from harness import ROOT, case
from node import Node, binary

FILES = ROOT / "tuning" / "observability"
TESTS = ROOT / "tests" / "tuning" / "observability" / "alerts.yml"
METRIC = re.compile(r"\b(?:roost|process)_[a-z_]+\b")
# What this host may hide from a node, and the file that says so.
HIDDEN = {
    "roost_kernel_conntrack": "/proc/sys/net/netfilter/nf_conntrack_count",
    "roost_kernel_tcp_memory_max": "/proc/sys/net/ipv4/tcp_mem",
    "roost_kernel_tcp_orphans_max": "/proc/sys/net/ipv4/tcp_max_orphans",
}


def promtool(*arguments, **options):
    """Demands that promtool is content; returns all that it says."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"promtool {arguments}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def fetch(address, path, **headers):
    """Status, content type and body of an answer."""
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()


@contextlib.contextmanager
def running(*options):
    """A node, which is ended."""
    node = Node(*options)
    try:
        yield node
        node.end()
    finally:
        node.kill()


def panels():
    """The panels of the dashboard that ask for something: title, and what they ask."""
    dashboard = json.loads((FILES / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def without_variables(expression):
    return expression.replace("$__rate_interval", "6s").replace("$job", ".+").replace("$instance", ".+")


def hidden(name):
    """Whether this host hides a metric from a node."""
    return any(name.startswith(beginning) and not pathlib.Path(file).exists() for beginning, file in HIDDEN.items())


@case("promtool takes the alert rules and the example of a configuration", seconds=60)
def checked():
    said = promtool("check", "rules", FILES / "alerts.yml")
    rules = len(re.findall(r"- alert:", (FILES / "alerts.yml").read_text()))
    assert f"{rules} rules found" in said, said
    assert f"| {rules} alert rules" in (FILES / "README.md").read_text(), "the README counts other rules"
    promtool("check", "config", FILES / "prometheus.yml")


@case("every alert fires when it should, alone, and not just before", seconds=300)
def alerts():
    alerts = re.findall(r"- alert: (\w+)", (FILES / "alerts.yml").read_text())
    tests = re.findall(r'- name: "(\w+) (fires|is silent)', TESTS.read_text())
    for alert in alerts:
        for outcome in ("fires", "is silent"):
            assert (alert, outcome) in tests, f"no test that {alert} {outcome}"
    assert {alert for alert, _ in tests} == set(alerts)
    promtool("test", "rules", TESTS)


@case("every alert says what it means and what to do, by options and commands that there are")
def runbooks():
    text = (FILES / "alerts.yml").read_text()
    rules = text.split("- alert: ")[1:]
    helps = [[binary(), "serve"], [binary(), "ctl", "drain"], [binary(), "ctl", "conns"], [binary(), "doctor"], [str(ROOT / "tuning" / "tune")]]
    known = "".join(subprocess.run([*words, "--help"], capture_output=True, text=True, check=True).stdout for words in helps)
    for rule in rules:
        name = rule.split()[0]
        for part in ("severity", "summary", "description", "runbook"):
            assert len(re.findall(rf"{part}: ", rule)) == 1, f"{name}: {part}"
        for option in re.findall(r"(?<![\w-])--[a-z-]+", rule):
            assert option in known, f"{name}: there is no {option}"
    commands = set(re.findall(r"\broost (ctl \w+|doctor)", text))
    assert len(commands) >= 4, commands
    for command in commands:
        done = subprocess.run([binary(), *command.split(), "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"there is no roost {command}"


@case("promtool takes what a node says of itself, and it says all that dashboard, alerts and their page name", seconds=60)
def names():
    with running("--shards", "2") as node:
        _, plain_type, plain = fetch(node.api, "/metrics")
        _, open_type, text = fetch(node.api, "/metrics", Accept="application/openmetrics-text; version=1.0.0, text/plain;version=0.0.4;q=0.5")
    assert plain_type.startswith("text/plain; version=0.0.4"), plain_type
    assert open_type.startswith("application/openmetrics-text") and text.endswith("# EOF\n"), open_type
    promtool("check", "metrics", input=plain)
    known = {re.match(r"[a-z_]+", line)[0] for line in plain.splitlines() if not line.startswith("#")}
    used = {name for _, expression in panels() for name in METRIC.findall(expression)}
    rules = "".join(re.findall(r"expr: ((?:.|\n)*?)\n +(?:for|labels):", (FILES / "alerts.yml").read_text()))
    used |= set(METRIC.findall(rules))
    page = re.sub(r"roost_(\w*)\{([a-z_]+(?:,[a-z_]+)+)\}(\w+)", lambda m: " ".join(f"roost_{m[1]}{one}{m[3]}" for one in m[2].split(",")), (FILES / "README.md").read_text())
    used |= {name for name in re.findall(r"`?\b(roost_[a-z_]+[a-z])\b", page) if not name.endswith("_kernel_tcp")}
    histograms = {name for name in used if f"{name}_bucket" in known}
    missing = {name for name in used - known - histograms if not hidden(name)}
    assert len(used) > 60 and not missing, sorted(missing)


@case("every panel of the dashboard shows something that a real Prometheus has scraped", seconds=120)
def dashboard():
    with running("--shards", "2") as node, scraped(node) as prometheus:
        load = [binary(), "bench", "idle", "--url", f"ws://{node.public}/live", "--connections", "20", "--channel", "c"]
        load += ["--seconds", "60", "--warm-up", "0", "--rounds", "1", "--json"]
        bench = subprocess.Popen(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until("the clients are there", lambda: query(prometheus, "sum(roost_subscriptions) >= 20"))
            for number in range(50):
                publish(node.api, number)
                time.sleep(0.1)
            until("passes were scraped", lambda: query(prometheus, "sum(rate(roost_pass_seconds_count[6s])) > 0"))
            for title, expression in panels():
                shown = query(prometheus, without_variables(expression))
                names = METRIC.findall(expression)
                assert shown or any(map(hidden, names)), f"{title} shows nothing: {expression}"
            firing = query(prometheus, 'ALERTS{alertstate="firing"}')
            assert firing == [], firing
        finally:
            bench.kill()
            bench.wait()


@contextlib.contextmanager
def scraped(node):
    """A Prometheus with the example of a configuration, which scrapes this node each second; its address."""
    with tempfile.TemporaryDirectory(prefix="roost-prometheus-") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
        free.close()
        text = (FILES / "prometheus.yml").read_text()
        text, targets = re.subn(r"targets: \[\"edge-1.*\]", f'targets: ["{node.api}"]', text)
        text, intervals = re.subn(r"_interval: 15s", "_interval: 1s", text)
        assert (targets, intervals) == (1, 2), text
        place = pathlib.Path(folder)
        (place / "prometheus.yml").write_text(text)
        (place / "alerts.yml").write_text((FILES / "alerts.yml").read_text())
        command = ["prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/data", f"--web.listen-address={address}"]
        with open(place / "log", "w+") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                until("Prometheus has scraped the node", lambda: query(address, 'up{job="roost"} == 1'))
                yield address
            finally:
                process.kill()
                process.wait()


def query(address, expression):
    """What Prometheus has for an expression; nothing while it does not answer."""
    try:
        status, _, body = fetch(address, f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
    except OSError:
        return []
    assert status in (200, 503), f"{expression}: {body}"
    return json.loads(body)["data"]["result"] if status == 200 else []


def publish(address, number):
    connection = http.client.HTTPConnection(address, timeout=10)
    with contextlib.closing(connection):
        connection.request("POST", "/publish", json.dumps({"channel": "c", "data": number}))
        assert connection.getresponse().status == 200


def until(what, condition, seconds=40):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.2)
