// Runs tutorial.js as it stands: `node tutorial_host.js HOST:PORT`.
// Gives it the browser's WebSocket (from `ws`), leads its `host:8080` to the node, and prints each object it logs as JSON.
'use strict';
const { WebSocket } = require('ws');
const address = process.argv[2];

global.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url.replace('host:8080', address));
  }
};
console.log = (object) => process.stdout.write(JSON.stringify(object) + '\n');
require('./tutorial.js');
