"""The checker itself: it finds every planted fault, and nothing where there is none."""

from harness import case
from ledger import Book, Ledger, Wrong

CHANNEL = "news"


class Desk:
    """A ledger with some publications at places of numbering A, and a book of their channel that begins at A-0."""

    def __init__(self, acknowledged=5):
        self.ledger = Ledger()
        self.book = Book(self.ledger, "client", CHANNEL)
        self.book.subscribed("A-0", None)
        for offset in range(1, acknowledged + 1):
            self.ledger.acknowledged(self.draft(), f"A-{offset}")

    def draft(self):
        return self.ledger.draft(CHANNEL)

    def message(self, offset, serial=None):
        data = self.ledger.drafts[offset - 1 if serial is None else serial].data
        return {"type": "notification", "channel": CHANNEL, "data": data, "timestamp": 1, "offset": offset}

    def hear(self, *offsets):
        for offset in offsets:
            self.book.notification(self.message(offset))

    def gap(self, first, last, epoch="A"):
        self.book.gap({"type": "gap", "channel": CHANNEL, "from": first, "to": last, "cursor": f"{epoch}-{last}"})


def finds(words, function, *arguments):
    """Demands that this is found wrong, for the right reason."""
    try:
        function(*arguments)
    except Wrong as fault:
        assert words in str(fault), fault
        return
    raise AssertionError(f"not found: {words}")


@case("the checker lets pass what is right: in order, gaps, hops, a new numbering")
def right():
    desk = Desk()
    desk.hear(1, 2)
    desk.book.stands("A-2")
    desk.book.subscribed("A-5", True)
    desk.hear(3)
    desk.gap(4, 5)
    desk.book.demand_complete("A-5")
    again = desk.draft()
    desk.book.subscribed("B-0", False)
    desk.gap(1, 0, "B")
    desk.ledger.acknowledged(again, "B-1")
    desk.book.notification(desk.message(1, again.serial))
    desk.book.demand_complete("B-1")
    assert (desk.book.received, desk.book.gaps, desk.book.missing) == (4, 2, 2)


@case("the checker finds a duplicate, a hole and another order")
def sequence():
    desk = Desk()
    desk.hear(1, 2)
    finds("second time", desk.hear, 2)
    finds("no gap before", desk.hear, 4)
    finds("second time", desk.hear, 1)
    desk.hear(3)
    # In place, and yet another one.
    finds("is id-3, and now", desk.book.notification, desk.message(4, 4))
    finds("others", desk.book.notification, {**desk.message(4), "cursor": "A-4"})


@case("the checker finds a new numbering that nobody announced, wherever it shows")
def numbering():
    desk = Desk()
    desk.hear(1, 2, 3)
    fresh = desk.draft()
    desk.ledger.acknowledged(fresh, "B-1")
    finds("second time", desk.book.notification, desk.message(1, fresh.serial))
    # The new numbering happens to go on where the old one ended: places of one name, and another publication.
    finds("is id-3, and now", desk.book.notification, desk.message(4, fresh.serial))
    finds("is told that it stands at B-3", desk.book.stands, "B-3")
    finds("recovered, at B-3", desk.book.subscribed, "B-3", True)
    desk.book.subscribed("B-1", False)
    finds("a gap", desk.book.notification, desk.message(4))
    desk.gap(1, 1, "B")
    finds("is back", desk.gap, 1, 3, "A")


@case("the checker finds gaps that are not where they belong, and cursors that are none")
def gaps():
    desk = Desk()
    desk.hear(1, 2)
    finds("a gap from 4 to 5", desk.gap, 4, 5)
    finds("a gap from 2 to 3", desk.gap, 2, 3)
    finds("a gap from 3 to 2", desk.gap, 3, 2)
    finds("a new numbering, and a gap from 2", desk.gap, 2, 3, "B")
    finds("whose cursor is", desk.book.gap, {"type": "gap", "channel": CHANNEL, "from": 3, "to": 4, "cursor": "A-3"})
    finds("not a cursor", desk.book.subscribed, "A3", True)
    finds("recovered, at A-1", desk.book.subscribed, "A-1", True)
    finds("nothing said of it", desk.book.subscribed, "A-2", None)


@case("the checker finds who never got what was acknowledged")
def missing():
    desk = Desk()
    desk.hear(1, 2, 3, 4)
    finds("the channel's head is A-5", desk.book.demand_complete, "A-5")
    finds("A-5 was published behind the head", desk.book.demand_complete, "A-4")
    desk.hear(5)
    desk.book.demand_complete("A-5")
    desk.ledger.acknowledged(desk.draft(), "C-1")
    finds("no change of the numbering announced", desk.book.demand_complete, "A-5")


@case("the checker finds what nobody may get, what nobody published, and what is there twice")
def refusals():
    desk = Desk(acknowledged=3)
    refused = desk.draft()
    desk.hear(1, 2, 3)
    desk.ledger.refused(refused)
    finds("told that nobody would", desk.book.notification, desk.message(4, refused.serial))
    early = desk.draft()
    desk.ledger.delivered(CHANNEL, "A", 5, early.data)
    finds("told that nobody would", desk.ledger.refused, early)
    unsure = desk.draft()
    unsure.unsure = True
    finds("not refused for sure", desk.ledger.refused, unsure)
    finds("nobody published", desk.ledger.delivered, CHANNEL, "A", 6, {"serial": 99})
    finds("nobody published", desk.ledger.delivered, CHANNEL, "A", 6, "?")
    finds("has become", desk.ledger.delivered, CHANNEL, "A", 6, {**unsure.data, "text": "?"})
    finds("has become", desk.ledger.delivered, "other", "A", 6, unsure.data)
    desk.ledger.acknowledged(unsure, "A-7")
    # Sent again where its id was forgotten together with the numbering: that may be, and no more.
    desk.ledger.delivered(CHANNEL, "B", 1, unsure.data)
    finds("is there twice", desk.ledger.delivered, CHANNEL, "A", 8, unsure.data)
    # Who was sure has no second place.
    finds("is there twice", desk.ledger.delivered, CHANNEL, "B", 2, desk.ledger.drafts[0].data)
    finds("is id-", desk.ledger.acknowledged, desk.draft(), "A-1")
