/*
 * roost.js: the client of roost for browsers and Node.js (20 and later), as it is served at /roost.js. There is no build step.
 *
 *     const r = new Roost('wss://host/live');
 *     r.subscribe('notifications', (m) => console.log(m.data, m.offset));
 *     r.on('gap', (gap) => reload(gap.channel));   // from gap.from to gap.to is lost: fetch the state anew
 *
 * What it promises: over all its connections and transports, each notification of a channel comes once and in order, or a `gap`
 * says which are lost. The cursor of each channel, EPOCH-OFFSET, is all that it takes; no node need have seen this client before.
 *
 * What it does on its own, and why:
 *
 * - WebSocket, then SSE, then long-poll. A way that does not come up, says nothing, or is cut within seconds again and again is
 *   left for the next one. What worked is remembered for half an hour, so that the next page need not find out. Meanwhile
 *   the better ways are tried beside the one that delivers, and it moves up by cursor when one has held for some seconds.
 * - SSE by `fetch` and not by EventSource: that one hides comments, so a dead line looks like a quiet one; it hides status and
 *   Retry-After; it cannot send Authorization, and a token in a URL ends in somebody's log; and Node 20 has none.
 * - Sign of life after a silence, as JSON: browsers cannot send ping frames, nor see those of the server.
 * - A page hidden for 30 s closes its connection, and is back with what it missed as soon as somebody looks. A connection wakes the
 *   radio of a phone every 25 s for nobody, and phones freeze hidden pages anyway. Nothing is lost that the server's history
 *   holds; what is not held is told by `gap`. Where a hidden page must go on (a count in its title), set `hidden: 'quiet'`: the
 *   latest of each channel once a second, with gaps for what was overtaken; or `'stay'`: as if somebody looked.
 * - Backoff with full jitter, at least as long as the server asks for, so that a million clients do not come back in one moment.
 *
 * It knows nothing of the page's own data: `data` is what JSON.parse makes of what was published.
 */
