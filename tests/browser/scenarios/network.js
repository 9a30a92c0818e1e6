// The network goes and comes back.
'use strict';
const assert = require('node:assert/strict');
const { pause } = require('../common');
const { scenario } = require('../harness');

const AWAY_MS = 3000;

// Chromium holds back the bytes of a WebSocket while it is told to be offline, yet cuts nothing; so the proxy goes as well.
for (const [host, transport] of [['plain', 'websocket'], ['refuse', 'sse'], ['poll', 'poll']]) {
  scenario(`offline and online again under ${transport}: all is there at once`, {}, async (world) => {
    const page = await world.page(host);
    const publisher = world.publisher();
    publisher.start();
    await world.transport(page, transport);
    await world.hears(page, publisher);
    await page.context().setOffline(true);
    await world.proxy.end();
    await pause(AWAY_MS);
    await world.proxy.start();
    await page.context().setOffline(false);
    await world.hears(page, publisher, 5);
    await world.demandAll(page, publisher);
    const kinds = (await world.seen(page)).map(({ kind }) => kind);
    assert.ok(kinds.includes('offline') && kinds.includes('online'), `${kinds}`);
  });
}

scenario('a network that says nothing for a while, as behind a tunnel', {}, async (world) => {
  const page = await world.page('plain');
  const publisher = world.publisher();
  publisher.start();
  await world.hears(page, publisher);
  world.proxy.halt();
  await pause(AWAY_MS);
  world.proxy.goOn();
  await world.hears(page, publisher);
  await world.demandAll(page, publisher);
});
