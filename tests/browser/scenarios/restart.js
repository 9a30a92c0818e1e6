// The node ends and comes back. Its history is in memory, so what it had numbered is gone, and the page must be told.
'use strict';
const assert = require('node:assert/strict');
const { scenario } = require('../harness');
const { placeOf } = require('../ledger');

for (const [host, transport] of [['plain', 'websocket'], ['refuse', 'sse'], ['poll', 'poll']]) {
  scenario(`the node is started again under ${transport}: the page hears of the new epoch, and all that comes after`, {}, async (world) => {
    const page = await world.page(host);
    const publisher = world.publisher();
    publisher.start();
    await world.transport(page, transport);
    await world.hears(page, publisher);
    await world.node.end();
    await world.node.start();
    await world.hears(page, publisher, 40);
    await world.demandAll(page, publisher, { announced: Infinity });
    const epochs = publisher.published.filter(({ uncertain }) => !uncertain).map(({ epoch }) => epoch);
    const told = (await world.seen(page)).filter(({ kind }) => kind === 'gap').map(({ cursor }) => placeOf(cursor).epoch);
    assert.notEqual(epochs.at(-1), epochs[0], 'a restart begins a new epoch');
    assert.ok(told.includes(epochs.at(-1)), `the page was told of ${told}`);
  });
}
