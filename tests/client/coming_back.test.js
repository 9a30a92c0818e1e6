// After an end: whether the client comes back, when, and what becomes of what was under way.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { inWorld, publishEvery } = require('./world.js');

/** Milliseconds from now to each of the next `count` tries by a way. */
async function triesIn(world, way, count) {
  const began = world.clock.now;
  const times = [];
  for (let tried = world.pipe.tries[way]; times.length < count; ) {
    await world.clock.until(() => world.pipe.tries[way] > tried, 200_000);
    tried = world.pipe.tries[way];
    times.push(world.clock.now - began);
  }
  return times;
}

test('the pauses between attempts double up to 30 s, and each is a random part of its bound', inWorld(async (world) => {
  for (const part of [0.999, 0.5, 0.01]) {
    world.pipe.fates.websocket = () => ({ refuse: 0 });
    const client = world.client({ transports: ['websocket'], random: () => part });
    const times = await triesIn(world, 'websocket', 9);
    const pauses = times.map((time, index) => time - (times[index - 1] ?? time)).slice(1);
    const bounds = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
    pauses.forEach((pause, index) => assert.ok(Math.abs(pause - bounds[index] * part) <= 50, `${pause} of ${bounds[index]}`));
    client.roost.close();
  }
}));

test('a connection that is cut at once is no reason to try faster', inWorld(async (world) => {
  world.pipe.fates.websocket = () => ({ cutMs: 100 });
  world.client({ transports: ['websocket'] });
  await world.clock.advance(600_000);
  assert.ok(world.pipe.tries.websocket < 60, String(world.pipe.tries.websocket));
}));

test('a connection that has lived makes the next pause short again', inWorld(async (world) => {
  world.pipe.fates.websocket = (count) => (count < 6 ? { refuse: 0 } : {});
  const client = world.client({ transports: ['websocket'] });
  await world.clock.until(() => client.roost.transport);
  await world.clock.advance(31_000);
  world.pipe.cutAll();
  const [pause] = await triesIn(world, 'websocket', 1);
  assert.ok(pause <= 600, String(pause));
}));

test('a server that goes away says when to come back, and that is the soonest', inWorld(async (world) => {
  const client = await world.connected();
  world.fake.endAll({ code: 1001, reason: 'going away retry_after_ms=7000' });
  const [pause] = await triesIn(world, 'websocket', 1);
  assert.ok(pause >= 7_000 && pause <= 8_100, String(pause));
  assert.deepEqual(client.told('close'), [{ code: 1001, reason: 'going away retry_after_ms=7000', final: false }]);
  await world.clock.until(() => client.roost.transport);
}));

test('an event stream is left for as long as its `retry` says', inWorld(async (world) => {
  await world.connected({ transports: ['sse'] }).then((client) => client.follow('news'));
  await world.clock.advance(40_000);
  world.fake.endAll({});
  const [pause] = await triesIn(world, 'sse', 1);
  assert.ok(pause >= 2_000 && pause <= 3_100, String(pause));
}));

test('a client that can get another token comes back after exactly the codes after which the table of the server lets it', inWorld(async (world) => {
  const table = fs.readFileSync(path.join(__dirname, '../../src/disconnect.rs'), 'utf8');
  const rows = [...table.matchAll(/Self::\w+ => \((\d+), .*, (true|false)\)/g)].map(([, code, may]) => [Number(code), may === 'true']);
  assert.ok(rows.length > 10);
  for (const [code, mayReturn] of rows.filter(([code]) => code)) {
    const client = await world.connected({ token: () => null });
    world.fake.endAll({ code, reason: 'because' });
    await world.clock.advance(1_000);
    assert.deepEqual(client.told('close'), [{ code, reason: 'because', final: !mayReturn }]);
    await world.clock.advance(100_000);
    assert.equal(client.roost.transport, mayReturn ? 'websocket' : null, String(code));
    client.roost.close();
  }
}));

for (const code of [4001, 4002, 4005, 4006]) {
  test(`${code} is the end for a client without a token callback`, inWorld(async (world) => {
    const client = await world.connected();
    world.fake.endAll({ code, reason: 'no' });
    await world.clock.advance(300_000);
    assert.deepEqual(client.told('close'), [{ code, reason: 'no', final: true }]);
    assert.equal(world.pipe.tries.websocket, 1);
    assert.equal(world.clock.pending, 0);
  }));
}

