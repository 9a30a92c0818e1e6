// Each once and in order, or a gap: what a client makes of whatever a server or a proxy lets it hear.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld } = require('./world.js');

const notification = (offset, data = offset) => ({ type: 'notification', channel: 'news', data, timestamp: 0, offset });
const gap = (from, to, epoch = 'E1') => ({ type: 'gap', channel: 'news', from, to, cursor: `${epoch}-${to}` });
const brief = (client) => client.heard.filter(([event]) => event === 'message' || event === 'gap')
  .map(([event, value]) => (event === 'gap' ? `gap ${value.from}-${value.to}` : value.data));

/** What a client at E1-3 tells its page when it hears `messages` out of the blue. */
async function heardOf(world, kind, messages) {
  const client = world.client({ transports: [kind] });
  client.follow('news');
  await world.clock.advance(500);
  for (const offset of [1, 2, 3]) world.fake.publish('news', offset);
  await world.clock.advance(100);
  client.heard.length = 0;
  for (const session of world.fake.sessions) messages.forEach((message) => session.carry(message, 'E1-3'));
  await world.clock.advance(100);
  return { heard: brief(client), cursor: client.roost.cursor('news') };
}

for (const [what, messages, heard, cursor] of [
  ['a repetition', [notification(2), notification(3), notification(4), notification(4)], [4], 'E1-4'],
  ['a hole that nobody announced', [notification(6)], ['gap 4-5', 6], 'E1-6'],
  ['a gap', [gap(4, 8), notification(9)], ['gap 4-8', 9], 'E1-9'],
  ['a gap twice', [gap(4, 8), gap(4, 8), notification(9)], ['gap 4-8', 9], 'E1-9'],
  ['a gap that is known in part', [notification(4), gap(3, 6)], [4, 'gap 5-6'], 'E1-6'],
  ['a gap within the past', [gap(1, 2), notification(4)], [4], 'E1-4'],
  ['a new epoch', [gap(1, 2, 'E2'), notification(3)], ['gap 1-2', 3], 'E2-3'],
  ['a new epoch in which nothing was published', [gap(1, 0, 'E2'), notification(1)], ['gap 1-0', 1], 'E2-1'],
  ['words for others', [{ ...notification(4), channel: 'sports' }, { ...gap(4, 9), channel: 'sports' }], [], 'E1-3'],
  ['words that are not known yet', [{ type: 'novelty', channel: 'news', offset: 9 }, notification(4)], [4], 'E1-4'],
]) {
  for (const kind of ['websocket', 'sse']) {
    test(`by ${kind}, ${what} is handed over as it must be`, inWorld(async (world) => {
      assert.deepEqual(await heardOf(world, kind, messages), { heard, cursor });
    }));
  }
}

/** A client by `kind` that has heard 1, 2, 3 and is cut off while the server does something; what it hears when it is back. */
async function backAfter(world, kind, change) {
  const client = world.client({ transports: [kind] });
  client.follow('news');
  await world.clock.advance(500);
  for (const offset of [1, 2, 3]) world.fake.publish('news', offset);
  await world.clock.advance(500);
  client.heard.length = 0;
  const fates = { ...world.pipe.fates };
  for (const way of Object.keys(fates)) world.pipe.fates[way] = () => ({ refuse: 0 });
  world.pipe.cutAll();
  change(world.fake);
  await world.clock.advance(500);
  Object.assign(world.pipe.fates, fates);
  await world.clock.until(() => client.roost.transport);
  await world.clock.advance(500);
  world.fake.publish('news', 'live');
  await world.clock.advance(500);
  return { heard: brief(client), cursor: client.roost.cursor('news') };
}

for (const kind of ['websocket', 'sse', 'poll']) {
  for (const [what, change, heard, cursor] of [
    ['nothing was missed', () => {}, ['live'], 'E1-4'],
    ['all that was missed is kept', (fake) => [4, 5].forEach((data) => fake.publish('news', data)), [4, 5, 'live'], 'E1-6'],
    ['a part of it is kept', (fake) => {
      [4, 5, 6].forEach((data) => fake.publish('news', data));
      fake.trim('news', 1);
    }, ['gap 4-5', 6, 'live'], 'E1-7'],
    ['the numbering is another one and empty', (fake) => fake.restart(), ['gap 1-0', 'live'], 'E2-1'],
    ['the numbering is another one and shorter', (fake) => {
      fake.restart();
      fake.publish('news', 'new 1');
    }, ['gap 1-1', 'live'], 'E2-2'],
    ['the numbering is another one and longer', (fake) => {
      fake.restart();
      for (let n = 0; n < 9; n++) fake.publish('news', n);
    }, ['gap 1-9', 'live'], 'E2-10'],
    ['the same numbering has lost its end', (fake) => Object.assign(fake.channel('news'), { offset: 1, kept: [] }), ['gap 1-1', 'live'], 'E1-2'],
  ]) {
    test(`back by ${kind}, ${what}`, inWorld(async (world) => {
      assert.deepEqual(await backAfter(world, kind, change), { heard, cursor });
    }));
  }
}

test('a cursor goes with the client from way to way', inWorld(async (world) => {
  const client = world.client();
  client.follow('news');
  await world.clock.advance(500);
  for (const [index, works] of ['websocket', 'sse', 'poll', 'sse', 'websocket', 'poll', 'websocket'].entries()) {
    for (const way of ['websocket', 'sse', 'poll']) world.pipe.fates[way] = () => (way === works ? {} : { refuse: 0 });
    world.pipe.cutAll();
    world.fake.publish('news', `missed ${index}`);
    await world.clock.until(() => client.roost.transport === works, 600_000);
    await world.clock.advance(500);
    world.fake.publish('news', `heard ${index}`);
    await world.clock.advance(500);
  }
  assert.deepEqual(brief(client), [0, 1, 2, 3, 4, 5, 6].flatMap((index) => [`missed ${index}`, `heard ${index}`]));
}));

test('without its gap, `recovered: false` is told as one', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news', { since: 'gone-7' });
  world.fake.since = () => ({ recovered: false, messages: [] });
  world.fake.publish('news', 'unheard');
  await world.clock.advance(100);
  world.fake.publish('news', 'live');
  await world.clock.advance(100);
  assert.deepEqual(brief(client), ['gap 1-1', 'live']);
}));
