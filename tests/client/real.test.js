// The client over real sockets, against a running node: what the fake server says about the protocol is what the real one does.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { WebSocket } = require('ws');
const { Node, Proxy } = require('./node.js');
const { Roost } = require('../../src/assets/roost.js');

const SECRET = 'a secret of thirty-two characters';
const POLICY = `
token_key = ["hs256:${SECRET}"]
[channels."talk:"]
clients_may_publish = true
presence = true
[channels."room:"]
auth = "token"
`;
const DEADLINE_MS = 20_000;

/** A node, a proxy before it, and clients through the proxy; all of it is gone after the test. */
function withNode(run) {
  return async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'roost-client-'));
    const config = path.join(folder, 'roost.toml');
    fs.writeFileSync(config, POLICY);
    const node = await Node.start('--config', config);
    const proxy = await Proxy.start(node.public);
    const clients = [];
    try {
      await run({
        node,
        proxy,
        client(options) {
          const client = { roost: new Roost(`ws://${proxy.address}/live`, { WebSocket, timeout: 2_000, ...options }), heard: [] };
          for (const event of ['open', 'close', 'transport', 'gap', 'error', 'presence']) {
            client.roost.on(event, (value) => client.heard.push([event, value]));
          }
          client.told = (event) => client.heard.filter(([name]) => name === event).map(([, value]) => value);
          client.follow = (channel) => client.roost.subscribe(channel, (message) => client.heard.push(['message', message]));
          client.data = () => client.told('message').map(({ data }) => data);
          clients.push(client);
          return client;
        },
      });
    } finally {
      clients.forEach(({ roost }) => roost.close());
      await proxy.end();
      await node.end();
      fs.rmSync(folder, { recursive: true });
    }
  };
}

