// The judge: whether a page heard what was published to its channel, each publication once and in order, or was told what is lost.
// Knows only two lists, and nothing of browsers or nodes.
//
// `published` has one entry per publication, in the order in which the node numbered them: its number `n`, and the `epoch` and
// `offset` that the publisher was answered; or `{ n, uncertain: true }` for one whose outcome it never learned.
// `heard` is what the page wrote down, in order: `{ kind: 'message', n, offset }` and `{ kind: 'gap', from, to, cursor }`.
'use strict';

// Judges from the first publication that the page heard: what went out before its subscription is nobody's promise.
// Returns what is wrong in sentences, and the counts `first`, `heard` and `announced`.
function judge(published, heard) {
  const place = new Map(published.map(({ n }, index) => [n, index]));
  const messages = heard.filter(({ kind }) => kind === 'message');
  if (messages.length === 0) return { faults: ['nothing was heard'], first: undefined, heard: 0, announced: 0 };

  const state = { published, faults: [], announced: new Set(), delivered: new Set(), next: place.get(messages[0].n) ?? 0 };
  const first = state.next;
  for (const event of heard) {
    if (event.kind === 'message') hearMessage(state, event, place.get(event.n));
    if (event.kind === 'gap') hearGap(state, event);
  }
  demandAnnounced(state, published.length);
  return { faults: state.faults, first, heard: messages.length, announced: state.announced.size };
}

function hearMessage(state, event, index) {
  if (index === undefined) {
    state.faults.push(`${event.n} was never published`);
  } else if (index < state.next) {
    state.faults.push(`${event.n} came ${state.delivered.has(index) ? 'twice' : 'too late'}`);
  } else {
    const { uncertain, offset } = state.published[index];
    if (!uncertain && offset !== event.offset) state.faults.push(`${event.n} has offset ${event.offset}, not ${offset}`);
    demandAnnounced(state, index);
    state.delivered.add(index);
    state.next = index + 1;
  }
}

// A gap names what is lost of its own epoch, and says with a new epoch that the rest of the old one is.
function hearGap(state, { from, to, cursor }) {
  const { epoch } = placeOf(cursor);
  const begun = state.published.findIndex((one) => one.epoch === epoch);
  state.published.forEach((one, index) => {
    const named = one.epoch === epoch && from <= one.offset && one.offset <= to;
    const left = one.epoch !== epoch && (begun === -1 || index < begun);
    if (named && state.delivered.has(index)) state.faults.push(`a gap says that ${one.n} is lost, which had come`);
    if ((named || left) && index >= state.next) state.announced.add(index);
  });
}

// What lies between the last message and `end` must have been announced by now.
function demandAnnounced(state, end) {
  for (let index = state.next; index < end; index++) {
    const { n, uncertain } = state.published[index];
    if (!uncertain && !state.announced.has(index)) state.faults.push(`${n} is missing without a gap`);
  }
}

// The two parts of a cursor, `EPOCH-OFFSET`.
function placeOf(cursor) {
  const dash = cursor.lastIndexOf('-');
  return { epoch: cursor.slice(0, dash), offset: Number(cursor.slice(dash + 1)) };
}

module.exports = { judge, placeOf };
