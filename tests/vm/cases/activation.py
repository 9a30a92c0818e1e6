"""systemd listens: the node starts with its first client, on a port that it may not open itself, and a restart loses nobody."""

import re

from harness import PRIVILEGED_PORT, case
from wire import Wire, upgrade

WAITING = 5


@case("behind roost.socket the first client starts a node without privilege on port 80, and who comes during a restart is served")
def activated(world):
    world.install()
    world.configure()
    guest = world.guest
    guest.run("systemctl", "enable", "--now", "--quiet", "roost.socket")
    try:
        assert world.show("ActiveState") == "inactive"
        stays = world.connect(PRIVILEGED_PORT)
        before = world.show("MainPID")
        assert re.search(r"^CapEff:\s+0+$", guest.run("cat", f"/proc/{before}/status"), re.MULTILINE)
        assert "public=0.0.0.0:80" in guest.log() and 'from_systemd="public"' in guest.log(), guest.log()
        guest.run("systemctl", "restart", "--no-block", "roost.service")
        assert stays.close_code() == 1001
        # It may take another moment until the other shard has let go of the socket too.
        guest.until("the old process listens no more", lambda: not _listens(guest, before))
        waiting = [_knock(guest) for _ in range(WAITING)]
        for one in waiting:
            assert one.response().status == 101
            one.socket.close()
        assert world.show("MainPID") != before
    finally:
        # Both: the service alone would come back with the next client.
        guest.run("systemctl", "disable", "--now", "--quiet", "roost.socket", "roost.service", code=None)
    assert world.show("Result") == "success", guest.log()


def _knock(guest):
    """A client that asks for a WebSocket, and does not wait for the answer."""
    wire = Wire(guest.address(PRIVILEGED_PORT))
    wire.socket.settimeout(30)
    wire.send(upgrade())
    return wire


def _listens(guest, pid):
    """Whether a process has the socket of port 80."""
    held = f"ls -l /proc/{pid}/fd 2> /dev/null | grep -q \"socket:\\[$(awk '$2 ~ /:0050$/ && $4 == \"0A\" {{ print $10 }}' /proc/net/tcp)\\]\""
    return guest.shell(f"if {held}; then echo yes; fi") == "yes\n"
