"""The end of the story."""

from harness import TREE, case


@case("uninstall stops the node and leaves nothing: no file, no unit, no user")
def leaves_nothing(world):
    world.install()
    world.configure()
    guest = world.guest
    guest.run("systemctl", "enable", "--now", "--quiet", "roost.service")
    assert "nothing is left" in guest.run(f"{TREE}/tuning/install", "--uninstall", "--purge")
    assert guest.property("roost.service", "LoadState") == "not-found"
    assert guest.property("roost.service", "ActiveState") == "inactive"
    guest.run("id", "roost", code=1)
    assert guest.run("pidof", "roost", code=1) == ""
    after = world.files()
    assert after == world.before, sorted(after ^ world.before)
