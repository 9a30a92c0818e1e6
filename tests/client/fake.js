// A server that follows PROTOCOL.md §2 and §3 to the letter, as far as a client can tell, and does what a test tells it.
// Must never know how its words travel: `pipe.js` carries them in memory, `wire.js` over real sockets.
'use strict';

const CHANNEL_NAME = /^[\w\-=@,.;:/]{1,164}$/;
const CURSOR = /^[0-9A-Za-z]+-\d+$/;

/** Between two comments of an event stream. */
const HEARTBEAT_MS = 15_000;

class Fake {
  /** By name: epoch, offset of the last publication, and those that are kept. */
  channels = new Map();
  /** Those who are connected by a WebSocket or an event stream, or hold a poll. */
  sessions = new Set();
  /** Every message that a client sent over a WebSocket or with POST, in order. */
  heard = [];
  /** Tokens that are taken; null: nobody needs one. */
  tokens = null;
  expiresMs = 600_000;
  pingMs = 25_000;
  history = 32;
  /** It hears nothing. */
  deaf = false;
  /** It sends the comments that keep a stream alive. */
  beats = true;
  /** Channels that nobody may follow, with the code that says so. */
  refused = new Map();
  #epochs = 0;

  channel(name) {
    if (!this.channels.has(name)) this.channels.set(name, { epoch: this.#epoch(), offset: 0, kept: [] });
    return this.channels.get(name);
  }

  #epoch() {
    return `E${++this.#epochs}`;
  }

  cursor(name) {
    const { epoch, offset } = this.channel(name);
    return `${epoch}-${offset}`;
  }

  publish(name, data) {
    const channel = this.channel(name);
    const message = { type: 'notification', channel: name, data, timestamp: Date.now(), offset: ++channel.offset };
    channel.kept.push(message);
    channel.kept.splice(0, channel.kept.length - this.history);
    this.#fanOut(name, message);
    return message;
  }

  /** Forgets all but the last `count` publications. */
  trim(name, count = 0) {
    const { kept } = this.channel(name);
    kept.splice(0, kept.length - count);
  }

  /** The numbering begins anew: whoever is connected is told by a gap. */
  renumber(name, offset = 0) {
    this.channels.set(name, { epoch: this.#epoch(), offset, kept: [] });
    this.#fanOut(name, this.#gap(name, 1, offset));
  }

  /** As after a restart: all numberings are others, and nobody is connected any more. */
  restart() {
    for (const name of this.channels.keys()) this.channels.set(name, { epoch: this.#epoch(), offset: 0, kept: [] });
    this.endAll({ code: 1012, reason: 'restart' });
  }

  endAll(how) {
    for (const session of [...this.sessions]) session.end(how);
  }

  #fanOut(name, message) {
    for (const session of [...this.sessions]) if (session.follows.has(name)) session.take(message);
  }

  #gap(name, from, to) {
    return { type: 'gap', channel: name, from, to, cursor: `${this.channel(name).epoch}-${to}` };
  }

  /** What a client at `since` has missed, and whether that is all. */
  since(name, since) {
    if (!since) return { messages: [] };
    const { epoch, offset, kept } = this.channel(name);
    const [theirs, at] = [since.split('-')[0], Number(since.split('-')[1])];
    if (theirs !== epoch || at > offset) return { recovered: false, messages: [this.#gap(name, 1, offset)] };
    const oldest = kept.length ? kept[0].offset : offset + 1;
    const missed = kept.filter((message) => message.offset > at);
    if (oldest <= at + 1) return { recovered: true, messages: missed };
    return { recovered: false, messages: [this.#gap(name, at + 1, oldest - 1), ...missed] };
  }

  /** The code with which following a channel is refused, if it is. */
  refusal(name, since) {
    if (!CHANNEL_NAME.test(name)) return 'bad_channel';
    if (since && !CURSOR.test(since)) return 'bad_request';
    return this.refused.get(name);
  }

  /** Whether a request that carries this token may come in. */
  admits(token) {
    return !this.tokens || this.tokens.has(token);
  }

  /** Someone comes with a WebSocket; `follows` is what the query asks for, `[name, since]` each. */
  welcome(session, follows) {
    this.sessions.add(session);
    session.say({ type: 'welcome', session: 's', ping_ms: this.pingMs, node: 'fake' });
    for (const [name, since] of follows) this.#subscribe(session, name, since);
  }

  #subscribe(session, name, since, id) {
    const { recovered, messages } = this.since(name, since);
    session.follows.set(name, this.cursor(name));
    session.say({ type: 'subscribed', channel: name, cursor: this.cursor(name), recovered, id });
    messages.forEach((message) => session.take(message));
  }

  /** A client's message, from a WebSocket or, without a session of its own, from POST. */
  hear(session, message) {
    if (this.deaf) return undefined;
    this.heard.push(message);
    const { type, channel, id } = message;
    const refuse = (code) => session.say({ type: 'error', code, message: `${type} is refused: ${code}`, id });
    if (type === 'ping') return session.say({ type: 'pong', id });
    if (type === 'auth') return this.#authenticate(session, message);
    if (type === 'visibility') return undefined;
    if (this.tokens && !session.isKnown) return refuse('unauthorized');
    const refusal = this.refusal(channel, message.since);
    if (refusal) return refuse(refusal);
    if (type === 'publish') return session.say({ type: 'published', channel, offset: this.publish(channel, message.data).offset, id });
    if (type === 'presence') return session.say({ type: 'presence', channel, count: this.sessions.size, id });
    if (type === 'unsubscribe') {
      if (!session.follows.delete(channel)) return refuse('not_subscribed');
      return session.say({ type: 'unsubscribed', channel, id });
    }
    if (type !== 'subscribe') return refuse('unknown_type');
    if (session.follows.has(channel)) return refuse('already_subscribed');
    return this.#subscribe(session, channel, message.since, id);
  }

  #authenticate(session, { token, id }) {
    session.isKnown = this.admits(token);
    for (const channel of session.isKnown ? session.follows.keys() : []) {
      if (!this.refused.has(channel)) continue;
      session.follows.delete(channel);
      session.say({ type: 'unsubscribed', channel });
    }
    if (session.isKnown) session.say({ type: 'authenticated', expires_in_ms: this.expiresMs, id });
    else session.say({ type: 'error', code: 'unauthorized', message: 'this token is none of ours', id });
  }
}

/** Someone who is connected. `carry` takes each message away, `end` ends the connection from the server's side. */
class Session {
  /** By channel: the cursor that the client has been told. */
  follows = new Map();
  isKnown = false;

  constructor(fake, carry, end) {
    this.fake = fake;
    this.carry = carry;
    this.end = (how) => {
      this.leave();
      end(how);
    };
  }

  say(message) {
    this.carry(message);
  }

  /** A notification or a gap, which moves the session on. */
  take(message) {
    const { channel, offset, cursor } = message;
    this.follows.set(channel, cursor ?? `${this.follows.get(channel).split('-')[0]}-${offset}`);
    // After a live gap the notifications are of the new epoch.
    this.carry(message, [...this.follows.values()].join(','));
  }

  leave() {
    clearTimeout(this.timer);
    this.fake.sessions.delete(this);
  }
}

/** An event stream: the first bytes tell where the client is; each event has the cursors behind it. */
function openStream(fake, wanted, write, end) {
  const frame = (message, cursors) => write(`id: ${cursors}\nevent: ${message.type}\ndata: ${JSON.stringify(message)}\n\n`);
  const session = new Session(fake, frame, end);
  const beat = () => {
    write(':\n\n');
    session.timer = setTimeout(beat, HEARTBEAT_MS);
  };
  if (fake.beats) session.timer = setTimeout(beat, HEARTBEAT_MS);
  const missed = [];
  for (const [name, since] of wanted) {
    session.follows.set(name, since || fake.cursor(name));
    missed.push(...fake.since(name, since).messages);
  }
  write(`retry: 2000\nid: ${[...session.follows.values()].join(',')}\n\n`);
  missed.forEach((message) => session.take(message));
  fake.sessions.add(session);
  return session;
}

/** One long-poll: `answer` is called once, with the body; the session that is returned is held until then. */
function holdPoll(fake, wanted, waitMs, answer) {
  const messages = [];
  const session = new Session(fake, (message) => messages.push(message), () => {});
  const finish = () => {
    session.leave();
    answer({ messages, cursors: Object.fromEntries(session.follows) });
  };
  for (const [name, since] of wanted) {
    session.follows.set(name, since || fake.cursor(name));
    fake.since(name, since).messages.forEach((message) => session.take(message));
  }
  if (messages.length || !waitMs || wanted.some(([, since]) => !since)) return finish();
  session.carry = (message) => {
    messages.push(message);
    finish();
  };
  fake.sessions.add(session);
  session.timer = setTimeout(finish, waitMs);
  return session;
}

/** `[name, since]` of each channel of a query. */
function wantedOf(searchParams) {
  const sinces = searchParams.getAll('since');
  return searchParams.getAll('channel').map((name, index) => [name, sinces[index]]);
}

module.exports = { Fake, Session, openStream, holdPoll, wantedOf };
