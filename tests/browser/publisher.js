// Publishes numbers to a channel at a steady pace, one after the other, and remembers what the node answered.
'use strict';
const { pause } = require('./common');
const { placeOf } = require('./ledger');

class Publisher {
  constructor(node, channel) {
    this.node = node;
    this.channel = channel;
    this.published = [];
    this.next = 0;
    this.running = false;
  }

  // Publishes every `everyMs` until `stop`.
  start(everyMs = 50) {
    this.running = true;
    this.done = this.run(everyMs);
    // Whoever stops it hears of a fault; until then it must not end the process.
    this.done.catch(() => {});
  }

  async run(everyMs) {
    while (this.running) {
      const due = Date.now() + everyMs;
      await this.publish();
      await pause(Math.max(0, due - Date.now()));
    }
  }

  async stop() {
    this.running = false;
    await this.done;
  }

  // Publishes `count` numbers as fast as the node takes them.
  async burst(count) {
    for (let i = 0; i < count; i++) await this.publish();
  }

  // The next number. One that the node certainly did not take is left for the next try.
  async publish() {
    const n = this.next;
    const outcome = await this.attempt(n);
    if (outcome === 'refused') return;
    this.next++;
    this.published.push(outcome === 'unknown' ? { n, uncertain: true } : { n, ...outcome });
  }

  // The place that `n` was given, `refused`, or `unknown` where the node ended in the middle.
  async attempt(n) {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ channel: this.channel, data: { n } });
    let response, answer;
    try {
      response = await fetch(`http://${this.node.api}/publish`, { method: 'POST', headers, body });
      answer = await response.json();
    } catch (error) {
      return error.cause?.code === 'ECONNREFUSED' ? 'refused' : 'unknown';
    }
    if (response.status === 503) return answer.error.code === 'outcome_unknown' ? 'unknown' : 'refused';
    if (!response.ok) throw new Error(`publication ${n} was answered with ${response.status} ${JSON.stringify(answer)}`);
    return placeOf(answer.cursor);
  }
}

module.exports = { Publisher };
