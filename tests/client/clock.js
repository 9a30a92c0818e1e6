// Time that stands still until a test moves it: timers and Date.now of this process, for tests in which time matters.
// Must never know what is timed.
'use strict';

const real = { setTimeout, clearTimeout, setImmediate, now: Date.now };
/** Rounds of real turns in which whatever promises are under way come to an end: streams take several. */
const SETTLE_ROUNDS = 3;

class Clock {
  #now;
  #timers = new Map();
  #lastId = 0;

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  install() {
    globalThis.setTimeout = (action, ms = 0, ...args) => {
      const id = ++this.#lastId;
      this.#timers.set(id, { at: this.#now + Math.max(0, ms), action: () => action(...args) });
      return id;
    };
    globalThis.clearTimeout = (id) => this.#timers.delete(id);
    Date.now = () => this.#now;
  }

  uninstall() {
    Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
    Date.now = real.now;
  }

  get now() {
    return this.#now;
  }

  get pending() {
    return this.#timers.size;
  }

  /** Lets everything happen that is due now. */
  async settle() {
    for (let round = 0; round < SETTLE_ROUNDS; round++) await new Promise((resolve) => real.setImmediate(resolve));
  }

  /** Moves on by `ms`, stopping at each timer that becomes due on the way. */
  async advance(ms) {
    const end = this.#now + ms;
    await this.settle();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#timers.delete(next.id);
      this.#now = Math.max(this.#now, next.at);
      next.action();
      await this.settle();
    }
    this.#now = end;
  }

  /** Time passes while the machine sleeps: no timer fires before it wakes. */
  leap(ms) {
    this.#now += ms;
  }

  /** Moves on until `condition` holds, for `ms` at most. */
  async until(condition, ms = 120_000, what = String(condition)) {
    const end = this.#now + ms;
    await this.settle();
    while (!condition()) {
      const next = this.#next(end);
      if (!next) throw new Error(`not within ${ms} ms: ${what}`);
      await this.advance(Math.max(0, next.at - this.#now));
    }
  }

  #next(end) {
    let first;
    for (const [id, { at, action }] of this.#timers) if (at <= end && (!first || at < first.at)) first = { id, at, action };
    return first;
  }
}

module.exports = { Clock };
