// Pages that publish themselves, and ask who is there.
'use strict';
const assert = require('node:assert/strict');
const { scenario } = require('../harness');

const config = `
[channels."chat:"]
clients_may_publish = true
presence = true
`;
const COUNT = 20;

for (const [host, transport] of [['plain', 'websocket'], ['refuse', 'sse'], ['poll', 'poll']]) {
  scenario(`a page publishes, counts and listens by ${transport}`, { config }, async (world) => {
    const page = await world.page(host, { channels: ['chat:room'] });
    await world.transport(page, transport);
    await world.subscribed('chat:room');
    const answers = await page.evaluate(async (count) => {
      const published = [];
      for (let n = 0; n < count; n++) published.push((await roost.publish('chat:room', { n })).offset);
      const refused = await roost.publish('news', { n: 0 }).catch((error) => error.code);
      return { published, refused, count: (await roost.presence('chat:room')).count };
    }, COUNT);
    const numbers = Array.from({ length: COUNT }, (_, n) => n);
    assert.deepEqual(answers.published, numbers.map((n) => n + 1));
    assert.equal(answers.refused, 'forbidden');
    // Between two polls nobody is connected.
    assert.ok(answers.count === 1 || (answers.count === 0 && transport === 'poll'), `${answers.count} are there`);
    // Its own come back to it like anybody's.
    await world.heardFrom(page, { channel: 'chat:room' }, COUNT - 1, 20);
    const heard = (await world.seen(page)).filter(({ kind }) => kind === 'message');
    assert.deepEqual(heard.map(({ n }) => n), numbers);
  });
}
