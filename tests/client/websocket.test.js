// The client over a WebSocket that nothing ails.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld } = require('./world.js');

test('notifications are handed over whole and in order', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  const sent = [1, { deep: ['ü'] }, null].map((data) => world.fake.publish('news', data));
  await world.clock.advance(100);
  assert.deepEqual(client.told('message'), sent);
  assert.equal(client.roost.cursor('news'), world.fake.cursor('news'));
}));

test('open and transport are told once, and a transport is known', inWorld(async (world) => {
  const client = await world.connected();
  assert.deepEqual(client.heard, [['transport', 'websocket'], ['open', { transport: 'websocket' }]]);
  assert.equal(client.roost.transport, 'websocket');
}));

test('what was missed comes after a cut, each once and in order, with one handshake', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  world.fake.publish('news', 1);
  await world.clock.advance(100);
  world.pipe.cutAll();
  world.fake.publish('news', 2);
  world.fake.publish('news', 3);
  await world.clock.until(() => client.data().length === 3);
  world.fake.publish('news', 4);
  await world.clock.advance(100);
  assert.deepEqual(client.data(), [1, 2, 3, 4]);
  assert.deepEqual(client.told('gap'), []);
  assert.deepEqual(client.told('close'), [{ code: 1006, reason: '', final: false }]);
  assert.match(world.pipe.addresses.at(-1), /channel=news&since=E1-1$/);
  assert.equal(world.fake.heard.filter(({ type }) => type === 'subscribe').length, 1);
}));
