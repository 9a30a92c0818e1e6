"""The service files: what systemd thinks of them, and the node behind them in a machine that a real systemd runs."""

import json
import pathlib
import re
import resource
import subprocess
import textwrap

from harness import ROOT, case
from machine import Machine
from node import binary

SYSTEMD = ROOT / "tuning" / "systemd"
EXPOSURE_MAX = 15  # tenths
CONFIG = 'listen = "127.0.0.1:8080"\napi = "127.0.0.1:8081"\nmax_connections = 3000\nshards = 2\n'
# As the README of tuning/systemd has it.
API_SOCKET = textwrap.dedent(re.search(r"^ +# /etc/systemd/system/roost-api.socket\n((?: +.*\n)+)", (SYSTEMD / "README.md").read_text(), re.MULTILINE)[1])
# Which of the calls that matter the unit's filter lets through: run in the unit's place.
PROBE = r"""
import ctypes, errno, json, mmap, os, resource, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *words):
    ctypes.set_errno(0)
    return "ok" if function(*words) != -1 else errno.errorcode[ctypes.get_errno()]
def attempt(function):
    try:
        function()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]
def reuseport():
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    code = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    one.setsockopt(socket.SOL_SOCKET, 51, struct.pack("@HP", 1, ctypes.addressof(code)))
def pass_on():
    left, right = socket.socketpair()
    socket.send_fds(left, [b"x"], [0])
    socket.recv_fds(right, 1, 1)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(json.dumps({
    "close_range": call(libc.syscall, 436, ctypes.c_uint(0xFFFFFFFF), ctypes.c_uint(0xFFFFFFFF), 2),
    "unshare files": call(libc.unshare, 0x400),
    "unshare users": call(libc.unshare, 0x10000000),
    "unshare network": call(libc.unshare, 0x40000000),
    "prlimit": attempt(lambda: resource.prlimit(0, resource.RLIMIT_NOFILE, (hard, hard))),
    "SCM_RIGHTS": attempt(pass_on),
    "reuseport program": attempt(reuseport),
    "execve": attempt(lambda: os.execv("/nowhere", ["nowhere"])),
    "mount": call(libc.mount, b"none", b"/mnt", b"tmpfs", 0, None),
    "affinity": attempt(lambda: os.sched_setaffinity(0, [0])),
    "netlink": attempt(lambda: socket.socket(socket.AF_NETLINK)),
    "write and execute": attempt(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)),
    "write /etc": attempt(lambda: open("/etc/x", "w")),
    "read /proc/sys": attempt(lambda: open("/proc/sys/fs/file-nr").read()),
    "write /proc/sys": attempt(lambda: open("/proc/sys/net/core/somaxconn", "w")),
    "uid 0": "yes" if os.getuid() == 0 else "no",
    "nofile": hard,
}))
"""


# Who connects while a node leaves and another one starts: run beside both. Says what everyone was answered.
WAITING = r"""
import os, socket, subprocess
UPGRADE = (b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
def knock():
    one = socket.create_connection(("127.0.0.1", 80), 60)
    one.sendall(UPGRADE)
    return one
def pid():
    return subprocess.check_output(["systemctl", "show", "--value", "--property=MainPID", "roost.service"], text=True).strip()
def holds(process):
    try:
        return any(os.readlink(f"/proc/{process}/fd/{fd}") == f"socket:[{inode}]" for fd in os.listdir(f"/proc/{process}/fd"))
    except FileNotFoundError:
        return False
rows = [row.split() for row in open("/proc/net/tcp")]
(inode,) = [row[9] for row in rows if row[1].endswith(":0050") and row[3] == "0A"]
before, stays = pid(), knock()
assert stays.recv(4096).startswith(b"HTTP/1.1 101 ") and holds(before)
restart = subprocess.Popen(["systemctl", "restart", "roost.service"])
while holds(before):
    pass
waiting = [knock() for _ in range(20)]
answers = [one.recv(4096).split()[1].decode() for one in waiting]
assert restart.wait() == 0 and pid() != before
print(answers)
"""
# How many of a hundred clients each shard has.
HELD = r"""
import re, socket, subprocess
held = [socket.create_connection(("127.0.0.1", 80)) for _ in range(100)]
counts = []
while sum(counts) < 100:
    said = subprocess.check_output(["curl", "-s", "127.0.0.1:8081/metrics"], text=True)
    counts = [int(count) for count in re.findall(r'^roost_connections\{shard="\d"\} (\d+)$', said, re.MULTILINE)]
print(counts)
"""


def with_unit(machine, config=CONFIG, **drop_ins):
    """Puts binary, configuration and unit where they belong."""
    machine.copy(binary(), "/usr/local/bin/roost")
    machine.write("/etc/roost/roost.toml", config)
    for name in ("roost.service", "roost.socket"):
        machine.copy(SYSTEMD / name, f"/etc/systemd/system/{name}")
    for name, text in drop_ins.items():
        machine.write(f"/etc/systemd/system/roost.service.d/{name}.conf", text)
    machine.run("systemctl", "daemon-reload")


