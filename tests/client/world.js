// What tests in memory are made of: a clock, a server, a network, clients, and what they were told.
'use strict';
const { Clock } = require('./clock.js');
const { Fake } = require('./fake.js');
const { Pipe } = require('./pipe.js');
const { Roost } = require('../../src/assets/roost.js');

const EVENTS = ['open', 'close', 'transport', 'gap', 'error', 'presence'];

class World {
  clients = [];

  constructor() {
    this.clock = new Clock();
    this.fake = new Fake();
    this.pipe = new Pipe(this.fake);
    this.clock.install();
  }

  /** A client, and in `heard` all that it tells its page, in order: `[event, value]`. */
  client({ url = 'wss://host/live', ...options } = {}) {
    const { WebSocket, fetch } = this.pipe;
    const roost = new Roost(url, { WebSocket, fetch, random: () => 0.5, ...options });
    const client = { roost, heard: [] };
    for (const event of EVENTS) roost.on(event, (value) => client.heard.push([event, value]));
    client.follow = (channel, more) => roost.subscribe(channel, (message) => client.heard.push(['message', message]), more);
    client.told = (event) => client.heard.filter(([name]) => name === event).map(([, value]) => value);
    client.data = () => client.told('message').map(({ data }) => data);
    this.clients.push(client);
    return client;
  }

  /** A client that is connected. */
  async connected(options) {
    const client = this.client(options);
    await this.clock.until(() => client.roost.transport, 120_000, 'connected');
    return client;
  }

  async end() {
    this.clients.forEach(({ roost }) => roost.close());
    this.clock.uninstall();
  }
}

/** Publishes 1, 2, 3 … to a channel, one every `everyMs`, until `stop`. */
function publishEvery(world, channel, everyMs) {
  const all = [];
  let timer;
  const next = () => {
    world.fake.publish(channel, all.push(all.length + 1));
    timer = setTimeout(next, everyMs);
  };
  next();
  const stop = async () => {
    clearTimeout(timer);
    await world.clock.advance(1_000);
  };
  /** What a client must have that followed from the beginning: all from the first that it got. */
  const after = (client) => all.slice(client.data()[0] - 1);
  return { all, stop, after };
}

/** A browser's localStorage. */
class Storage {
  #items = new Map();

  getItem(key) {
    return this.#items.get(key) ?? null;
  }

  setItem(key, value) {
    this.#items.set(key, String(value));
  }

  removeItem(key) {
    this.#items.delete(key);
  }
}

/** Runs a test in a world of its own. */
function inWorld(test) {
  return async () => {
    const world = new World();
    try {
      await test(world);
    } finally {
      await world.end();
    }
  };
}

module.exports = { World, inWorld, publishEvery, Storage };
