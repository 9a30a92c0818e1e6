"""What was published, what each follower has had of it, and everything that is wrong with that.

    Publisher ──▶ Ledger: drafts, what became of them, who stands where in which numbering
                     ▲
    Follower ────▶ Book: one channel as one follower has it, over all its connections

A follower has a publication once, in order, or a gap that covers it. Where the numbering changes, a gap says so.
Must never know a socket, a clock, or a node.
"""

import collections

STORY_LINES = 30
NOTIFICATION = {"type", "channel", "data", "timestamp", "offset"}
GAP = {"type", "channel", "from", "to", "cursor"}
ACKNOWLEDGED, REFUSED = "acknowledged", "refused"


class Wrong(AssertionError):
    """Somebody got what was not promised, or did not get what was."""


def split(cursor):
    """A cursor's epoch and offset."""
    epoch, _, offset = cursor.rpartition("-")
    if not (epoch.isascii() and epoch.isalnum() and offset.isdigit()):
        raise Wrong(f"not a cursor: {cursor!r}")
    return epoch, int(offset)


class Draft:
    """A publication as its publisher knows it. `unsure` says that some attempt may have gone out without being acknowledged."""

    def __init__(self, serial, channel):
        self.serial, self.channel = serial, channel
        self.id = f"id-{serial}"
        self.unsure = False
        self.outcome = None
        self.places = set()

    @property
    def data(self):
        return {"serial": self.serial, "text": f"Grüße, {self.channel} \u2028"}


class Ledger:
    """All publications and their places."""

    def __init__(self):
        self.drafts = []
        # What stands at each place, by channel, epoch and offset; the places of each channel; and how many drafts had each outcome.
        self.numbers = {}
        self.places = collections.defaultdict(set)
        self.counts = collections.Counter()

    def draft(self, channel):
        """A new publication."""
        self.drafts.append(Draft(len(self.drafts), channel))
        return self.drafts[-1]

    def acknowledged(self, draft, cursor):
        """Its publisher was told that it is there."""
        self._ends(draft, ACKNOWLEDGED)
        self._place(draft, *split(cursor), f"the answer to {draft.id}")

    def refused(self, draft):
        """Its publisher was told at every attempt that nobody got it, and tries no more."""
        if draft.unsure:
            raise Wrong(f"{draft.id} was not refused for sure")
        self._ends(draft, REFUSED)
        self._demand_unsent(draft)

    def delivered(self, channel, epoch, offset, data):
        """Somebody got it."""
        serial = data.get("serial") if isinstance(data, dict) else None
        if not isinstance(serial, int) or not 0 <= serial < len(self.drafts):
            raise Wrong(f"{channel} {epoch}-{offset}: nobody published {data!r}")
        draft = self.drafts[serial]
        if draft.channel != channel or data != draft.data:
            raise Wrong(f"{channel} {epoch}-{offset}: {draft.data!r} of {draft.channel} has become {data!r}")
        self._place(draft, epoch, offset, f"a delivery of {draft.id}")
        self._demand_unsent(draft)

    def _ends(self, draft, outcome):
        assert draft.outcome is None, f"{draft.id} has ended before"
        draft.outcome = outcome
        self.counts[outcome] += 1

    def _place(self, draft, epoch, offset, who):
        there = self.numbers.setdefault((draft.channel, epoch, offset), draft.serial)
        if there != draft.serial:
            raise Wrong(f"{draft.channel} {epoch}-{offset} is id-{there}, and now {who} says it is {draft.id}")
        draft.places.add((epoch, offset))
        self.places[draft.channel].add((epoch, offset))
        epochs = {place[0] for place in draft.places}
        # Sent again after the memory of its id was lost, it is there anew, in a new numbering; never twice in one.
        if len(draft.places) > len(epochs) or (len(epochs) > 1 and not draft.unsure):
            raise Wrong(f"{draft.channel}: {draft.id} is there twice: {sorted(draft.places)}, by {who}")

    def _demand_unsent(self, draft):
        if draft.outcome == REFUSED and draft.places:
            raise Wrong(f"{draft.channel}: somebody got {draft.id}, of which its publisher was told that nobody would")


class Span:
    """A follower's part of one numbering: all behind `start` up to `end`, but for `gaps`."""

    def __init__(self, epoch, start, end, gaps=()):
        self.epoch, self.start, self.end = epoch, start, end
        self.gaps = list(gaps)


