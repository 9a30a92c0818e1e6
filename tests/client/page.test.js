// Page and machine: hidden and shown, offline and online, asleep and awake.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { inWorld, publishEvery } = require('./world.js');

/** Gives this process what a browser tells a page, until the test is over. */
function inPage(run) {
  return inWorld(async (world) => {
    const { navigator } = globalThis;
    const target = new EventTarget();
    const names = ['addEventListener', 'removeEventListener'];
    const page = {
      listeners: () => ['visibilitychange', 'resume', 'pageshow', 'pagehide', 'online', 'offline']
        .flatMap((event) => [...getEventListeners(target, event), ...getEventListeners(globalThis.document, event)]).length,
      tell: (event) => target.dispatchEvent(new Event(event)),
      show(visible) {
        globalThis.document.hidden = !visible;
        globalThis.document.dispatchEvent(new Event('visibilitychange'));
      },
      connect(online) {
        Object.defineProperty(globalThis, 'navigator', { value: { onLine: online }, configurable: true });
        page.tell(online ? 'online' : 'offline');
      },
    };
    globalThis.document = Object.assign(new EventTarget(), { hidden: false });
    names.forEach((name) => (globalThis[name] = target[name].bind(target)));
    try {
      await run(world, page);
    } finally {
      world.clients.forEach(({ roost }) => roost.close());
      delete globalThis.document;
      names.forEach((name) => delete globalThis[name]);
      Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
    }
  });
}

test('a page hidden for half a minute closes, and is back at once with what it missed', inPage(async (world, page) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  page.show(false);
  await world.clock.advance(29_000);
  assert.equal(client.told('close').length, 0);
  await world.clock.advance(1_100);
  assert.deepEqual(client.told('close'), [{ code: 0, reason: 'hidden', final: false }]);
  world.fake.publish('news', 1);
  await world.clock.advance(3_600_000);
  assert.equal(world.pipe.tries.websocket, 1);
  page.show(true);
  await world.clock.advance(200);
  assert.deepEqual(client.data(), [1]);
  assert.equal(client.roost.transport, 'websocket');
}));

test('a hidden page that has closed has nothing to do', inPage(async (world, page) => {
  for (const kind of ['websocket', 'sse', 'poll']) {
    const client = world.client({ transports: [kind] });
    client.follow('news');
    await world.clock.advance(40_000);
    page.show(false);
    await world.clock.advance(60_000);
    assert.equal(client.roost.transport, null);
    assert.equal(world.clock.pending, 0);
    client.roost.close();
    page.show(true);
  }
}));

test('a page that is shown again in time keeps its connection', inPage(async (world, page) => {
  const client = await world.connected();
  for (let n = 0; n < 10; n++) {
    page.show(false);
    await world.clock.advance(20_000);
    page.show(true);
    await world.clock.advance(1_000);
  }
  assert.equal(client.told('close').length, 0);
}));

test('the time until a hidden page closes is an option', inPage(async (world, page) => {
  const client = await world.connected({ hiddenAfter: 1_000 });
  page.show(false);
  await world.clock.advance(1_100);
  assert.equal(client.told('close').length, 1);
}));

test('a page that was opened in the background closes as well', inPage(async (world) => {
  globalThis.document.hidden = true;
  const client = await world.connected();
  await world.clock.advance(31_000);
  assert.equal(client.roost.transport, null);
}));

test('quiet, a hidden page says so, also on its next connection, and says when somebody looks', inPage(async (world, page) => {
  const client = await world.connected({ hidden: 'quiet' });
  const said = () => world.fake.heard.filter(({ type }) => type === 'visibility').map(({ state }) => state);
  page.show(false);
  await world.clock.advance(31_000);
  assert.deepEqual(said(), ['hidden']);
  world.pipe.cutAll();
  await world.clock.until(() => client.roost.transport);
  await world.clock.advance(100);
  assert.deepEqual(said(), ['hidden', 'hidden']);
  page.show(true);
  await world.clock.advance(100);
  assert.deepEqual(said(), ['hidden', 'hidden', 'visible']);
  await world.clock.advance(60_000);
  assert.deepEqual(client.told('close').map(({ code }) => code), [1006]);
}));

test('quiet without a WebSocket closes', inPage(async (world, page) => {
  const client = world.client({ hidden: 'quiet', transports: ['sse'] });
  client.follow('news');
  await world.clock.advance(1_000);
  page.show(false);
  await world.clock.advance(31_000);
  assert.equal(client.roost.transport, null);
  page.show(true);
  await world.clock.advance(1_000);
  assert.equal(client.roost.transport, 'sse');
}));

test('a page that is told to stay stays', inPage(async (world, page) => {
  const client = await world.connected({ hidden: 'stay' });
  page.show(false);
  await world.clock.advance(3_600_000);
  assert.equal(client.told('close').length, 0);
  assert.ok(world.fake.heard.every(({ type }) => type === 'ping'));
}));

test('a page that is put aside closes, so that the browser may keep it, and is back when it is shown', inPage(async (world, page) => {
  const client = await world.connected();
  page.tell('pagehide');
  await world.clock.advance(100);
  assert.equal(world.pipe.open.size, 0);
  page.tell('pageshow');
  await world.clock.advance(200);
  assert.equal(client.roost.transport, 'websocket');
}));