def may_raise_limits():
    """Whether this host's root has CAP_SYS_RESOURCE."""
    effective = re.search(r"^CapEff:\s+(\w+)$", pathlib.Path("/proc/self/status").read_text(), re.MULTILINE)[1]
    return bool(int(effective, 16) & 1 << 24)


@case("the service and its socket are clean in systemd-analyze verify, with each drop-in", seconds=60)
def verify():
    with Machine() as machine:
        with_unit(machine)
        units = ["/etc/systemd/system/roost.service", "/etc/systemd/system/roost.socket"]
        assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""
        drop_in = "/etc/systemd/system/roost.service.d/tried.conf"
        machine.copy(SYSTEMD / "capacity.conf", drop_in)
        assert machine.run("systemd-analyze", "verify", "--man=no", *units) == ""
        machine.copy(SYSTEMD / "notify-reload.conf", drop_in)
        said = machine.run("systemd-analyze", "verify", "--man=no", *units)
        version = int(re.search(r"systemd (\d+)", machine.run("systemctl", "--version"))[1])
        # An older one passes over the one word that it does not know.
        known = version >= 253
        assert (said == "") == known and (known or said.count("\n") == 1 and "notify-reload" in said), said


@case("systemd calls the service's exposure low")
def exposure():
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(SYSTEMD / "roost.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    exposed = float(re.search(r"Overall exposure level for roost.service: ([0-9.]+)", done.stdout)[1])
    assert exposed * 10 <= EXPOSURE_MAX, exposed


@case("a node in the unit has no privilege, an allocator set up, and serves from several descriptor tables behind the filter", seconds=90)
def node():
    with Machine() as machine:
        with_unit(machine, small="[Service]\nLimitNOFILE=1500\n")
        # Ends when the node has said that it is ready.
        machine.run("systemctl", "start", "roost.service")
        assert machine.run("curl", "-s", "127.0.0.1:8081/readyz").strip() == "ready"
        pid = machine.property("roost.service", "MainPID")
        status = dict(re.findall(r"^(\w+):\s+(.*)$", machine.run("cat", f"/proc/{pid}/status"), re.MULTILINE))
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0, status
        assert "0" not in status["Uid"].split(), status["Uid"]
        assert "GLIBC_TUNABLES=glibc.malloc.tcache_count=0" in machine.run("cat", f"/proc/{pid}/environ")
        # Some hosts keep back the privilege for this from their root; systemd then goes as far as it may.
        assert not may_raise_limits() or machine.run("cat", f"/proc/{pid}/oom_score_adj").strip() == "-500"
        assert re.search(r"Max open files +1500 +1500", machine.run("cat", f"/proc/{pid}/limits"))
        bench = "/usr/local/bin/roost bench idle --url ws://127.0.0.1:8080/live --channel c --seconds 1 --warm-up 0 --rounds 1 --json"
        report = json.loads(machine.run("sh", "-c", f"{bench} --connections 2800 2> /dev/null"))
        assert report["pass"] and report["complaints_total"] == 0 and report["server"]["lost"] == 0, report
        assert "own_tables=true connections=3000" in machine.log(), machine.log()
        machine.run("systemctl", "stop", "roost.service")
        assert machine.property("roost.service", "Result") == "success", machine.log()
        assert machine.property("roost.service", "ExecMainStatus") == "0", machine.log()


@case("a node behind roost.socket starts with the first client, without privilege on port 80, and a restart loses nobody", seconds=90)
def activated():
    with Machine() as machine:
        with_unit(machine)
        machine.write("/etc/systemd/system/roost-api.socket", API_SOCKET)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "roost.socket", "roost-api.socket")
        assert machine.property("roost.service", "ActiveState") == "inactive"
        assert "426 Upgrade Required" in machine.run("curl", "-si", "127.0.0.1/live")
        assert machine.run("curl", "-s", "--unix-socket", "/run/roost-api.sock", "localhost/readyz").strip() == "ready"
        log = machine.log()
        assert 'public=0.0.0.0:80 api="unix:/run/roost-api.sock"' in log and 'from_systemd="public api"' in log, log
        status = machine.run("cat", f"/proc/{machine.property('roost.service', 'MainPID')}/status")
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE) and re.search(r"^Uid:\s+[1-9]", status, re.MULTILINE), status
        machine.write("/etc/roost/waiting.py", WAITING)
        said = machine.run("python3", "/etc/roost/waiting.py")
        assert said.strip() == str(["101"] * 20), said
        machine.run("systemctl", "stop", "roost.socket", "roost-api.socket", "roost.service")
        assert machine.property("roost.service", "Result") == "success", machine.log()
        assert machine.run("curl", "-s", "127.0.0.1/live", code=7) == ""


