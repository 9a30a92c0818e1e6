// Signing in: who is asked for a token, when, and what becomes of one that is refused or runs out.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld, publishEvery } = require('./world.js');

/** A callback that makes t1, t2, …, and counts. */
function tokens() {
  const make = async () => `t${++make.count}`;
  make.count = 0;
  return make;
}

for (const kind of ['websocket', 'sse', 'poll']) {
  test(`the token is asked for once, and shown before anything else by ${kind}`, inWorld(async (world) => {
    const token = tokens();
    world.fake.tokens = new Set(['t1']);
    const client = world.client({ token, transports: [kind] });
    client.follow('news');
    await world.clock.until(() => client.roost.transport);
    await world.clock.advance(500);
    world.fake.publish('news', 1);
    await world.clock.advance(500);
    assert.deepEqual(client.data(), [1]);
    assert.equal(token.count, 1);
    assert.deepEqual(client.told('error'), []);
    assert.ok(world.pipe.addresses.every((address) => !address.includes('t1')), 'no token in an address');
  }));

  test(`a refused token is replaced by ${kind}, and nothing is lost`, inWorld(async (world) => {
    const token = tokens();
    world.fake.tokens = new Set(['t1']);
    const client = world.client({ token, transports: [kind] });
    client.follow('news');
    await world.clock.until(() => client.roost.transport);
    await world.clock.advance(500);
    const sent = publishEvery(world, 'news', 900);
    world.fake.tokens = new Set(['t2']);
    world.fake.endAll({ code: 4002, reason: 'token expired' });
    await world.clock.advance(30_000);
    await sent.stop();
    assert.equal(token.count, 2);
    assert.deepEqual(client.data(), sent.all);
    assert.deepEqual(client.told('gap'), []);
  }));

  test(`a fixed token that is refused is the end by ${kind}`, inWorld(async (world) => {
    world.fake.tokens = new Set(['right']);
    const client = world.client({ token: 'wrong', transports: [kind] });
    client.follow('news');
    await world.clock.advance(300_000);
    assert.equal(client.told('close').length, 1);
    assert.equal(client.told('close')[0].final, true);
    assert.equal(world.pipe.tries[kind], 1);
  }));

  test(`tokens that are refused for ever are not asked for faster than by backoff by ${kind}`, inWorld(async (world) => {
    const token = tokens();
    world.fake.tokens = new Set();
    world.client({ token, transports: [kind] }).follow('news');
    await world.clock.advance(600_000);
    assert.ok(token.count > 10 && token.count < 60, String(token.count));
  }));
}

test('the next token is handed in before the present one expires, on the same connection', inWorld(async (world) => {
  const token = tokens();
  world.fake.tokens = new Set(['t1', 't2', 't3']);
  world.fake.expiresMs = 120_000;
  const client = await world.connected({ token });
  await world.clock.advance(89_000);
  assert.equal(token.count, 1);
  await world.clock.advance(2_000);
  assert.deepEqual(world.fake.heard.filter(({ type }) => type === 'auth').map(({ token }) => token), ['t1', 't2']);
  await world.clock.advance(90_000);
  assert.equal(token.count, 3);
  assert.equal(world.pipe.tries.websocket, 1);
  assert.equal(client.told('close').length, 0);
}));

test('what the next token does not allow is given up, and told', inWorld(async (world) => {
  world.fake.tokens = new Set(['t1', 't2']);
  world.fake.expiresMs = 120_000;
  const client = await world.connected({ token: tokens() });
  client.follow('room');
  client.follow('news');
  await world.clock.advance(1_000);
  world.fake.refused.set('room', 'forbidden');
  await world.clock.advance(100_000);
  assert.deepEqual(client.told('error').map(({ code, channel }) => [code, channel]), [['forbidden', 'room']]);
  assert.equal(client.roost.cursor('room'), undefined);
  world.fake.publish('news', 1);
  await world.clock.advance(1_000);
  assert.deepEqual(client.data(), [1]);
}));

test('a token that is good is not asked for again after a cut', inWorld(async (world) => {
  for (const kind of ['websocket', 'sse', 'poll']) {
    const token = tokens();
    world.fake.tokens = new Set(['t1']);
    const client = world.client({ token, transports: [kind] });
    client.follow('news');
    await world.clock.until(() => client.roost.transport);
    world.pipe.cutAll();
    await world.clock.until(() => client.told('open').length === 2);
    assert.equal(token.count, 1);
    client.roost.close();
  }
}));

test('a refresh that fails leaves the connection as it is', inWorld(async (world) => {
  let count = 0;
  world.fake.tokens = new Set(['t']);
  world.fake.expiresMs = 120_000;
  const client = await world.connected({
    token: async () => {
      if (++count > 1) throw new Error('away');
      return 't';
    },
  });
  await world.clock.advance(100_000);
  assert.deepEqual(client.told('error').map(({ code }) => code), ['token']);
  assert.equal(world.fake.heard.filter(({ type }) => type === 'auth').length, 1);
  assert.equal(client.told('close').length, 0);
}));

test('a token that lasts for months does not make a timer run over', inWorld(async (world) => {
  const token = tokens();
  world.fake.tokens = new Set(['t1']);
  world.fake.expiresMs = 90 * 86_400_000;
  await world.connected({ token });
  await world.clock.advance(3_600_000);
  assert.equal(token.count, 1);
}));

test('a callback that fails is told, and asked again later', inWorld(async (world) => {
  let count = 0;
  const token = async () => {
    if (++count < 3) throw new Error('the login server is away');
    return 't';
  };
  world.fake.tokens = new Set(['t']);
  const client = world.client({ token });
  await world.clock.until(() => client.roost.transport);
  assert.deepEqual(client.told('error').map(({ code }) => code), ['token', 'token']);
  assert.match(client.told('error')[0].message, /the login server is away/);
}));

test('a callback may say that there is no token', inWorld(async (world) => {
  const client = await world.connected({ token: () => null });
  assert.deepEqual(world.fake.heard, []);
  assert.equal(client.roost.transport, 'websocket');
}));

test('a token that comes after the client was closed opens nothing', inWorld(async (world) => {
  let give;
  const client = world.client({ token: () => new Promise((resolve) => (give = resolve)) });
  await world.clock.advance(100);
  client.roost.close();
  give('t');
  await world.clock.advance(10_000);
  assert.equal(world.pipe.tries.websocket, 0);
}));
