// Ways that do not work, and the way down from one to the next.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld, publishEvery } = require('./world.js');

const never = { refuse: 0 };

/** A client that follows `news`, connected by `kind` because the better ways do not work. */
async function connectedBy(world, kind, options) {
  if (kind !== 'websocket') world.pipe.fates.websocket = () => never;
  if (kind === 'poll') world.pipe.fates.sse = () => never;
  const client = world.client(options);
  client.follow('news');
  await world.clock.until(() => client.roost.transport === kind);
  await world.clock.advance(100);
  return client;
}

const blocked = {
  'is refused': () => never,
  'never opens': () => ({ hang: true }),
  'opens and says nothing': () => ({ mute: true }),
  'is cut within seconds, again and again': () => ({ cutMs: 2_000 }),
};

for (const [what, fate] of Object.entries(blocked)) {
  test(`a WebSocket that ${what} is left for an event stream, and nothing is lost`, inWorld(async (world) => {
    world.pipe.fates.websocket = fate;
    const client = world.client();
    client.follow('news');
    const sent = publishEvery(world, 'news', 500);
    await world.clock.until(() => client.roost.transport === 'sse');
    await world.clock.advance(3_000);
    await sent.stop();
    assert.deepEqual(client.data(), sent.after(client));
    assert.deepEqual(client.told('gap'), []);
  }));
}

test('a WebSocket that is cut now and then is kept', inWorld(async (world) => {
  world.pipe.fates.websocket = () => ({ cutMs: 40_000 });
  const client = world.client();
  client.follow('news');
  const sent = publishEvery(world, 'news', 1_000);
  await world.clock.advance(300_000);
  await sent.stop();
  assert.deepEqual(client.told('transport'), ['websocket']);
  assert.deepEqual(client.data(), sent.after(client));
}));

test('on a line that is cut when it is silent, the client speaks sooner and keeps its WebSocket', inWorld(async (world) => {
  world.pipe.idleMs = 10_000;
  const client = await connectedBy(world, 'websocket');
  await world.clock.advance(300_000);
  assert.deepEqual(client.told('transport'), ['websocket']);
  assert.equal(client.told('close').length, 2);
  assert.equal(client.roost.transport, 'websocket');
}));

test('a line that was cut is not asked for signs of life more often for ever', inWorld(async (world) => {
  world.pipe.fates.websocket = (count) => (count < 2 ? { cutMs: 100 } : {});
  await connectedBy(world, 'websocket');
  const pingsIn = async (ms) => {
    const before = world.fake.heard.length;
    await world.clock.advance(ms);
    return world.fake.heard.length - before;
  };
  await world.clock.advance(10_000);
  assert.ok((await pingsIn(100_000)) > 14);
  await world.clock.advance(1_800_000);
  assert.ok((await pingsIn(100_000)) <= 4);
}));

const unfit = {
  'is refused': () => ({ refuse: 404 }),
  'gets no answer': () => ({ hang: true }),
  'is held back by a proxy': () => ({ mute: true }),
  'is a page that asks for a login': () => ({ as: '<html>please log in</html>' }),
  'is cut within seconds, again and again': () => ({ cutMs: 5_000 }),
};

for (const [what, fate] of Object.entries(unfit)) {
  test(`an event stream that ${what} is left for polling, and nothing is lost`, inWorld(async (world) => {
    world.pipe.fates.websocket = () => never;
    world.pipe.fates.sse = fate;
    const client = world.client();
    client.follow('news');
    const sent = publishEvery(world, 'news', 700);
    await world.clock.until(() => client.roost.transport === 'poll');
    await world.clock.advance(3_000);
    await sent.stop();
    assert.deepEqual(client.data(), sent.after(client));
    assert.deepEqual(client.told('gap'), []);
  }));
}