@case("roost.socket with ReusePort= and the line of its address twice passes two sockets, and the node serves on both", seconds=60)
def several_sockets():
    with Machine() as machine:
        with_unit(machine)
        machine.write("/etc/systemd/system/roost.socket.d/two.conf", "[Socket]\nReusePort=yes\nListenStream=0.0.0.0:80\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "roost.socket", "roost.service")
        counts = json.loads(machine.run("python3", "-c", HELD))
        # The kernel spreads clients over the sockets, of which each shard has one.
        assert len(counts) == 2 and min(counts) >= 15, counts


@case("a wrong name in roost.socket fails the start, and the journal names the descriptor and the fix", seconds=60)
def wrong_name():
    with Machine() as machine:
        with_unit(machine, once="[Service]\nRestart=no\n")
        machine.write("/etc/systemd/system/roost.socket.d/wrong.conf", "[Socket]\nFileDescriptorName=web\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "roost.socket")
        machine.run("systemctl", "start", "roost.service", code=None)
        machine.until("the service has failed", lambda: machine.property("roost.service", "ActiveState") == "failed")
        assert "descriptor 3 (`web`) from systemd: roost takes `public` and `api`" in machine.log(), machine.log()


@case("systemd hears how the node in the unit is, and lets it read its configuration anew", seconds=90)
def told():
    with Machine() as machine:
        with_unit(machine, quick="[Service]\nWatchdogSec=3s\n")
        machine.run("systemctl", "start", "roost.service")
        text = lambda: machine.property("roost.service", "StatusText")
        machine.until("a sign of life has come", lambda: re.fullmatch(r"serving 0 of \d+ connections", text()))
        pid = machine.property("roost.service", "MainPID")
        machine.write("/etc/roost/roost.toml", CONFIG + 'origin = ["https://other.example"]\n')
        machine.run("systemctl", "reload", "roost.service")
        machine.until("it was read anew", lambda: "the configuration was read anew" in machine.log() and '"origin"' in machine.log())
        machine.write("/etc/roost/roost.toml", CONFIG + "orgin = 1\n")
        machine.run("systemctl", "reload", "roost.service", code=1)
        assert machine.property("roost.service", "ActiveState") == "active", machine.log()
        assert machine.property("roost.service", "MainPID") == pid, machine.log()


@case("a node in the unit writes into the journal with a field for each value, and without a journal it does not start", seconds=90)
def journal():
    with Machine() as machine:
        with_unit(machine, journal="[Service]\nEnvironment=ROOST_LOG_FORMAT=journald\n")
        machine.run("systemctl", "start", "roost.service")
        entries = lambda: [json.loads(line) for line in machine.run("journalctl", "--output=json", "_SYSTEMD_UNIT=roost.service").splitlines()]
        serving = machine.until("it says that it serves", lambda: [entry for entry in entries() if entry.get("MESSAGE") == "serving"])[0]
        assert serving["SYSLOG_IDENTIFIER"] == "roost" and serving["PRIORITY"] == "5", serving
        assert re.fullmatch(r".+:\d+", serving["ROOST_PUBLIC"]) and serving["TARGET"] == "roost::node", serving
        machine.run("systemctl", "stop", "systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald.service", code=None)
        machine.run("rm", "-f", "/run/systemd/journal/socket")
        said = machine.run("/usr/local/bin/roost", "serve", "--log-format", "journald", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", code=1)
        assert said.startswith("error: log_format: journald: there is no journal here"), said


@case("the unit's filter lets through what the node needs, and refuses what it does not", seconds=60)
def calls():
    with Machine() as machine:
        unit = (SYSTEMD / "roost.service").read_text()
        unit = re.sub(r"^ExecStart=.*$", "ExecStart=/usr/bin/python3 /etc/roost/probe.py", unit, flags=re.MULTILINE)
        machine.write("/etc/systemd/system/roost.service", unit)
        machine.write("/etc/systemd/system/roost.service.d/probe.conf", "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\n")
        machine.write("/etc/roost/probe.py", PROBE)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "roost.service")
        found = json.loads(machine.until("the probe has spoken", lambda: re.search(r"^\{.*\}$", machine.log(), re.MULTILINE))[0])
        assert found == {
            "close_range": "ok",
            "unshare files": "ok",
            "unshare users": "EPERM",
            "unshare network": "EPERM",
            "prlimit": "ok",
            "SCM_RIGHTS": "ok",
            "reuseport program": "ok",
            "execve": "ENOENT",
            "mount": "EPERM",
            "affinity": "EPERM",
            "netlink": "EAFNOSUPPORT",
            "write and execute": "EPERM",
            "write /etc": "EROFS",
            "read /proc/sys": "ok",
            "write /proc/sys": "EROFS",
            "uid 0": "no",
            "nofile": 1048576 if may_raise_limits() else resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        }, found


@case("a wrong configuration fails the start, and the journal says where it is wrong", seconds=60)
def wrong_configuration():
    with Machine() as machine:
        with_unit(machine, config="shard = 2\n", once="[Service]\nRestart=no\n")
        machine.run("systemctl", "start", "roost.service", code=None)
        machine.until("the service has failed", lambda: machine.property("roost.service", "ActiveState") == "failed")
        assert "roost.toml:1:1" in machine.log(), machine.log()
