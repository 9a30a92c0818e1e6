// The way back up: better ways are tried while the worse one delivers, and what worked is remembered.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld, publishEvery, Storage } = require('./world.js');

const never = () => ({ refuse: 0 });
const HOUR_MS = 3_600_000;

/** Follows `news` by `kind`, with nothing better to be had. */
async function fallenTo(world, kind, options) {
  world.pipe.fates.websocket = never;
  if (kind === 'poll') world.pipe.fates.sse = never;
  const client = world.client(options);
  client.follow('news');
  await world.clock.until(() => client.roost.transport === kind);
  await world.clock.advance(100);
  return client;
}

for (const kind of ['sse', 'poll']) {
  test(`from ${kind} the client moves up to a WebSocket that works again, without a pause, a loss or a repetition`, inWorld(async (world) => {
    const client = await fallenTo(world, kind);
    const sent = publishEvery(world, 'news', 90);
    world.pipe.fates.websocket = () => ({});
    await world.clock.until(() => client.roost.transport === 'websocket');
    await world.clock.advance(2_000);
    await sent.stop();
    assert.deepEqual(client.told('transport'), [kind, 'websocket']);
    assert.deepEqual(client.told('open').length, 1);
    assert.deepEqual(client.told('close').filter(({ final }) => final), []);
    assert.deepEqual(client.data(), sent.all);
    assert.deepEqual(client.told('gap'), []);
    assert.equal(world.fake.sessions.size, 1);
  }));
}

test('from polling the client moves up to an event stream where no WebSocket works', inWorld(async (world) => {
  const client = await fallenTo(world, 'poll');
  const sent = publishEvery(world, 'news', 90);
  world.pipe.fates.sse = () => ({});
  await world.clock.until(() => client.roost.transport === 'sse');
  await world.clock.advance(2_000);
  await sent.stop();
  assert.deepEqual(client.told('transport'), ['poll', 'sse']);
  assert.deepEqual(client.data(), sent.all);
  assert.deepEqual([...world.fake.sessions].map(({ follows }) => [...follows.keys()]), [['news']]);
}));

test('channels that come and go during a trial are right after it', inWorld(async (world) => {
  const client = await fallenTo(world, 'poll');
  client.follow('old');
  world.pipe.fates.sse = () => ({});
  await world.clock.until(() => world.pipe.tries.sse === 2);
  client.roost.unsubscribe('old');
  client.follow('new');
  await world.clock.until(() => client.roost.transport === 'sse');
  await world.clock.advance(500);
  for (const name of ['news', 'old', 'new']) world.fake.publish(name, name);
  await world.clock.advance(500);
  assert.deepEqual(client.data().sort(), ['new', 'news']);
}));

for (const [what, fate] of Object.entries({
  'never opens': () => ({ hang: true }),
  'says nothing': () => ({ mute: true }),
  'is cut within seconds': () => ({ cutMs: 3_000 }),
})) {
  test(`a WebSocket that ${what} is not moved to, is tried ever more seldom, and nobody notices`, inWorld(async (world) => {
    const client = await fallenTo(world, 'sse');
    const told = client.heard.length;
    world.pipe.fates.websocket = fate;
    const tries = world.pipe.tries.websocket;
    await world.clock.advance(2 * HOUR_MS);
    const tried = world.pipe.tries.websocket - tries;
    assert.ok(tried >= 8 && tried <= 14, `${tried} tries in two hours`);
    assert.deepEqual(client.heard.slice(told), []);
    assert.equal(world.pipe.open.size, 1, 'nothing is left of the trials');
  }));
}

test('a WebSocket that holds its trial and then is cut again and again is moved to ever more seldom', inWorld(async (world) => {
  const client = await fallenTo(world, 'sse');
  world.pipe.fates.websocket = () => ({ cutMs: 15_000 });
  const sent = publishEvery(world, 'news', 5_000);
  await world.clock.advance(4 * HOUR_MS);
  await sent.stop();
  const moves = client.told('transport').length;
  assert.ok(moves > 4 && moves < 50, `${moves} moves in four hours`);
  assert.deepEqual(client.data(), sent.all);
}));

test('the line that delivers may die during a trial', inWorld(async (world) => {
  const client = await fallenTo(world, 'sse');
  world.pipe.fates.websocket = () => ({});
  await world.clock.until(() => world.pipe.tries.websocket === 2);
  await world.clock.advance(100);
  world.pipe.cutAll();
  world.fake.publish('news', 1);
  await world.clock.until(() => client.data().length === 1);
  await world.clock.until(() => client.roost.transport === 'websocket');
  assert.deepEqual(client.told('gap'), []);
}));

test('what worked is remembered for the next page, which still looks for better', inWorld(async (world) => {
  globalThis.localStorage = new Storage();
  try {
    const first = await fallenTo(world, 'sse');
    await world.clock.advance(31_000);
    first.roost.close();
    world.pipe.fates.websocket = () => ({});
    const second = world.client();
    second.follow('news');
    await world.clock.until(() => second.roost.transport);
    assert.deepEqual(second.told('transport'), ['sse']);
    await world.clock.until(() => second.roost.transport === 'websocket');
    await world.clock.advance(31_000);
    second.roost.close();
    const third = await world.connected();
    assert.deepEqual(third.told('transport'), ['websocket']);
  } finally {
    delete globalThis.localStorage;
  }
}));

test('what is remembered is not given up at its first failure', inWorld(async (world) => {
  globalThis.localStorage = new Storage();
  try {
    globalThis.localStorage.setItem('roost:host', JSON.stringify({ kind: 'sse', probeMs: 5_000, until: Date.now() + HOUR_MS }));
    world.pipe.fates.sse = (count) => (count ? {} : { refuse: 0 });
    const client = world.client();
    client.follow('news');
    await world.clock.until(() => client.roost.transport);
    assert.deepEqual(client.told('transport'), ['sse']);
  } finally {
    delete globalThis.localStorage;
  }
}));

test('after a WebSocket that held, better ways are looked for as soon as at first', inWorld(async (world) => {
  const client = await fallenTo(world, 'sse');
  await world.clock.advance(HOUR_MS);
  world.pipe.fates.websocket = () => ({});
  await world.clock.until(() => client.roost.transport === 'websocket', HOUR_MS);
  await world.clock.advance(31_000);
  world.pipe.fates.websocket = never;
  world.pipe.cutAll();
  await world.clock.until(() => client.roost.transport === 'sse');
  const tries = world.pipe.tries.websocket;
  await world.clock.advance(5_100);
  assert.equal(world.pipe.tries.websocket, tries + 1);
}));

test('what worked half an hour ago may not be what works now', inWorld(async (world) => {
  globalThis.localStorage = new Storage();
  try {
    const first = await fallenTo(world, 'sse');
    await world.clock.advance(31_000);
    first.roost.close();
    world.pipe.fates.websocket = () => ({});
    await world.clock.advance(HOUR_MS / 2);
    const second = await world.connected();
    assert.deepEqual(second.told('transport'), ['websocket']);
  } finally {
    delete globalThis.localStorage;
  }
}));

test('a storage that may not be used, or holds nonsense, is done without', inWorld(async (world) => {
  const nonsense = new Storage();
  nonsense.setItem('roost:host', '{"kind":');
  for (const storage of [nonsense, null]) {
    Object.defineProperty(globalThis, 'localStorage', {
      configurable: true,
      get() {
        if (storage) return storage;
        throw new Error('SecurityError');
      },
    });
    const client = await world.connected();
    await world.clock.advance(31_000);
    assert.deepEqual(client.told('transport'), ['websocket']);
    delete globalThis.localStorage;
  }
}));