test('with the network back the client is back at once, on a new connection, with what it missed', inPage(async (world, page) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  page.connect(false);
  world.fake.deaf = true;
  await world.clock.advance(20_000);
  assert.equal(client.roost.transport, null);
  world.fake.publish('news', 1);
  world.fake.deaf = false;
  page.connect(true);
  await world.clock.advance(200);
  assert.deepEqual(client.data(), [1]);
}));

test('offline, the client hardly tries, blames no transport, and waits no longer afterwards', inPage(async (world, page) => {
  const client = await world.connected();
  page.connect(false);
  world.pipe.fates.websocket = () => ({ refuse: 0 });
  world.pipe.cutAll();
  await world.clock.advance(600_000);
  assert.ok(world.pipe.tries.websocket <= 21, String(world.pipe.tries.websocket));
  assert.equal(world.pipe.tries.sse + world.pipe.tries.poll, 0);
  world.pipe.fates.websocket = () => ({});
  page.connect(true);
  await world.clock.advance(200);
  assert.equal(client.roost.transport, 'websocket');
}));

test('a browser that wrongly says offline does not keep the client away for ever', inPage(async (world, page) => {
  const client = await world.connected();
  page.connect(false);
  world.pipe.cutAll();
  await world.clock.until(() => client.roost.transport, 60_000);
}));

test('offline, a line that still works is kept', inPage(async (world, page) => {
  const client = await world.connected();
  page.connect(false);
  await world.clock.advance(60_000);
  assert.equal(client.told('close').length, 0);
}));

test('a machine that wakes up is connected anew at once, with what it missed', inPage(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  world.clock.leap(3_600_000);
  world.fake.publish('news', 1);
  await world.clock.advance(5_200);
  assert.equal(client.told('close').map(({ reason }) => reason).join(), 'resumed');
  assert.equal(client.roost.transport, 'websocket');
  assert.deepEqual(client.data(), [1]);
}));

test('a phone that froze a hidden page before it could close is connected anew as soon as somebody looks', inPage(async (world, page) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  page.show(false);
  world.clock.leap(600_000);
  world.fake.publish('news', 1);
  page.show(true);
  await world.clock.advance(200);
  assert.deepEqual(client.told('close').map(({ reason }) => reason), ['resumed']);
  assert.deepEqual(client.data(), [1]);
}));

test('a line that died while nobody looked is noticed soon after somebody does', inPage(async (world, page) => {
  const client = await world.connected();
  page.show(false);
  await world.clock.advance(10_000);
  world.fake.deaf = true;
  page.show(true);
  await world.clock.advance(8_100);
  assert.deepEqual(client.told('close').map(({ reason }) => reason), ['silent']);
}));

test('somebody who looks does not wait for the end of a pause between attempts', inPage(async (world, page) => {
  world.pipe.fates.websocket = () => ({ refuse: 0 });
  const client = world.client({ transports: ['websocket'], hidden: 'stay', random: () => 0.999 });
  page.show(false);
  await world.clock.advance(120_000);
  const tries = world.pipe.tries.websocket;
  world.pipe.fates.websocket = () => ({});
  page.show(true);
  await world.clock.advance(200);
  assert.equal(world.pipe.tries.websocket, tries + 1);
  assert.equal(client.roost.transport, 'websocket');
}));

test('somebody who looks waits for as long as the server has asked for', inPage(async (world, page) => {
  const client = await world.connected({ hidden: 'stay' });
  page.show(false);
  world.fake.endAll({ code: 1001, reason: 'going away retry_after_ms=7000' });
  await world.clock.advance(1_000);
  page.show(true);
  await world.clock.advance(5_500);
  assert.equal(client.roost.transport, null);
  await world.clock.advance(1_000);
  assert.equal(client.roost.transport, 'websocket');
}));

test('the slow timers of a hidden page are no sleep', inPage(async (world, page) => {
  const client = await world.connected({ hidden: 'stay' });
  page.show(false);
  world.clock.leap(60_000);
  await world.clock.advance(10_000);
  assert.equal(client.told('close').filter(({ reason }) => reason === 'resumed').length, 0);
}));

test('a closed client listens to the page no more', inPage(async (world, page) => {
  const client = await world.connected();
  assert.equal(page.listeners(), 6);
  client.roost.close();
  assert.equal(page.listeners(), 0);
  const told = client.heard.length;
  page.show(false);
  page.show(true);
  page.connect(true);
  page.tell('pageshow');
  page.tell('pagehide');
  await world.clock.advance(60_000);
  assert.equal(client.heard.length, told);
  assert.equal(world.pipe.tries.websocket, 1);
}));

test('hidden and shown again and again, every message comes once', inPage(async (world, page) => {
  const client = await world.connected({ hiddenAfter: 500 });
  client.follow('news');
  await world.clock.advance(100);
  const sent = publishEvery(world, 'news', 130);
  for (let n = 0; n < 40; n++) {
    page.show(n % 2 === 1);
    await world.clock.advance(370 + n * 20);
  }
  page.show(true);
  await sent.stop();
  assert.deepEqual(client.data(), sent.all);
  assert.deepEqual(client.told('gap'), []);
}));
