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
  client(options = {}) {
    const { WebSocket, fetch } = this.pipe;
    const roost = new Roost('wss://host/live', { WebSocket, fetch, random: () => 0.5, ...options });
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

module.exports = { World, inWorld };