for (const kind of ['websocket', 'sse', 'poll']) {
  test(`notifications come as they were sent by ${kind}`, inWorld(async (world) => {
    const client = await connectedBy(world, kind);
    const sent = [1, { deep: ['ü\u2028'] }, null, 'x'.repeat(2_000)].map((data) => world.fake.publish('news', data));
    await world.clock.advance(1_000);
    assert.deepEqual(client.told('message'), sent);
    assert.equal(client.roost.cursor('news'), world.fake.cursor('news'));
  }));

  test(`channels come and go by ${kind}`, inWorld(async (world) => {
    const client = await connectedBy(world, kind);
    client.follow('sports');
    client.follow('weather');
    await world.clock.advance(1_000);
    for (const name of ['news', 'sports', 'weather']) world.fake.publish(name, name);
    await world.clock.advance(1_000);
    client.roost.unsubscribe('news');
    await world.clock.advance(1_000);
    for (const name of ['news', 'sports', 'weather']) world.fake.publish(name, name);
    await world.clock.advance(1_000);
    assert.deepEqual(client.data().sort(), ['news', 'sports', 'sports', 'weather', 'weather']);
    assert.deepEqual(client.told('gap'), []);
    assert.deepEqual([...world.fake.sessions].map(({ follows }) => [...follows.keys()]), [['sports', 'weather']]);
  }));

  test(`a channel asked for on the way up is not forgotten by ${kind}`, inWorld(async (world) => {
    const client = world.client({ transports: [kind] });
    client.follow('news');
    await world.clock.advance(10);
    client.follow('sports');
    await world.clock.advance(1_000);
    world.fake.publish('sports', 1);
    await world.clock.advance(1_000);
    assert.deepEqual(client.data(), [1]);
  }));

  test(`nobody is connected any more after unsubscribing from everything by ${kind}, and one can begin again`, inWorld(async (world) => {
    const client = await connectedBy(world, kind);
    client.roost.unsubscribe('news');
    await world.clock.advance(100_000);
    world.fake.publish('news', 'unheard');
    client.follow('news');
    await world.clock.advance(1_000);
    world.fake.publish('news', 'heard');
    await world.clock.advance(1_000);
    assert.deepEqual(client.data(), ['heard']);
  }));

  test(`publish and presence are answered by ${kind}`, inWorld(async (world) => {
    const client = await connectedBy(world, kind);
    const answers = Promise.all([client.roost.publish('news', { a: 1 }), client.roost.presence('news')]);
    await world.clock.advance(1_000);
    const [published, presence] = await answers;
    assert.deepEqual([published.type, published.offset, presence.type], ['published', 1, 'presence']);
    assert.deepEqual(client.data(), [{ a: 1 }]);
  }));

  test(`a refused request is rejected with the server's code by ${kind}`, inWorld(async (world) => {
    const client = await connectedBy(world, kind);
    world.fake.refused.set('closed', 'forbidden');
    const refused = assert.rejects(client.roost.publish('closed', 1), { code: 'forbidden', channel: 'closed' });
    await world.clock.advance(1_000);
    await refused;
  }));

  test(`a request that is cut off is not repeated by ${kind}, and says that nobody knows`, inWorld(async (world) => {
    world.pipe.fates.post = () => ({ cutMs: 0 });
    const client = await connectedBy(world, kind);
    const unknown = assert.rejects(client.roost.publish('news', 1), { code: 'outcome_unknown' });
    if (kind === 'websocket') world.pipe.cutAll();
    await world.clock.advance(60_000);
    await unknown;
    assert.ok(world.fake.heard.filter(({ type }) => type === 'publish').length <= 1);
  }));
}

for (const kind of ['sse', 'poll']) {
  test(`a request that waits for its answer is not sent again when ${kind} is cut and back`, inWorld(async (world) => {
    world.pipe.fates.post = () => ({ hang: true });
    const client = await connectedBy(world, kind);
    const late = assert.rejects(client.roost.publish('news', 1), { code: 'timeout' });
    await world.clock.advance(100);
    for (const call of [...world.pipe.open]) if (call.session) call.cut();
    await world.clock.until(() => client.told('open').length === 2);
    await world.clock.advance(9_000);
    await late;
    assert.equal(world.pipe.tries.post, 1);
  }));
}

test('a line that is cut after ten seconds whatever is said still brings everything', inWorld(async (world) => {
  world.pipe.fates.websocket = world.pipe.fates.sse = world.pipe.fates.poll = () => ({ cutMs: 10_000 });
  const client = world.client();
  client.follow('news');
  await world.clock.until(() => client.roost.cursor('news'));
  const sent = publishEvery(world, 'news', 3_300);
  await world.clock.advance(600_000);
  await sent.stop();
  await world.clock.advance(20_000);
  assert.deepEqual(client.data(), sent.all);
  assert.deepEqual(client.told('gap'), []);
}));

test('polling on a line that is cut asks for shorter waits, and goes on', inWorld(async (world) => {
  world.pipe.fates.websocket = world.pipe.fates.sse = () => never;
  world.pipe.fates.poll = () => ({ cutMs: 10_000 });
  const client = await connectedBy(world, 'poll', { transports: ['poll'] });
  await world.clock.advance(120_000);
  const ends = client.told('close').length;
  await world.clock.advance(600_000);
  assert.equal(client.told('close').length, ends);
  assert.equal(new URL(world.pipe.addresses.at(-1)).searchParams.get('wait'), '6');
}));

test('a poll that is not held is not asked for more than once a second', inWorld(async (world) => {
  const client = await connectedBy(world, 'poll', { transports: ['poll'] });
  world.pipe.holds = false;
  const before = world.pipe.tries.poll;
  await world.clock.advance(60_000);
  assert.ok(world.pipe.tries.poll - before <= 90, String(world.pipe.tries.poll - before));
  world.fake.publish('news', 1);
  await world.clock.advance(2_000);
  assert.deepEqual(client.data(), [1]);
}));