class Book:
    """One channel as one follower has it."""

    def __init__(self, ledger, who, channel):
        self.ledger, self.who, self.channel = ledger, who, channel
        self.spans = []
        # The channel's head, as a `subscribed` told that could not recover: the gap comes next.
        self.owed = None
        self.received = 0
        self.story = collections.deque(maxlen=STORY_LINES)

    @property
    def cursor(self):
        """Where it stands; None before its first subscription."""
        return f"{self.spans[-1].epoch}-{self.spans[-1].end}" if self.spans else None

    @property
    def gaps(self):
        """How often it was told of a loss."""
        return sum(len(span.gaps) for span in self.spans)

    @property
    def missing(self):
        """How many offsets its gaps cover."""
        return sum(last - first + 1 for span in self.spans for first, last in span.gaps)

    def note(self, line):
        """Something that helps to understand what is wrong later."""
        self.story.append(line)

    def wrong(self, why):
        return Wrong(f"{self.who} in {self.channel} at {self.cursor}: {why}\n  " + "\n  ".join(self.story))

    def subscribed(self, cursor, recovered):
        """The answer to a subscription; `recovered` is None where no cursor was sent."""
        self.note(f"subscribed at {cursor}, recovered: {recovered}")
        epoch, offset = split(cursor)
        if not self.spans:
            if recovered is not None:
                raise self.wrong("recovered without a cursor")
            self.spans.append(Span(epoch, offset, offset))
        elif recovered is None:
            raise self.wrong("a cursor was sent, and nothing said of it")
        elif recovered and (epoch != self.spans[-1].epoch or offset < self.spans[-1].end):
            raise self.wrong(f"recovered, at {cursor}")
        elif not recovered:
            self.owed = cursor

    def notification(self, message):
        """A publication came."""
        self.note(f"notification {message.get('offset')} {message.get('data')}")
        if set(message) != NOTIFICATION:
            raise self.wrong(f"the members of a notification are others: {message}")
        if not self.spans or self.owed:
            raise self.wrong("a notification where the answer to the subscription was to come, or a gap")
        span, offset = self.spans[-1], message["offset"]
        if offset <= span.end:
            raise self.wrong(f"offset {offset} came a second time, out of order, or in a numbering that nobody announced")
        if offset > span.end + 1:
            raise self.wrong(f"offset {offset} came, and no gap before it")
        self._ask_ledger(span.epoch, offset, message["data"])
        span.end = offset
        self.received += 1

    def gap(self, message):
        """A loss was announced."""
        self.note(f"gap {message}")
        if set(message) != GAP:
            raise self.wrong(f"the members of a gap are others: {message}")
        if not self.spans:
            raise self.wrong("a gap before the subscription")
        first, last = message["from"], message["to"]
        epoch, offset = split(message["cursor"])
        span = self.spans[-1]
        if offset != last:
            raise self.wrong(f"a gap up to {last} whose cursor is {message['cursor']}")
        if epoch == span.epoch:
            if first != span.end + 1 or last < first:
                raise self.wrong(f"a gap from {first} to {last}")
            span.gaps.append((first, last))
            span.end = last
        else:
            if first != 1:
                raise self.wrong(f"a new numbering, and a gap from {first}")
            if epoch in (one.epoch for one in self.spans):
                raise self.wrong(f"the numbering {epoch} is back")
            self.spans.append(Span(epoch, 0, last, [(1, last)]))
        if self.owed and split(self.owed)[0] != epoch:
            raise self.wrong(f"subscribed at {self.owed}, then a gap of another numbering")
        self.owed = None

    def stands(self, cursor):
        """Where it is, as a stream's `id` or a poll's `cursors` say."""
        if not self.spans:
            self.note(f"begins at {cursor}")
            epoch, offset = split(cursor)
            self.spans.append(Span(epoch, offset, offset))
        elif cursor != self.cursor:
            raise self.wrong(f"is told that it stands at {cursor}")

    def demand_complete(self, head):
        """At the end: it is at the channel's head, and everything that was acknowledged is had or covered."""
        if self.cursor != head:
            raise self.wrong(f"the channel's head is {head}")
        spans = {span.epoch: span for span in self.spans}
        # Every place that a publisher was told of, or that anybody got a publication at.
        for epoch, offset in sorted(self.ledger.places[self.channel]):
            span = spans.get(epoch)
            if span is None and len(self.spans) == 1:
                raise self.wrong(f"{epoch}-{offset} was published, and no change of the numbering announced")
            # What is behind the end of an earlier span is covered by the gap that began the next.
            if span is self.spans[-1] and offset > span.end:
                raise self.wrong(f"{epoch}-{offset} was published behind the head {head}")

    def _ask_ledger(self, epoch, offset, data):
        try:
            self.ledger.delivered(self.channel, epoch, offset, data)
        except Wrong as fault:
            raise self.wrong(str(fault)) from None
