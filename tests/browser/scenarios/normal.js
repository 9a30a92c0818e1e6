// Nothing is in the way.
'use strict';
const assert = require('node:assert/strict');
const { until } = require('../common');
const { scenario } = require('../harness');

scenario('every number arrives once and in order over a WebSocket', {}, async (world) => {
  const page = await world.page('plain');
  await world.subscribed();
  const publisher = world.publisher();
  publisher.start(10);
  await world.hears(page, publisher);
  await publisher.stop();
  await publisher.burst(200);
  await world.demandAll(page, publisher, { from: 0 });
  const transports = (await world.seen(page)).filter(({ kind }) => kind === 'transport');
  assert.deepEqual(transports.map(({ transport }) => transport), ['websocket']);
});

scenario('two tabs and two channels: each tab gets its own, whole', {}, async (world) => {
  const context = await world.context();
  const one = await world.page('plain', { channels: ['news'], context });
  const both = await world.page('plain', { channels: ['news', 'sports'], context });
  await world.subscribed('news', 2);
  await world.subscribed('sports');
  const [news, sports] = [world.publisher('news'), world.publisher('sports')];
  news.start(10);
  sports.start(15);
  await world.hears(both, sports);
  await world.hears(one, news);
  // A tab that goes takes nothing away from the other.
  await world.demandAll(one, news, { from: 0 });
  await one.close();
  news.start(10);
  await world.hears(both, news);
  await world.demandAll(both, news, { from: 0 });
  await world.demandAll(both, sports, { from: 0 });
});

scenario('the example browser.html shows what is published', { through: ['nginx'] }, async (world) => {
  const page = await world.open(await (await world.context()).newPage(), `${world.proxy.origin('plain')}/browser.html`);
  await world.subscribed('notifications');
  const publisher = world.publisher('notifications');
  await publisher.burst(3);
  const shown = () => page.locator('li').allTextContents();
  await until(async () => (await shown()).length === 3, 20, async () => `three lines; there are ${await shown()}`);
  assert.deepEqual(await shown(), ['{"n":0}', '{"n":1}', '{"n":2}']);
  assert.equal(await page.locator('#transport').textContent(), 'websocket');
});

scenario('roost.js is a module as well as a script', { through: ['haproxy'] }, async (world) => {
  const page = await world.page('plain');
  await world.subscribed();
  // The same file again, by `import` this time. Its class is another one, and no less able.
  await page.addScriptTag({
    type: 'module',
    content: `
      import Roost, { Roost as named } from '/roost.js';
      const roost = new Roost('/live');
      roost.subscribe('news', (message) => note('module', { n: message.data.n, same: Roost === named }));`,
  });
  await world.subscribed('news', 2);
  const publisher = world.publisher();
  await publisher.burst(5);
  await world.demandAll(page, publisher, { from: 0 });
  const module = async () => (await world.seen(page)).filter(({ kind }) => kind === 'module');
  await until(async () => (await module()).length === 5, 20, 'the module has heard five numbers');
  assert.deepEqual((await module()).map(({ n, same }) => [n, same]), [0, 1, 2, 3, 4].map((n) => [n, true]));
});
