// Carries the words of a fake server in memory, as `WebSocket` and `fetch`, over a network that a test can spoil.
// Must never know the client, and asks nobody for the time: whoever installs a clock has all of it in hand.
'use strict';
const { Session, openStream, holdPoll, wantedOf } = require('./fake.js');

const LATENCY_MS = 20;

/**
 * A network. `fates` says what becomes of the next connection by each way, as a function of how many there were before:
 *
 *     {}                     it works
 *     { refuse: STATUS }     it is refused: with an HTTP status, or 0 for no answer at all; `retryAfter` and `error` may go with it
 *     { hang: true }         nothing ever comes
 *     { mute: true }         it opens, and nothing that the server says arrives
 *     { cutMs: N }           it works, and is cut without a word after so long
 *     { as: TEXT }           what arrives is this, as text/html (a captive portal)
 */
class Pipe {
  fates = { websocket: () => ({}), sse: () => ({}), poll: () => ({}), post: () => ({}) };
  /** How often each way was tried. */
  tries = { websocket: 0, sse: 0, poll: 0, post: 0 };
  /** Addresses asked for, in order. */
  addresses = [];
  latencyMs = () => LATENCY_MS;
  /** A WebSocket that is silent for so long is cut, as by a proxy. */
  idleMs = Infinity;
  /** Whether polls are held, or all answered at once. */
  holds = true;
  /** Connections under way. */
  open = new Set();

  constructor(fake) {
    this.fake = fake;
    const pipe = this;
    this.WebSocket = class extends PipeSocket {
      constructor(url, protocol) {
        super(pipe, url, protocol);
      }
    };
    this.fetch = (url, init) => this.#fetch(new URL(url), init);
  }

  /** Counts a try, and says what becomes of it. */
  fate(way, url) {
    this.addresses.push(String(url));
    return this.fates[way](this.tries[way]++);
  }

  /** Cuts everything that is under way, without a word. */
  cutAll() {
    for (const connection of [...this.open]) connection.cut();
  }

  /** WebSockets under way. */
  sockets() {
    return [...this.open].filter((connection) => connection instanceof PipeSocket);
  }

  async #fetch(url, { method, headers, body, signal }) {
    const way = method === 'POST' ? 'post' : url.pathname.endsWith('/events') ? 'sse' : 'poll';
    const fate = this.fate(way, url);
    const call = new Call(this, signal);
    await call.travel();
    if (fate.hang) return call.forever();
    if (fate.as) return new Response(fate.as, { headers: { 'content-type': 'text/html' } });
    if ('refuse' in fate) return refusal(fate);
    if (fate.cutMs !== undefined) setTimeout(() => call.cut(), fate.cutMs);
    if (!this.fake.admits(headers.authorization?.replace('Bearer ', ''))) return refusal({ refuse: 401 });
    if (way === 'post' && headers['content-type'] !== 'application/json') return refusal({ refuse: 415 });
    if (way === 'post') return this.#post(call, JSON.parse(body));
    const code = wantedOf(url.searchParams).map((wanted) => this.fake.refusal(...wanted)).find(Boolean);
    if (code) return refusal({ refuse: code === 'forbidden' ? 403 : 400, error: { code, message: `refused: ${code}` } });
    return way === 'sse' ? this.#stream(call, url, fate) : this.#poll(call, url, fate);
  }

  #post(call, message) {
    return call.answer((done) => {
      const session = new Session(this.fake, done, () => {});
      session.isKnown = true;
      this.fake.hear(session, message);
    });
  }

  #poll(call, url, { mute }) {
    const wait = this.holds ? Number(url.searchParams.get('wait')) * 1_000 : 0;
    if (mute) return call.forever();
    return call.answer((done) => (call.session = holdPoll(this.fake, wantedOf(url.searchParams), wait, done)));
  }

  #stream(call, url, { mute }) {
    const encoder = new TextEncoder();
    const stream = new ReadableStream({
      start: (controller) => {
        call.onCut = () => controller.error(new TypeError('network error'));
        const write = (text) => call.later(() => mute || controller.enqueue(encoder.encode(text)));
        const end = () => call.later(() => call.finish() && controller.close());
        call.session = openStream(this.fake, wantedOf(url.searchParams), write, end);
      },
    });
    return new Response(stream, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } });
  }
}

