"""A node that hangs, as a whole or in one of its threads: systemd hears nothing more, ends it, and starts it anew."""

from harness import QUICK, case
GROUP = "/sys/fs/cgroup/system.slice/roost.service"


@case("a process that stands still is killed by the watchdog, and started anew")
def process(world):
    with world.node(**QUICK) as guest:
        pid = world.show("MainPID")
        guest.run("kill", "-STOP", pid)
        started_anew(world, pid)


@case("one shard that stands still is enough: the node says which, is killed by the watchdog, and started anew")
def shard(world):
    with world.node(**QUICK) as guest:
        pid = world.show("MainPID")
        # A thread alone is held by the freezer of a group of its own; the others go on.
        guest.shell(
            f"""set -e
            mkdir {GROUP}/wedged
            echo threaded > {GROUP}/wedged/cgroup.type
            cd /proc/{pid}/task
            for thread in *; do [ "$(cat $thread/comm)" != shard-1 ] || echo $thread > {GROUP}/wedged/cgroup.threads; done
            [ "$(cat {GROUP}/wedged/cgroup.threads)" != "" ]
            echo 1 > {GROUP}/wedged/cgroup.freeze"""
        )
        started_anew(world, pid)
        assert "shards do not answer" in guest.log() and "silent=[1]" in guest.log(), guest.log()


def started_anew(world, pid):
    """Demands that systemd gives the process up, and that another one serves."""
    guest = world.guest
    guest.until("the watchdog bites", lambda: "Watchdog timeout" in guest.log(), seconds=60)
    another = lambda: world.shows(ActiveState="active", NRestarts="1") and not world.shows(MainPID=pid)
    guest.until("another one serves", another, seconds=60)
    with world.connect() as client:
        assert client.ask(type="ping") == {"type": "pong"}