test('a way that has worked gets three chances each time', inWorld(async (world) => {
  const client = await connectedBy(world, 'websocket', { transports: ['websocket', 'poll'] });
  await world.clock.advance(31_000);
  for (let round = 0; round < 2; round++) {
    const tries = { ...world.pipe.tries };
    world.pipe.fates.websocket = () => never;
    world.pipe.cutAll();
    await world.clock.until(() => client.roost.transport === 'poll');
    assert.equal(world.pipe.tries.websocket - tries.websocket, 3);
    await world.clock.advance(31_000);
    let refusals = 1;
    world.pipe.fates.poll = () => (refusals-- > 0 ? never : {});
    world.pipe.cutAll();
    await world.clock.until(() => client.roost.transport);
    assert.equal(client.roost.transport, 'poll');
    world.pipe.fates.websocket = () => ({});
    await world.clock.until(() => client.roost.transport === 'websocket', 3_600_000);
    await world.clock.advance(31_000);
  }
}));

test('the server that asks for time gets it, and the way is not blamed', inWorld(async (world) => {
  const client = await connectedBy(world, 'sse');
  world.pipe.fates.sse = (count) => (count < 4 ? { refuse: 503, retryAfter: 20 } : {});
  world.pipe.fates.poll = () => assert.fail('it went on to polling');
  world.fake.endAll({});
  const tries = world.pipe.tries.sse;
  await world.clock.advance(15_000);
  assert.ok(world.pipe.tries.sse <= tries + 1);
  await world.clock.until(() => client.roost.transport === 'sse');
}));

test('Retry-After may be a date', inWorld(async (world) => {
  world.pipe.fates.poll = (count) => (count ? {} : { refuse: 429, retryAfter: new Date(Date.now() + 40_000).toUTCString() });
  const client = world.client({ transports: ['poll'] });
  client.follow('news');
  await world.clock.advance(38_000);
  assert.equal(world.pipe.tries.poll, 1);
  await world.clock.until(() => client.roost.transport, 5_000);
}));

test('what roost itself refuses is told as an error, and does not speak against the way', inWorld(async (world) => {
  world.pipe.fates.sse = (count) => (count ? {} : { refuse: 403, error: { code: 'forbidden', message: 'not yours' } });
  const client = world.client({ transports: ['sse', 'poll'] });
  client.follow('news');
  await world.clock.until(() => client.roost.transport);
  assert.equal(client.roost.transport, 'sse');
  assert.deepEqual(client.told('error').map(({ code, message }) => [code, message]), [['forbidden', 'not yours']]);
}));

test('what passes by itself is not told as an error', inWorld(async (world) => {
  world.pipe.fates.sse = (count) => (count < 2 ? { refuse: 503, error: { code: 'unavailable', message: 'full' } } : {});
  const client = world.client({ transports: ['sse', 'poll'] });
  client.follow('news');
  await world.clock.until(() => client.roost.transport === 'sse');
  assert.deepEqual(client.told('error'), []);
  assert.deepEqual(client.told('close').map(({ code, reason }) => [code, reason]), [[503, 'full'], [503, 'full']]);
}));

test('without a WebSocket in the environment the client begins with an event stream', inWorld(async (world) => {
  const client = world.client({ WebSocket: undefined, transports: ['websocket', 'sse', 'poll'] });
  client.follow('news');
  await world.clock.until(() => client.roost.transport);
  assert.equal(client.roost.transport, 'sse');
}));

test('a large message goes as a request of its own, so that one too large does not end the connection', inWorld(async (world) => {
  const client = await connectedBy(world, 'websocket');
  const published = client.roost.publish('news', 'x'.repeat(20_000));
  await world.clock.advance(1_000);
  assert.equal((await published).offset, 1);
  assert.equal(world.pipe.tries.post, 1);
  world.pipe.fates.post = () => ({ refuse: 413, error: { code: 'too_large', message: 'at most 65536 bytes' } });
  const refused = assert.rejects(client.roost.publish('news', 'x'.repeat(70_000)), { code: 'too_large' });
  await world.clock.advance(1_000);
  await refused;
  assert.equal(client.roost.transport, 'websocket');
}));

test('the fallbacks are the siblings of the address, with its query', inWorld(async (world) => {
  for (const kind of ['websocket', 'sse', 'poll']) {
    const client = world.client({ url: 'https://host/inner/live?tenant=7', transports: [kind] });
    client.follow('news');
    await world.clock.until(() => client.roost.cursor('news'));
    client.roost.presence('news').catch(() => {});
    await world.clock.advance(100);
    client.roost.close();
  }
  const asked = world.pipe.addresses.map((address) => new URL(address));
  assert.ok(asked.every(({ searchParams }) => searchParams.get('tenant') === '7'));
  const places = new Set(asked.map(({ origin, pathname }) => origin + pathname));
  assert.deepEqual([...places], ['wss://host/inner/live', 'https://host/inner/events', 'https://host/inner/poll']);
}));

test('an environment without any transport is told at once', inWorld(async (world) => {
  assert.throws(() => world.client({ transports: [] }), /no transport/);
}));
