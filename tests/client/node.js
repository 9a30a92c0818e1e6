// A running node of roost, on ports of its own, and a proxy before it that treats its clients as proxies do.
// Must never know a test.
'use strict';
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');

const BINARY = process.env.ROOST_BIN ?? path.join(__dirname, '../../target/debug/roost');

class Node {
  static async start(...options) {
    const node = new Node();
    const listeners = ['--listen', '127.0.0.1:0', '--api', '127.0.0.1:0'];
    node.process = spawn(BINARY, ['serve', ...listeners, ...options], { stdio: ['ignore', 'pipe', 'ignore'] });
    node.ended = once(node.process, 'exit');
    for await (const line of readline.createInterface({ input: node.process.stdout })) {
      const [listener, address] = line.split(' ');
      node[listener] = address;
      if (listener === 'api') return node;
    }
    throw new Error(`${BINARY} ended before it told its addresses`);
  }

  async publish(channel, data) {
    const response = await fetch(`http://${this.api}/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ channel, data }),
    });
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  }

  async end() {
    this.process.kill('SIGKILL');
    await this.ended;
  }
}

/** Passes bytes on to `target`, `host:port`. */
class Proxy {
  /** Answers requests for an upgrade with 403, as corporate proxies do. */
  refusesUpgrades = false;
  /** Keeps the body of whatever has no Content-Length until it ends. */
  buffers = false;
  #sockets = new Set();

  static async start(target) {
    const proxy = new Proxy();
    const [host, port] = target.split(':');
    proxy.target = { host, port };
    proxy.server = http.createServer((request, response) => proxy.#pass(request, response));
    proxy.server.on('upgrade', (request, socket, head) => proxy.#upgrade(request, socket, head));
    proxy.server.on('connection', (socket) => proxy.#note(socket));
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    proxy.address = `127.0.0.1:${proxy.server.address().port}`;
    return proxy;
  }

  /** Cuts everyone off, without a word. */
  cut() {
    this.#sockets.forEach((socket) => socket.destroy());
  }

  async end() {
    this.cut();
    this.server.close();
    await once(this.server, 'close');
  }

  #note(socket) {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  #pass(request, response) {
    const { method, url: path, headers } = request;
    const upstream = http.request({ ...this.target, method, path, headers }, (answer) => {
      const held = this.buffers && !answer.headers['content-length'];
      if (!held) response.writeHead(answer.statusCode, answer.headers);
      answer.on('data', (piece) => held || response.write(piece));
      answer.on('end', () => response.end());
      answer.on('error', () => response.destroy());
    });
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  }

  #upgrade(request, socket, head) {
    if (this.refusesUpgrades) return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    const upstream = net.connect(this.target, () => {
      const lines = request.rawHeaders.map((word, index) => (index % 2 ? `${word}\r\n` : `${word}: `));
      upstream.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('')}\r\n`);
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    this.#note(upstream);
    socket.on('close', () => upstream.destroy());
    upstream.on('close', () => socket.destroy());
  }
}

module.exports = { Node, Proxy };
