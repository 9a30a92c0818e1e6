// Scenarios in which Node.js `ws` is the client: `node conversation.js NAME PUBLIC API`.
// Ends with 0 when the scenario held, with 1 and the reason on stderr when not.
'use strict';
const assert = require('node:assert/strict');
const http = require('node:http');
const { once } = require('node:events');
const { WebSocket } = require('ws');

const [name, publicAddress, apiAddress] = process.argv.slice(2);
const url = `ws://${publicAddress}/live`;
const TEXT_BYTES_MAX = 64 * 1024;

// A client whose messages are heard one by one.
class Client {
  constructor(path = '', protocols = []) {
    this.ws = new WebSocket(url + path, protocols, { perMessageDeflate: false });
    this.heard = [];
    this.waiting = [];
    this.ws.on('message', (data) => this.deliver(JSON.parse(data)));
    this.ws.on('error', (error) => this.waiting.shift()?.reject(error));
    this.closed = once(this.ws, 'close').then(([code, reason]) => ({ code, reason: String(reason) }));
    this.closed.then(({ code }) => this.waiting.forEach(({ reject }) => reject(new Error(`closed with ${code}`))));
    this.open = once(this.ws, 'open');
    this.open.catch(() => {});
  }

  deliver(message) {
    if (this.waiting.length > 0) this.waiting.shift().resolve(message);
    else this.heard.push(message);
  }

  hear() {
    if (this.heard.length > 0) return Promise.resolve(this.heard.shift());
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  async ask(message) {
    await this.open;
    this.ws.send(typeof message === 'string' ? message : JSON.stringify(message));
    return this.hear();
  }

  async subscribe(channel) {
    const answer = await this.ask({ type: 'subscribe', channel });
    assert.equal(answer.type, 'subscribed');
    return answer;
  }

  end() {
    this.ws.terminate();
  }
}

function publish(body) {
  const [host, port] = apiAddress.split(':');
  const headers = { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, path: '/publish', method: 'POST', headers }, async (response) => {
      let text = '';
      for await (const piece of response) text += piece;
      resolve(JSON.parse(text));
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

const scenarios = {
  async talk() {
    const client = new Client();
    const { cursor } = await client.subscribe('news');
    assert.match(cursor, /^[0-9A-Za-z]+-0$/);
    const published = await publish({ channel: 'news', data: { text: 'grüße 🐓' } });
    const notification = await client.hear();
    assert.deepEqual(Object.keys(notification).sort(), ['channel', 'data', 'offset', 'timestamp', 'type']);
    assert.deepEqual(notification.data, { text: 'grüße 🐓' });
    assert.equal(published.cursor, cursor.replace(/0$/, '1'));
    const answer = await client.ask({ type: 'unsubscribe', channel: 'news', id: 7 });
    assert.deepEqual(answer, { type: 'unsubscribed', channel: 'news', id: 7 });
    client.ws.close(1000);
    assert.equal((await client.closed).code, 1000);
  },

  async welcome() {
    const client = new Client('', ['other', 'roost.v1']);
    const welcome = await client.hear();
    assert.equal(client.ws.protocol, 'roost.v1');
    assert.equal(welcome.type, 'welcome');
    assert.equal(welcome.ping_ms, 25000);
    assert.equal(typeof welcome.session, 'string');
    assert.equal(typeof welcome.node, 'string');
    client.end();
  },

  async many() {
    const clients = Array.from({ length: 300 }, () => new Client());
    await Promise.all(clients.map((client) => client.subscribe('all')));
    await publish({ channel: 'all', data: 'hello' });
    const heard = await Promise.all(clients.map((client) => client.hear()));
    assert.ok(heard.every(({ data, offset }) => data === 'hello' && offset === 1));
    clients.forEach((client) => client.end());
  },

  async largest() {
    const padded = (bytes) => '{"type":"ping"}'.padEnd(bytes, ' ');
    const client = new Client();
    assert.deepEqual(await client.ask(padded(TEXT_BYTES_MAX)), { type: 'pong' });
    client.ws.send(padded(TEXT_BYTES_MAX + 1));
    assert.equal((await client.closed).code, 1009);
  },

  async fragments() {
    const client = new Client();
    await client.open;
    client.ws.send('{"type":', { fin: false });
    client.ws.ping('between');
    const [payload] = await once(client.ws, 'pong');
    assert.equal(String(payload), 'between');
    client.ws.send('"ping"}', { fin: true });
    assert.deepEqual(await client.hear(), { type: 'pong' });
    client.end();
  },
};

scenarios[name]().then(
  () => process.exit(0),
  (error) => {
    console.error(error.stack);
    process.exit(1);
  },
);