/** One request under way: what the server sends arrives in order, until the call is finished, cut or aborted. */
class Call {
  session;
  onCut = () => {};
  #over = false;
  #last = 0;

  constructor(pipe, signal) {
    this.pipe = pipe;
    this.broken = new Promise((_, reject) => (this.reject = reject));
    this.broken.catch(() => {});
    pipe.open.add(this);
    const abort = () => this.#end(new DOMException('aborted', 'AbortError'));
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    this.deafen = () => signal?.removeEventListener('abort', abort);
  }

  travel() {
    return Promise.race([this.broken, new Promise((resolve) => this.later(resolve))]);
  }

  forever() {
    return this.broken;
  }

  async answer(ask) {
    const body = await Promise.race([this.broken, new Promise(ask)]);
    await this.travel();
    this.finish();
    return new Response(JSON.stringify(body), { headers: { 'content-type': 'application/json' } });
  }

  later(action) {
    const at = Math.max(this.#last, Date.now() + this.pipe.latencyMs());
    this.#last = at;
    setTimeout(() => this.#over || action(), at - Date.now());
  }

  cut() {
    this.#end(new TypeError('fetch failed'));
  }

  finish() {
    if (this.#over) return false;
    this.#over = true;
    this.deafen();
    this.session?.leave();
    this.pipe.open.delete(this);
    return true;
  }

  #end(error) {
    if (!this.finish()) return;
    this.reject(error);
    this.onCut();
  }
}

function refusal({ refuse: status, retryAfter, error }) {
  if (!status) throw new TypeError('fetch failed');
  const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
  return new Response(error ? JSON.stringify({ error }) : 'no', { status, headers });
}

/** A browser's WebSocket, as far as the client uses it. */
class PipeSocket {
  #over = false;
  #isOpen = false;
  #session;
  #idle;
  #arrivals = { here: 0, there: 0 };

  constructor(pipe, url, protocol) {
    this.pipe = pipe;
    const fate = pipe.fate('websocket', url);
    pipe.open.add(this);
    if (fate.hang) return;
    if ('refuse' in fate) return void this.#later('here', () => this.cut());
    const { searchParams } = new URL(url);
    const carry = (message) => this.#later('here', () => fate.mute || this.onmessage({ data: JSON.stringify(message) }));
    const end = ({ code, reason }) => this.#later('here', () => this.#close(code, reason));
    this.#later('there', () => {
      this.#session = new Session(pipe.fake, carry, end);
      if (protocol !== 'roost.v1') throw new Error('the client must ask for roost.v1');
      this.#later('here', () => {
        this.#isOpen = true;
        if (fate.cutMs !== undefined) setTimeout(() => this.cut(), fate.cutMs);
      });
      pipe.fake.welcome(this.#session, wantedOf(searchParams));
    });
  }

  send(text) {
    if (!this.#isOpen) throw new Error('InvalidStateError: still connecting');
    this.#later('there', () => this.#session && this.pipe.fake.sessions.has(this.#session) && this.pipe.fake.hear(this.#session, JSON.parse(text)));
  }

  close() {
    this.#later('there', () => this.#close(1000, ''));
  }

  cut() {
    this.#close(1006, '');
  }

  #close(code, reason) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#idle);
    this.pipe.open.delete(this);
    this.#session?.leave();
    this.onclose({ code, reason });
  }

  #later(where, action) {
    clearTimeout(this.#idle);
    if (this.pipe.idleMs < Infinity) this.#idle = setTimeout(() => this.cut(), this.pipe.idleMs);
    const at = Math.max(this.#arrivals[where], Date.now() + this.pipe.latencyMs());
    this.#arrivals[where] = at;
    setTimeout(() => this.#over || action(), at - Date.now());
  }
}

module.exports = { Pipe };