test('open comes back after a final end, with the subscriptions as they were', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  world.fake.endAll({ code: 4006, reason: 'kicked' });
  await world.clock.advance(1_000);
  world.fake.publish('news', 1);
  client.roost.open();
  await world.clock.until(() => client.data().length === 1);
  assert.deepEqual(client.told('gap'), []);
}));

test('open does nothing for a client that is open', inWorld(async (world) => {
  const client = world.client();
  client.roost.open();
  await world.clock.until(() => client.roost.transport);
  client.roost.open();
  await world.clock.advance(10_000);
  assert.equal(world.pipe.tries.websocket, 1);
  client.roost.close();
  assert.equal(world.clock.pending, 1);
  await world.clock.advance(1_000);
  assert.equal(world.clock.pending, 0);
}));

test('close ends everything: no timer, no connection, and what waits is told', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  const waiting = assert.rejects(client.roost.presence('news'), { code: 'closed' });
  client.roost.close();
  await waiting;
  await world.clock.advance(1_000);
  assert.equal(world.clock.pending, 0);
  assert.equal(world.pipe.open.size, 0);
  assert.deepEqual(client.told('close'), [{ code: 1000, reason: 'closed', final: true }]);
  await assert.rejects(client.roost.publish('news', 1), { code: 'closed' });
}));

test('a client that is closed in the breath that made it connects to nobody', inWorld(async (world) => {
  world.client().roost.close();
  await world.clock.advance(10_000);
  assert.deepEqual(world.pipe.tries, { websocket: 0, sse: 0, poll: 0, post: 0 });
}));

test('a silent line is asked for a sign of life, and one that gives none is left', inWorld(async (world) => {
  const client = await world.connected();
  await world.clock.advance(24_000);
  assert.deepEqual(world.fake.heard, []);
  await world.clock.advance(2_000);
  assert.deepEqual(world.fake.heard, [{ type: 'ping' }]);
  await world.clock.advance(100_000);
  assert.equal(client.told('close').length, 0);
  world.fake.deaf = true;
  await world.clock.until(() => client.told('close').length === 1, 34_000);
  assert.deepEqual(client.told('close'), [{ code: 0, reason: 'silent', final: false }]);
  world.fake.deaf = false;
  await world.clock.until(() => client.roost.transport);
}));

test('a line that gives no answer is left in time, however much is said to it', inWorld(async (world) => {
  const client = await world.connected();
  world.fake.deaf = true;
  for (let asked = 0; asked < 9; asked++) {
    client.roost.presence('news').catch(() => {});
    await world.clock.advance(1_000);
  }
  assert.deepEqual(client.told('close').map(({ reason }) => reason), ['silent']);
}));

test('a line that speaks is not asked', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  const sent = publishEvery(world, 'news', 20_000);
  await world.clock.advance(200_000);
  await sent.stop();
  assert.deepEqual(world.fake.heard.map(({ type }) => type), ['subscribe']);
}));

test('a silent event stream is left', inWorld(async (world) => {
  world.fake.beats = false;
  const client = await world.connected({ transports: ['sse'] });
  client.follow('news');
  await world.clock.advance(1_000);
  await world.clock.until(() => client.told('close').length === 1, 41_000);
  assert.equal(client.told('close')[0].reason, 'silent');
}));

test('comments keep an event stream alive', inWorld(async (world) => {
  const client = await world.connected({ transports: ['sse'] });
  client.follow('news');
  await world.clock.advance(1_000);
  await world.clock.advance(600_000);
  assert.deepEqual(client.told('close'), []);
}));

test('a request waits for a connection, is sent once, and gives up in time', inWorld(async (world) => {
  world.pipe.fates.websocket = (count) => (count < 2 ? { refuse: 0 } : {});
  const client = world.client({ transports: ['websocket'] });
  const early = client.roost.publish('news', 1);
  await world.clock.until(() => client.roost.transport);
  await world.clock.advance(100);
  assert.equal((await early).offset, 1);
  world.fake.deaf = true;
  const late = assert.rejects(client.roost.presence('news'), { code: /timeout|outcome_unknown/ });
  await world.clock.advance(9_000);
  await late;
}));

test('a connection that brings no JSON is left', inWorld(async (world) => {
  const client = await world.connected();
  for (const ws of world.pipe.sockets()) ws.onmessage({ data: '<html>' });
  await world.clock.advance(10);
  assert.equal(client.told('close').length, 1);
  await world.clock.until(() => client.roost.transport);
}));
