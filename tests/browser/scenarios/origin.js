// Pages of another origin than the node's: the browser asks the node whether they may, and no proxy has a say in it.
'use strict';
const assert = require('node:assert/strict');
const { until } = require('../common');
const { scenario } = require('../harness');

const config = `
[channels."chat:"]
clients_may_publish = true
`;

// The host that the page connects to, and what it comes to there.
for (const [server, transport] of [['cut10', 'websocket'], ['refuse', 'sse'], ['poll', 'poll']]) {
  const options = { config, node: ['--origin', '*'], through: ['haproxy'] };
  scenario(`a page of another origin that may connect listens and publishes by ${transport}`, options, async (world) => {
    const page = await world.page('plain', { server, channels: ['chat:room'] });
    await world.transport(page, transport);
    await world.subscribed('chat:room');
    await world.publisher('chat:room').burst(3);
    assert.equal(await page.evaluate(async () => (await roost.publish('chat:room', { n: 3 })).offset), 4);
    await world.heardFrom(page, { channel: 'chat:room' }, 3, 20);
  });
}

scenario('a page of another origin that may not connect hears nothing by any way', { through: ['nginx'] }, async (world) => {
  const page = await world.page('plain', { server: 'cut10' });
  const publisher = world.publisher();
  publisher.start();
  // It has tried each way once, and is at the first again.
  await until(() => page.evaluate("seen.filter(({ kind }) => kind === 'close').length > 3"), 40, 'four attempts have failed');
  await publisher.stop();
  assert.deepEqual((await world.seen(page)).filter(({ kind }) => !['close', 'error'].includes(kind)), []);
  assert.equal(await world.node.subscribers('news'), 0);
});