/** Waits for what must come, for so long at most. */
async function until(condition, what = String(condition)) {
  for (const end = Date.now() + DEADLINE_MS; !condition(); ) {
    if (Date.now() > end) throw new Error(`not within ${DEADLINE_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A token for these channels that lasts for so long. */
function token(subscribe, seconds) {
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const claims = { sub: 'alice', exp: Math.floor(Date.now() / 1_000) + seconds, subscribe };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${crypto.createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

const followed = (client, ...channels) => until(() => channels.every((channel) => client.roost.cursor(channel)), 'followed');

for (const kind of ['websocket', 'sse', 'poll']) {
  test(`by ${kind}, notifications of several channels come whole and in order, and after a cut what was missed`, withNode(async ({ node, proxy, client }) => {
    const reader = client({ transports: [kind] });
    reader.follow('a');
    reader.follow('b');
    await followed(reader, 'a', 'b');
    for (const data of [1, 'ü\u2028 "quoted"', null, { deep: [[{}]] }]) await node.publish('a', data);
    await node.publish('b', 'other');
    await until(() => reader.data().length === 5);
    proxy.cut();
    for (const data of ['missed 1', 'missed 2']) await node.publish('a', data);
    await until(() => reader.data().length === 7);
    await node.publish('a', 'live');
    await until(() => reader.data().length === 8);
    const [message] = reader.told('message');
    assert.deepEqual(Object.keys(message).sort(), ['channel', 'data', 'offset', 'timestamp', 'type']);
    const ofA = reader.told('message').filter(({ channel }) => channel === 'a');
    assert.deepEqual(ofA.map(({ data }) => data), [1, 'ü\u2028 "quoted"', null, { deep: [[{}]] }, 'missed 1', 'missed 2', 'live']);
    assert.deepEqual(ofA.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual([...reader.told('gap'), ...reader.told('error')], []);
  }));

  test(`by ${kind}, publish and presence are answered, and refusals carry the server's code`, withNode(async ({ client }) => {
    const writer = client({ transports: [kind] });
    writer.follow('talk:1');
    await followed(writer, 'talk:1');
    const published = await writer.roost.publish('talk:1', { hello: 'there' });
    assert.equal(published.offset, 1);
    await until(() => writer.data().length === 1);
    assert.equal(typeof (await writer.roost.presence('talk:1')).count, 'number');
    await assert.rejects(writer.roost.publish('news', 1), { code: 'forbidden', channel: 'news' });
    await assert.rejects(writer.roost.publish('talk:1', 'x'.repeat(70_000)), { code: 'too_large' });
    await writer.roost.publish('talk:1', 'and on');
    assert.deepEqual(writer.told('close'), []);
  }));

  test(`by ${kind}, a token opens its channels, one that is worth nothing is replaced, and what it does not allow is told`, withNode(async ({ node, client }) => {
    const shown = ['worthless', token(['room:*'], 3_600)];
    const reader = client({ transports: [kind], token: async () => shown.shift() });
    for (const name of ['room:1', 'room:2', 'a']) reader.follow(name);
    await followed(reader, 'room:1', 'room:2', 'a');
    await node.publish('room:1', 'inside');
    await until(() => reader.data().length === 1);
    assert.deepEqual(shown, []);
    assert.deepEqual(reader.told('error'), []);

    const narrow = client({ transports: [kind], token: token(['room:1'], 3_600) });
    for (const name of ['room:1', 'room:2', 'a']) narrow.follow(name);
    await followed(narrow, 'room:1', 'a');
    assert.deepEqual(narrow.told('error').map(({ code, channel }) => [code, channel]), [['forbidden', 'room:2']]);
  }));

  test(`by ${kind}, a cursor of another numbering is told by a gap`, withNode(async ({ node, client }) => {
    const reader = client({ transports: [kind] });
    await node.publish('a', 1);
    reader.roost.subscribe('a', (message) => reader.heard.push(['message', message]), { since: 'foreign-7' });
    await until(() => reader.told('gap').length === 1);
    await node.publish('a', 2);
    await until(() => reader.data().length === 1);
    assert.deepEqual(reader.told('gap').map(({ from, to }) => [from, to]), [[1, 1]]);
    assert.deepEqual(reader.data(), [2]);
  }));

  test(`by ${kind}, what the history has lost is told by a gap, and the rest comes`, withNode(async ({ node, client }) => {
    const first = client({ transports: [kind] });
    first.follow('a');
    await followed(first, 'a');
    first.roost.close();
    for (let n = 1; n <= 40; n++) await node.publish('a', n);
    first.roost.open();
    await until(() => first.data().length === 32);
    assert.deepEqual(first.told('gap').map(({ from, to }) => [from, to]), [[1, 8]]);
    assert.deepEqual(first.data(), Array.from({ length: 32 }, (_, index) => index + 9));
  }));
}

for (const [kind, what, spoil] of [
  ['sse', 'refuses upgrades', { refusesUpgrades: true }],
  ['poll', 'refuses upgrades and holds streams back', { refusesUpgrades: true, buffers: true }],
]) {
  test(`through a proxy that ${what} the client goes down to ${kind}, and up when it does no more, without a loss`, withNode(async ({ node, proxy, client }) => {
    Object.assign(proxy, spoil);
    const reader = client();
    reader.follow('a');
    await followed(reader, 'a');
    let last = 0;
    let sent = Promise.resolve();
    const publishing = setInterval(() => (sent = sent.then(() => node.publish('a', ++last))), 50);
    await until(() => reader.data().length > 10);
    Object.assign(proxy, { refusesUpgrades: false, buffers: false });
    await until(() => reader.roost.transport === 'websocket');
    clearInterval(publishing);
    await sent;
    await until(() => reader.data().length === last);
    assert.deepEqual(reader.data(), Array.from({ length: last }, (_, index) => index + 1));
    assert.deepEqual(reader.told('transport'), [kind, 'websocket']);
    assert.deepEqual(reader.told('gap'), []);
  }));
}

test('a node that drains says when to come back', withNode(async ({ node, client }) => {
  const reader = client({ transports: ['websocket'] });
  await until(() => reader.roost.transport);
  node.process.kill('SIGTERM');
  await until(() => reader.told('close').length);
  assert.match(reader.told('close')[0].reason, /retry_after_ms=\d+/);
  assert.equal(reader.told('close')[0].code, 1001);
}));
