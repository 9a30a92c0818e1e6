// Runs a client that was written for browsers, as it stands: `node tutorial_host.js HOST:PORT CLIENT.js`.
// Gives it the browser's WebSocket (from `ws`), leads its port 8080 to the node, and prints each object it logs as JSON.
'use strict';
const { WebSocket } = require('ws');
const [address, client] = process.argv.slice(2);

global.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url.replace(/^ws:\/\/(host|localhost):8080/, `ws://${address}`));
  }
};
console.log = (...things) => process.stdout.write(things.map((thing) => JSON.stringify(thing)).join(' ') + '\n');
require(client);
