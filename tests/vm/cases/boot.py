"""The machine itself."""

from harness import case

MODULES = ["nf_conntrack", "sch_netem", "tls"]


@case("its kernel has connection tracking, netem and TLS, and no unit of it has failed")
def kernel(world):
    world.guest.run("modprobe", "--all", *MODULES)
    loaded = {line.split()[0] for line in world.guest.run("lsmod").splitlines()}
    assert loaded >= set(MODULES), loaded
    assert world.guest.run("systemctl", "is-system-running", code=None).strip() in ("running", "starting")
    failed = world.guest.run("systemctl", "--failed", "--no-legend")
    assert failed == "", failed