var Roost = (() => {
  /** What the server allows; it would refuse a whole request for one channel more. */
  const CHANNELS_MAX = 128;
  /** Subscriptions sent in one second; the server takes 50 messages a second, and 100 at once. */
  const SUBSCRIBE_BURST = 48;
  /**
   * Characters of a message that goes as a request of its own, whatever the transport: one that is too big for the server ends a
   * WebSocket for good (64 KiB, unless it was told otherwise), and a request is only refused. No character takes more than 3 bytes.
   */
  const LARGE = 20_000;
  /** Characters of channels in a handshake. Request heads over 8 KiB are refused, by some proxies sooner. */
  const QUERY_MAX = 3_000;

  /** How long one waits for a first sign of life, a pong, or an answer, unless the option `timeout` says otherwise. */
  const TIMEOUT_MS = 8_000;
  /** A connection that has lived this long was a good one. */
  const STABLE_MS = 30_000;
  /** Early deaths in a row that make a way a bad one if it has worked before. If it never has, the first is enough. */
  const STRIKES = 3;
  /** When the better ways are tried first. Each time without success makes it three times as long. */
  const PROBE_MS = 5_000;
  const PROBE_MAX_MS = 900_000;
  const REMEMBER_MS = 1_800_000;
  const BACKOFF_MS = 1_000;
  const BACKOFF_MAX_MS = 30_000;
  const POLL_WAIT_SECONDS = 25;
  /** A poll that holds nothing back for this long would be asked again and again. */
  const POLL_PAUSE_MS = 1_000;
  /** Comments of the server come every 15 s. */
  const SSE_SILENCE_MS = 40_000;
  /** A better way has held its trial when it has lived for this long and for the time of a pong. */
  const TRIAL_MS = 2_000;
  const TICK_MS = 5_000;
  /** A timer as late as this has slept, and the machine with it. */
  const SLEPT_MS = 20_000;
  /** The most that setTimeout can hold. */
  const TIMER_MAX_MS = 2 ** 31 - 1;

  /** Codes after which the server does not want this client back (src/disconnect.rs). */
  const FINAL = [1002, 1003, 1007, 1009, 4005, 4006];
  const UNAUTHORIZED = [401, 4001, 4002];
  /** Refusals of a subscription that pass by themselves. */
  const PASSING = ['rate_limited', 'overloaded', 'unavailable'];

  class Roost {
    #options;
    #channels = new Map();
    #handlers = new Map();
    /** Promises that wait for an answer, by the id of the message. */
    #requests = new Map();
    #timers = new Timers();
    #ladder;
    #page;
    /** What links know of their client. */
    #host;
    #token;
    #tokenIsOld;
    #lastId = 0;

    /** The one connection that delivers, or is about to. */
    #link = null;
    /** A better one beside it, on trial: nothing that it brings is delivered. */
    #trial = null;
    /** Counts connections, so that a token that comes late finds out that nobody waits for it any more. */
    #turn = 0;
    /** Attempts that have failed in a row. */
    #attempts = 0;
    /** The moment before which the server does not want this client back, or it is of no use to try. */
    #notBefore = 0;
    /** The page wants a connection. */
    #open = false;
    /** Nobody looks at the page, and there is none. */
    #asleep;
    #connected = false;
    #transport = null;

    constructor(url, options = {}) {
      this.#options = { hidden: 'close', hiddenAfter: 30_000, random: Math.random, ...options };
      const WebSocket = options.WebSocket ?? globalThis.WebSocket;
      const fetch = options.fetch ?? globalThis.fetch?.bind(globalThis);
      const able = { websocket: WebSocket, sse: fetch, poll: fetch };
      const kinds = (options.transports ?? Object.keys(LINKS)).filter((kind) => able[kind]);
      if (!kinds.length) throw new TypeError('Roost: no transport; give options.WebSocket');
      const address = new URL(url, globalThis.location?.href);
      this.#ladder = new Ladder(kinds, address.host);
      this.#host = {
        WebSocket,
        fetch,
        url: address,
        timeoutMs: options.timeout ?? TIMEOUT_MS,
        pace: () => this.#ladder.pace,
        channels: () => [...this.#channels.values()],
        token: () => this.#token,
        nextId: () => ++this.#lastId,
        up: (link) => this.#up(link),
        down: (link, end) => this.#down(link, end),
        hear: (link, message) => this.#hear(link, message),
        begin: (link, channel, cursor, recovered) => this.#begin(link, channel, cursor, recovered),
        refuse: (channel, error) => this.#refuse(channel, error),
        expires: (ms) => this.#refreshBefore(ms),
      };
      this.open();
    }

    // ---- what the page calls; roost.d.ts says what each does ----

    subscribe(name, listener, { since } = {}) {
      const leave = () => this.unsubscribe(name, listener);
      if (!this.#channels.has(name)) {
        if (this.#channels.size >= CHANNELS_MAX) {
          const error = failure('too_many_channels', `at most ${CHANNELS_MAX} channels`, name);
          // Later: the page may not have said yet who is to hear of errors.
          queueMicrotask(() => this.#emit('error', error));
          return leave;
        }
        this.#channels.set(name, new Channel(name, since));
        this.#update();
      }
      this.#channels.get(name).listeners.add(listener);
      return leave;
    }

    unsubscribe(name, listener) {
      const channel = this.#channels.get(name);
      if (!channel) return;
      if (listener) channel.listeners.delete(listener);
      else channel.listeners.clear();
      if (channel.listeners.size) return;
      this.#channels.delete(name);
      this.#update();
    }

    publish(channel, data) {
      return this.#ask({ type: 'publish', channel, data });
    }

    presence(channel) {
      return this.#ask({ type: 'presence', channel });
    }

    on(event, handler) {
      if (!this.#handlers.has(event)) this.#handlers.set(event, new Set());
      this.#handlers.get(event).add(handler);
      return this;
    }

    off(event, handler) {
      this.#handlers.get(event)?.delete(handler);
      return this;
    }

    get transport() {
      return this.#connected ? this.#transport : null;
    }

    cursor(name) {
      return this.#channels.get(name)?.cursor;
    }

    open() {
      if (this.#open) return;
      this.#open = this.#tokenIsOld = true;
      this.#asleep = false;
      this.#page = new Page(this.#options.hiddenAfter, {
        hidden: () => this.#hidden(),
        shown: () => this.#shown(),
        aside: () => this.#sleep('pagehide'),
        offline: () => this.#link?.check?.(),
        online: () => this.#restart('online'),
        resumed: () => this.#restart('resumed'),
      });
      // In a moment: what the page subscribes to in the same breath goes with the handshake.
      queueMicrotask(() => this.#connect());
    }

    close() {
      this.#stop({ code: 1000, reason: 'closed' });
    }

    // ---- connecting, and coming back ----

    async #connect() {
      if (!this.#open || this.#asleep || this.#link) return;
      const turn = ++this.#turn;
      const hasToken = await this.#freshToken();
      if (turn !== this.#turn) return;
      if (!hasToken) return this.#comeBack();
      this.#link = this.#make(this.#ladder.rank);
      this.#link.open();
    }

    #make(rank, onTrial = false) {
      return new LINKS[this.#ladder.kinds[rank]](this.#host, rank, onTrial);
    }

    /** A link works. */
    #up(link) {
      if (link === this.#trial) {
        this.#timers.set('trial', TRIAL_MS + this.#host.timeoutMs, () => this.#promote(link));
      } else if (link === this.#link) {
        this.#timers.set('settle', STABLE_MS, () => this.#settle(link));
        if (link.rank && !this.#timers.has('probe')) this.#probeLater();
        if (this.#options.hidden === 'quiet' && isHidden()) this.#tellVisibility('hidden');
        // Before the requests: who follows a channel and publishes to it hears itself.
        link.update();
        this.#announce(this.#ladder.kinds[link.rank]);
        for (const request of this.#requests.values()) this.#send(request);
      }
    }

    #announce(kind) {
      const opens = !this.#connected;
      const moves = this.#transport !== kind;
      this.#connected = true;
      this.#transport = kind;
      if (moves) this.#emit('transport', kind);
      if (opens) this.#emit('open', { transport: kind });
    }

    /** A link has ended by itself: `end` is its code and reason, whether the way is to blame, and how long to stay away. */
    #down(link, end) {
      if (link === this.#trial) return this.#probe(link.rank + 1);
      if (end.blame && !link.settled && !isOffline()) this.#ladder.strike(link);
      if (end.error) this.#emit('error', end.error);
      const unauthorized = UNAUTHORIZED.includes(end.code);
      this.#tokenIsOld ||= unauthorized;
      if (FINAL.includes(end.code) || (unauthorized && typeof this.#options.token !== 'function')) {
        this.#stop(end);
      } else {
        this.#drop(end);
        this.#comeBack(end.retryMs);
      }
    }

    /** Ends whatever connection or attempt there is. */
    #drop({ code, reason }, final = false) {
      const tells = this.#link || final;
      this.#turn++;
      this.#link?.end();
      this.#trial?.end();
      this.#link = this.#trial = null;
      this.#connected = false;
      this.#timers.clear('connect', 'settle', 'trial', 'refresh', 'update');
      for (const [id, { sent }] of this.#requests) {
        if (sent === 'link') this.#answer(id, failure('outcome_unknown', 'cut off before the answer'));
      }
      if (tells) this.#emit('close', { code, reason, final });
    }

    /** Ends it for good. */
    #stop(end) {
      if (!this.#open) return;
      this.#open = false;
      this.#page.end();
      for (const id of this.#requests.keys()) this.#answer(id, failure('closed', 'the client is closed'));
      this.#timers.clear('probe');
      this.#drop(end, true);
    }

    /**
     * Tries again after a random time (full jitter) on top of what the server asked for. Without a network it waits for
     * `online`, and tries seldom in case the browser is wrong.
     */
    #comeBack(leastMs = 0) {
      if (!this.#open || this.#asleep) return;
      const ceilingMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#attempts);
      if (isOffline()) leastMs = Math.max(leastMs, BACKOFF_MAX_MS);
      else this.#attempts++;
      this.#notBefore = Date.now() + leastMs;
      this.#timers.set('connect', leastMs + this.#options.random() * ceilingMs, () => this.#connect());
    }

    // ---- better ways ----

    /** A link has lived long enough to be a good one. */
    #settle(link) {
      link.settled = true;
      this.#attempts = 0;
      this.#ladder.settle();
    }

    #probeLater() {
      this.#timers.set('probe', this.#ladder.probeMs, () => this.#probe(0));
    }

    /** Puts the ways from `rank` on that are better than the present one on trial, best first, while that one delivers. */
    #probe(rank) {
      this.#timers.clear('trial');
      this.#trial = null;
      // Without a channel to ask for, an event stream would prove nothing.
      if (rank < this.#ladder.rank && this.#connected && this.#channels.size) {
        this.#trial = this.#make(rank, true);
        this.#trial.open();
      } else {
        this.#ladder.wait();
        if (this.#ladder.rank) this.#probeLater();
      }
    }

    /** The link on trial takes over from the cursors that the old one has reached, so that nothing is lost or comes twice. */
    #promote(link) {
      this.#link.end();
      this.#link = link;
      this.#trial = null;
      this.#timers.clear('probe');
      this.#ladder.climb(link.rank);
      link.takeOver();
      this.#up(link);
    }

    // ---- hearing ----

    #hear(link, message) {
      const { type, id } = message;
      if (type === 'notification' || type === 'gap') {
        const channel = this.#channels.get(message.channel);
        if (link === this.#link && link.live.has(channel)) this.#deliver(channel, channel.take(message));
      } else if (this.#requests.has(id)) {
        this.#answer(id, message);
      } else if (type === 'error') {
        this.#emit('error', failure(message.code, message.message));
      } else if (type === 'presence' && link === this.#link) {
        this.#emit('presence', message);
      }
    }

    #begin(link, channel, cursor, recovered) {
      if (link === this.#link) this.#deliver(channel, channel.begin(cursor, recovered));
    }

    #deliver(channel, messages) {
      for (const message of messages) {
        if (message.type === 'gap') this.#emit('gap', message);
        else channel.listeners.forEach((listener) => call(listener, message));
      }
    }

    // ---- channels ----

    /** The server does not let this client follow the channel, for now or for good. */
    #refuse(channel, { code, message }) {
      if (PASSING.includes(code)) return this.#update(1_000 + this.#options.random() * 2_000);
      if (this.#channels.get(channel.name) === channel) this.#channels.delete(channel.name);
      this.#emit('error', failure(code, message, channel.name));
    }

    /** Tells the link that the channels are others, once for all that the page does in one breath. */
    #update(ms = 0) {
      this.#timers.set('update', ms, () => this.#link?.update());
    }

    // ---- requests ----

    #ask(message) {
      return new Promise((resolve, reject) => {
        if (!this.#open) return reject(failure('closed', 'the client is closed'));
        const id = ++this.#lastId;
        const { timeoutMs } = this.#host;
        const late = () => this.#answer(id, failure('timeout', `no answer within ${timeoutMs} ms`));
        const request = { message: { ...message, id }, resolve, reject, timer: setTimeout(late, timeoutMs) };
        this.#requests.set(id, request);
        if (this.#connected) this.#send(request);
      });
    }

    /** Sends a request, unless it was sent before: nothing is published twice. */
    async #send(request) {
      const { message, sent } = request;
      if (sent) return;
      const body = JSON.stringify(message);
      if (this.#link.say && body.length < LARGE) {
        request.sent = 'link';
        this.#link.update();
        return this.#link.say(message);
      }
      request.sent = 'post';
      try {
        const response = await ask(this.#host, 'poll', { body });
        this.#answer(message.id, await response.json());
      } catch (error) {
        this.#answer(message.id, error.code ? error : failure('outcome_unknown', error.message));
      }
    }

    #answer(id, answer) {
      const request = this.#requests.get(id);
      if (!request) return;
      this.#requests.delete(id);
      clearTimeout(request.timer);
      if (answer instanceof Error) request.reject(answer);
      else if (answer.type === 'error') request.reject(failure(answer.code, answer.message, request.message.channel));
      else request.resolve(answer);
    }

    // ---- the token ----

    /** Sees to it that the token is good, and says whether it is. */
    async #freshToken() {
      if (!this.#tokenIsOld) return true;
      try {
        const { token } = this.#options;
        this.#token = typeof token === 'function' ? await token() : token;
        this.#tokenIsOld = false;
      } catch (error) {
        this.#emit('error', failure('token', `token callback: ${error?.message ?? error}`));
      }
      return !this.#tokenIsOld;
    }

    /** Hands in the next token before this one expires in `ms`, on the connection as it is. */
    #refreshBefore(ms) {
      if (!ms || typeof this.#options.token !== 'function') return;
      this.#timers.set('refresh', Math.max(ms - 30_000, ms / 2), async () => {
        const link = this.#link;
        this.#tokenIsOld = true;
        if ((await this.#freshToken()) && link === this.#link) link?.authenticate?.();
      });
    }

    // ---- page and machine ----

    /** Nobody has looked for long enough. Only a WebSocket can be quiet. */
    #hidden() {
      const { hidden } = this.#options;
      if (hidden === 'quiet' && this.#link?.say) this.#tellVisibility('hidden');
      else if (hidden !== 'stay') this.#sleep('hidden');
    }

    #shown() {
      if (this.#asleep) {
        this.#asleep = false;
        this.#attempts = 0;
        this.#connect();
      } else if (this.#timers.has('connect')) {
        // Who looks need not wait for our own pause, only for what the server has asked for.
        this.#attempts = 0;
        this.#timers.set('connect', this.#notBefore - Date.now(), () => this.#connect());
      } else {
        if (this.#options.hidden === 'quiet') this.#tellVisibility('visible');
        this.#link?.check?.();
      }
    }

    #tellVisibility(state) {
      if (this.#link?.isUp) this.#link.say?.({ type: 'visibility', state });
    }

    /** No connection until somebody looks. */
    #sleep(reason) {
      this.#asleep = true;
      this.#timers.clear('probe');
      this.#drop({ code: 0, reason });
    }

    /** The network is another one, or time has leapt: whatever there is will be dead, so begin anew at once. */
    #restart(reason) {
      this.#ladder.forgive();
      this.#attempts = 0;
      this.#drop({ code: 0, reason });
      this.#connect();
    }

    #emit(event, value) {
      const handlers = this.#handlers.get(event);
      if (handlers?.size) handlers.forEach((handler) => call(handler, value));
      else if (event === 'error') console.error('roost:', value.message);
    }
  }

  /** The ways, best first, what is known of them, and which one to take. Knows no connection. */
  class Ladder {
    rank = 0;
    /** How long to wait before better ways are tried. */
    probeMs = PROBE_MS;
    /** Early deaths in a row. */
    #strikes = 0;
    /** Ways that have worked. */
    #proven = new Set();
    #pace = 1;
    #paceUntil = 0;

    constructor(kinds, host) {
      this.kinds = kinds;
      this.host = host;
      const { kind, probeMs } = recall(host);
      if (kinds.indexOf(kind) < 1) return;
      this.rank = kinds.indexOf(kind);
      this.probeMs = probeMs || PROBE_MS;
      this.#proven.add(kind);
    }

    /** Which part of the usual silence this network seems to bear. It is not held against it for ever. */
    get pace() {
      return Date.now() < this.#paceUntil ? this.#pace : 1;
    }

    /** A link has died early, and the way is to blame: after enough of that, on to the next one, and from the last to the best. */
    strike(link) {
      if (link.isUp) {
        this.#pace = Math.max(this.pace / 2, 1 / 8);
        this.#paceUntil = Date.now() + REMEMBER_MS;
      }
      const known = link.isUp || this.#proven.has(this.kinds[this.rank]);
      if (++this.#strikes < (known ? STRIKES : 1)) return;
      this.#strikes = 0;
      this.rank = (this.rank + 1) % this.kinds.length;
    }

    /** The present way is a good one. */
    settle() {
      const kind = this.kinds[this.rank];
      this.#strikes = 0;
      this.#proven.add(kind);
      if (!this.rank) this.probeMs = PROBE_MS;
      remember(this.host, this.rank && { kind, probeMs: this.probeMs });
    }

    /** A better way has held its trial. Should it not last, the next trial is further off. */
    climb(rank) {
      this.rank = rank;
      this.#strikes = 0;
      this.wait();
    }

    wait() {
      this.probeMs = Math.min(this.probeMs * 3, PROBE_MAX_MS);
    }

    /** Nothing that went wrong before counts any more. */
    forgive() {
      this.#strikes = this.#paceUntil = 0;
    }
  }

  /** What a browser tells of page and machine: whether anybody looks, whether there is a network, whether time has leapt. */
  class Page {
    #timers = new Timers();
    #due;
    #undo = [];

    constructor(hiddenAfterMs, told) {
      const { document } = globalThis;
      const look = () => this.#look(hiddenAfterMs, told);
      this.#on(document, 'visibilitychange', look);
      this.#on(document, 'resume', look);
      this.#on(globalThis, 'pageshow', look);
      this.#on(globalThis, 'pagehide', told.aside);
      this.#on(globalThis, 'offline', told.offline);
      this.#on(globalThis, 'online', told.online);
      look();
    }

    end() {
      this.#undo.forEach((undo) => undo());
      this.#timers.clear('hidden', 'tick');
    }

    #on(target, event, handler) {
      if (!target?.addEventListener) return;
      target.addEventListener(event, handler);
      this.#undo.push(() => target.removeEventListener(event, handler));
    }

    #look(hiddenAfterMs, told) {
      const slept = this.#timers.has('hidden') && this.#isOverdue();
      this.#timers.clear('hidden', 'tick');
      if (isHidden()) return this.#wait('hidden', hiddenAfterMs, told.hidden);
      this.#tick(told);
      if (slept) told.resumed();
      else told.shown();
    }

    /** Hidden pages have no tick: their timers are late anyway. */
    #tick(told) {
      this.#wait('tick', TICK_MS, () => {
        if (this.#isOverdue()) told.resumed();
        this.#tick(told);
      });
    }

    #wait(name, ms, action) {
      this.#due = Date.now() + ms;
      this.#timers.set(name, ms, action);
    }

    /** The timer has slept, as with a laptop or a phone, and what was connected before is dead. */
    #isOverdue() {
      return Date.now() - this.#due > SLEPT_MS;
    }
  }

  /** A channel that the page follows, and the place that it has reached. Knows no connection. */
  class Channel {
    listeners = new Set();
    epoch = '';
    offset = 0;
    /** Asked for with its cursor, and nothing of it has come since. */
    fresh = false;
    /** The server has let this client follow it before. */
    accepted = false;

    constructor(name, since) {
      this.name = name;
      if (since) this.#move(since);
    }

    get cursor() {
      return this.epoch ? `${this.epoch}-${this.offset}` : undefined;
    }

    #move(cursor) {
      [this.epoch, this.offset] = parse(cursor);
    }

    /** The server's head: the place to begin from, unless there is one. `recovered: false` may end the numbering of ours. */
    begin(cursor, recovered) {
      this.accepted = true;
      if (!this.epoch) {
        if (cursor) this.#move(cursor);
        return [];
      }
      const [epoch, offset] = parse(cursor);
      const lost = recovered === false && (epoch !== this.epoch || offset < this.offset);
      return lost ? this.#skip({ type: 'gap', channel: this.name, from: 1, to: offset, cursor }) : [];
    }

    /** What is to be handed over for a notification or a gap: nothing if it is known, a gap before it if there is a hole. */
    take(message) {
      const fresh = this.fresh;
      this.fresh = false;
      if (message.type === 'gap') return this.#takeGap(message, fresh);
      const { offset } = message;
      if (offset <= this.offset) return [];
      const last = offset - 1;
      const hole = { type: 'gap', channel: this.name, from: this.offset + 1, to: last, cursor: `${this.epoch}-${last}` };
      const before = last > this.offset ? this.#skip(hole) : [];
      this.offset = offset;
      return [...before, message];
    }

    /** Only a gap leads to another epoch. One within ours leads back only as the answer to a cursor that the server never gave. */
    #takeGap(gap, fresh) {
      const [epoch, offset] = parse(gap.cursor);
      if (epoch !== this.epoch || (fresh && gap.from === 1 && offset < this.offset)) return this.#skip(gap);
      if (offset <= this.offset) return [];
      return this.#skip({ ...gap, from: Math.max(gap.from, this.offset + 1) });
    }

    #skip(gap) {
      this.#move(gap.cursor);
      return [gap];
    }
  }

  /** One connection by one way. Tells its host what it hears, that it is up, and, once, that it is down. */
  class Link {
    /** The channels that it brings. */
    live = new Set();
    isUp = false;
    settled = false;
    #timer;
    #over = false;

    constructor(host, rank, onTrial) {
      this.host = host;
      this.rank = rank;
      this.onTrial = onTrial;
    }

    /** The one thing that it waits for. */
    watch(ms, action) {
      clearTimeout(this.#timer);
      if (!this.#over) this.#timer = setTimeout(action, ms);
    }

    watchSilence(ms) {
      this.watch(ms, () => this.fail('silent'));
    }

    rise() {
      if (this.isUp || this.#over) return;
      this.isUp = true;
      this.host.up(this);
    }

    /** The way has failed. */
    fail(reason) {
      this.fall({ code: 0, reason, blame: true });
    }

    fall(end) {
      if (this.#over) return;
      this.end();
      this.host.down(this, end);
    }

    /** From now on the page gets what it brings. */
    takeOver() {
      this.onTrial = false;
    }

    /** Ends without a word to the host. */
    end() {
      this.#over = true;
      clearTimeout(this.#timer);
      this.shut();
    }
  }

  class Socket extends Link {
    #ws;
    #pingMs;
    #waits = false;
    /** Channels asked for, with the id of the message; those of the handshake have none. */
    #asked = new Map();
    #nextBurst;
    #authId;

    open() {
      const { WebSocket, timeoutMs } = this.host;
      try {
        this.#ws = new WebSocket(this.#address(), 'roost.v1');
      } catch (error) {
        // A page of https may not open ws://, for one.
        return this.fail(error.message);
      }
      this.#ws.onmessage = ({ data }) => this.#hear(data);
      this.#ws.onerror = () => {};
      this.#ws.onclose = ({ code, reason }) => this.fall({
        code,
        reason,
        // A server that ends a connection says why; a network does not.
        blame: code === 1005 || code === 1006,
        retryMs: Number(/retry_after_ms=(\d+)/.exec(reason)?.[1] ?? 0),
      });
      this.watchSilence(timeoutMs);
    }

    shut() {
      clearTimeout(this.#nextBurst);
      this.#ws?.close(1000);
    }

    /** Who comes back asks in the handshake, and saves a round trip. Not with a token, which must be seen first. */
    #address() {
      const address = locate(this.host.url, 'ws');
      if (this.host.token() || this.onTrial) return address.href;
      for (const channel of this.host.channels()) {
        if (!channel.accepted || address.search.length > QUERY_MAX) continue;
        addChannel(address, channel);
        this.#asked.set(channel, undefined);
      }
      return address.href;
    }

    /** Sends a message that will be answered. */
    say(message) {
      this.#ws.send(JSON.stringify(message));
      if (this.#waits || message.type === 'visibility') return;
      this.#waits = true;
      this.watchSilence(this.host.timeoutMs);
    }

    check() {
      if (this.isUp) this.say({ type: 'ping' });
    }

    authenticate() {
      this.#authId = this.host.nextId();
      this.say({ type: 'auth', token: this.host.token(), id: this.#authId });
    }

    #hear(data) {
      let message;
      try {
        message = JSON.parse(data);
      } catch {
        return this.fail('no JSON');
      }
      if (message.type === 'welcome') this.#pingMs = message.ping_ms;
      this.#waits = false;
      if (this.#pingMs) this.watch(this.#pingMs * this.host.pace(), () => this.check());
      if (message.type === 'welcome') this.#welcome();
      else if (message.type === 'authenticated') this.#rise(message);
      else if (message.type === 'subscribed') this.#subscribed(message);
      else if (message.type === 'unsubscribed') this.#unsubscribed(message);
      else if (message.type === 'error') this.#refused(message);
      else this.host.hear(this, message);
    }

    #welcome() {
      if (this.host.token()) this.authenticate();
      else this.#rise();
    }

    #rise(authenticated) {
      if (authenticated) this.host.expires(authenticated.expires_in_ms);
      if (this.isUp) return;
      this.rise();
      if (this.onTrial) this.check();
    }

    /** Makes what the server sends what the page wants. */
    update() {
      if (!this.isUp) return;
      const wanted = new Set(this.host.channels());
      for (const channel of this.#asked.keys()) {
        if (wanted.has(channel)) continue;
        this.#asked.delete(channel);
        this.live.delete(channel);
        this.say({ type: 'unsubscribe', channel: channel.name, id: this.host.nextId() });
      }
      const missing = [...wanted].filter((channel) => !this.#asked.has(channel));
      for (const channel of missing.slice(0, SUBSCRIBE_BURST)) {
        const id = this.host.nextId();
        this.#asked.set(channel, id);
        this.say({ type: 'subscribe', channel: channel.name, since: channel.cursor, id });
      }
      clearTimeout(this.#nextBurst);
      if (missing.length > SUBSCRIBE_BURST) this.#nextBurst = setTimeout(() => this.update(), 1_000);
    }

    #subscribed({ channel: name, cursor, recovered, id }) {
      for (const [channel, askedId] of this.#asked) {
        if (channel.name !== name || askedId !== id) continue;
        this.live.add(channel);
        this.host.begin(this, channel, cursor, recovered);
      }
    }

    /** Without an id it is the server's own doing: another token of the same connection allows less. */
    #unsubscribed({ channel: name, id }) {
      const channel = !id && [...this.live].find((one) => one.name === name);
      if (channel) this.#forget(channel, { code: 'forbidden', message: `${name} is no longer allowed` });
    }

    #forget(channel, error) {
      this.#asked.delete(channel);
      this.live.delete(channel);
      this.host.refuse(channel, error);
    }

    #refused(error) {
      if (error.id && error.id === this.#authId) return this.fall({ code: 4001, reason: error.message });
      for (const [channel, id] of this.#asked) {
        if (error.id && id === error.id) return this.#forget(channel, error);
      }
      this.host.hear(this, error);
    }
  }

  /** A link made of requests: of one that never ends, or of many. */
  class Requests extends Link {
    channels = [];
    #abort = new AbortController();

    shut() {
      this.#abort.abort();
    }

    /** What the trial has brought was for nobody: asks anew, from where the page is. */
    takeOver() {
      super.takeOver();
      this.open();
    }

    update() {
      const wanted = this.host.channels();
      const same = wanted.length === this.channels.length && wanted.every((channel) => this.live.has(channel));
      if (!same) this.open();
    }

    /** Asks, or asks anew, for the channels that the page wants now. */
    async open() {
      this.#abort.abort();
      const { signal } = (this.#abort = new AbortController());
      try {
        while (!signal.aborted && this.#take()) await this.request(signal);
      } catch (error) {
        const refused = isRefusal(error) && !this.onTrial && (await this.#sift(signal));
        if (signal.aborted) return;
        if (refused) this.open();
        else this.fall(endOf(error));
      }
    }

    /** One bad channel spoils a request for many: asks for each alone and gives up those that are refused. Says how many. */
    async #sift(signal) {
      let refused = 0;
      for (const channel of this.channels) {
        this.watchSilence(this.host.timeoutMs);
        try {
          await ask(this.host, 'poll', { channels: [channel], wait: 0, signal });
        } catch (error) {
          if (!isRefusal(error)) continue;
          refused += 1;
          this.host.refuse(channel, error);
        }
      }
      return refused;
    }

    /** Whether there is anything to ask for. If not, one is as good as connected. */
    #take() {
      this.channels = this.host.channels();
      this.live = new Set(this.channels);
      for (const channel of this.channels) channel.fresh = !this.onTrial && !!channel.cursor;
      if (!this.channels.length) this.rise();
      return this.channels.length > 0;
    }
  }

  class Stream extends Requests {
    #retryMs = 0;

    async request(signal) {
      this.watchSilence(this.host.timeoutMs);
      const response = await ask(this.host, 'events', { channels: this.channels, signal });
      if (!/event-stream/.test(response.headers.get('content-type'))) throw new Error('no event stream');
      const decoder = new TextDecoder();
      let rest = '';
      let data = [];
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (signal.aborted) return;
        if (done) throw Object.assign(new Error('the stream has ended'), { retryMs: this.#retryMs });
        const lines = (rest + decoder.decode(value, { stream: true })).split(/\r?\n/);
        rest = lines.pop();
        for (const line of lines) data = this.#line(line, data);
        if (this.isUp) this.watchSilence(SSE_SILENCE_MS);
      }
    }

    /** Takes one line of the stream, and the data of the event so far; returns them as they are then. */
    #line(line, data) {
      const [, field, value] = /^(\w+): ?(.*)/s.exec(line) ?? [];
      if (field === 'data') return [...data, value];
      if (field === 'retry') this.#retryMs = Number(value);
      if (field === 'id') this.#begin(value.split(','));
      if (line || !data.length) return data;
      this.host.hear(this, JSON.parse(data.join('\n')));
      return [];
    }

    /** The first `id` is the proof that nobody on the way holds the stream back. */
    #begin(cursors) {
      this.channels.forEach((channel, index) => this.host.begin(this, channel, cursors[index]));
      this.rise();
    }
  }

  class Poll extends Requests {
    async request(signal) {
      // The first answer comes at once and proves that the way works; so does that for a channel without a cursor.
      const holds = this.isUp && this.channels.every(({ cursor }) => cursor);
      const wait = holds ? Math.floor(POLL_WAIT_SECONDS * this.host.pace()) : 0;
      const began = Date.now();
      this.watchSilence(wait * 1_000 + this.host.timeoutMs);
      const response = await ask(this.host, 'poll', { channels: this.channels, wait, signal });
      const { messages, cursors } = await response.json();
      if (signal.aborted) return;
      for (const message of messages) this.host.hear(this, message);
      for (const channel of this.channels) this.host.begin(this, channel, cursors[channel.name]);
      const hasty = wait && !messages.length && Date.now() - began < POLL_PAUSE_MS;
      this.rise();
      if (hasty) await new Promise((resolve) => this.watch(POLL_PAUSE_MS, resolve));
    }
  }

  const LINKS = { websocket: Socket, sse: Stream, poll: Poll };

  // ---- helpers ----

  /** Epoch and offset of a cursor. */
  function parse(cursor) {
    const [epoch, offset] = cursor.split('-');
    return [epoch, Number(offset)];
  }

  /** The address of a sibling of the client's URL, or itself, in the scheme `ws` or `http`. */
  function locate(url, scheme, path = '') {
    const address = new URL(path, url);
    address.search = url.search;
    address.protocol = scheme + (/^(wss|https):/.test(url.protocol) ? 's:' : ':');
    return address;
  }

  function addChannel(address, channel) {
    address.searchParams.append('channel', channel.name);
    address.searchParams.append('since', channel.cursor ?? '');
  }

  /** Sends a request; resolves with a good answer, throws what went wrong with its `status`, `code` and `retryMs`. */
  async function ask(host, path, { channels = [], wait, body, signal }) {
    const address = locate(host.url, 'http', path);
    channels.forEach((channel) => addChannel(address, channel));
    if (wait !== undefined) address.searchParams.set('wait', wait);
    const headers = {};
    if (host.token()) headers.authorization = `Bearer ${host.token()}`;
    if (body) headers['content-type'] = 'application/json';
    const response = await host.fetch(address.href, { method: body ? 'POST' : 'GET', headers, body, signal, cache: 'no-store' });
    if (response.ok) return response;
    const { status } = response;
    const { error } = await response.json().catch(() => ({}));
    throw Object.assign(failure(error?.code ?? `http_${status}`, error?.message ?? `status ${status}`), {
      status,
      isOurs: !!error?.code,
      retryMs: retryAfterMs(response.headers.get('retry-after')),
    });
  }

  /** Seconds or a date. */
  function retryAfterMs(text) {
    const ms = /^\d+$/.test(text) ? text * 1_000 : Date.parse(text) - Date.now();
    return ms > 0 ? ms : 0;
  }

  /** The server itself does not like what is asked for. */
  function isRefusal({ isOurs, status }) {
    return isOurs && (status === 400 || status === 403);
  }

  /** How a link ends for an error. The server's own refusals, and those that pass, do not speak against the way. */
  function endOf(error) {
    const { status = 0, isOurs, retryMs } = error;
    const passes = [401, 429, 503].includes(status);
    return { code: status, reason: error.message, retryMs, blame: !isOurs && !passes, error: isOurs && !passes && error };
  }

  function failure(code, message, channel) {
    return Object.assign(new Error(message), { code, channel });
  }

  /** The page's own faults are the page's: they are reported as if nobody had caught them, and stop nothing here. */
  function call(listener, value) {
    try {
      listener(value);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  function isHidden() {
    return !!globalThis.document?.hidden;
  }

  function isOffline() {
    return globalThis.navigator?.onLine === false;
  }

  /** What worked with this server, for half an hour. A page may have no storage, or no right to it. */
  function remember(host, memory) {
    try {
      if (memory) localStorage.setItem(`roost:${host}`, JSON.stringify({ ...memory, until: Date.now() + REMEMBER_MS }));
      else localStorage.removeItem(`roost:${host}`);
    } catch {
      // Then the next page finds out by itself.
    }
  }

  function recall(host) {
    try {
      const memory = JSON.parse(localStorage.getItem(`roost:${host}`));
      return memory.until > Date.now() ? memory : {};
    } catch {
      return {};
    }
  }

  /** Timers by name, one of each. */
  class Timers {
    #running = new Map();

    set(name, ms, action) {
      this.clear(name);
      const run = () => {
        this.#running.delete(name);
        action();
      };
      this.#running.set(name, setTimeout(run, Math.min(ms, TIMER_MAX_MS)));
    }

    has(name) {
      return this.#running.has(name);
    }

    clear(...names) {
      for (const name of names) {
        clearTimeout(this.#running.get(name));
        this.#running.delete(name);
      }
    }
  }

  return Roost;
})();

// Node.js: `require`, and `import` of the default.
if (typeof module === 'object' && module.exports) (module.exports = Roost).Roost = Roost;

// One file for <script src> and for `import`, although only modules may say `export`. In a module `await` is a keyword, so what
// follows is a regular expression with a quote in it, then the export, then a comment. In a script `await` is a name like any
// other, and what follows is a division by a string. Neither is ever carried out.
0 && await /"/; export { Roost, Roost as default }; //"
