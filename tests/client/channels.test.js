// Channels: names, bounds, refusals, and listeners that come, go and fail.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { inWorld } = require('./world.js');
const { Roost } = require('../../src/assets/roost.js');

for (const kind of ['websocket', 'sse', 'poll']) {
  const errors = (client) => client.told('error').map(({ code, channel }) => `${code} ${channel}`).sort();

  test(`by ${kind}, a bad name, a bad cursor and a channel that is not allowed are told, and the others are followed`, inWorld(async (world) => {
    world.fake.refused.set('secret', 'forbidden');
    const client = world.client({ transports: [kind] });
    for (const name of ['good', '\u00e4', 'a b', 'x'.repeat(165), 'secret', 'also good']) client.follow(name.replace('also ', 'also-'));
    client.follow('old', { since: 'no cursor' });
    await world.clock.advance(5_000);
    const told = ['bad_channel a b', `bad_channel ${'x'.repeat(165)}`, 'bad_channel \u00e4', 'bad_request old', 'forbidden secret'];
    assert.deepEqual(errors(client), told);
    world.pipe.cutAll();
    await world.clock.advance(20_000);
    for (const name of ['good', 'also-good']) world.fake.publish(name, name);
    await world.clock.advance(1_000);
    assert.deepEqual(client.data().sort(), ['also-good', 'good']);
    assert.deepEqual(errors(client), told);
    assert.ok(world.pipe.tries[kind] < 25, String(world.pipe.tries[kind]));
  }));

  test(`by ${kind}, a client that may follow nothing of what it asked for asks no more`, inWorld(async (world) => {
    world.fake.refused.set('secret', 'forbidden');
    const client = world.client({ transports: [kind] });
    client.follow('secret');
    await world.clock.advance(60_000);
    assert.deepEqual(errors(client), ['forbidden secret']);
    const tries = world.pipe.tries[kind];
    await world.clock.advance(600_000);
    assert.equal(world.pipe.tries[kind], tries);
  }));
}

test('128 channels are followed within the server\u2019s rate, and one more is told as an error', inWorld(async (world) => {
  const client = await world.connected();
  for (let n = 0; n < 129; n++) client.follow(`c${n}`);
  await world.clock.advance(900);
  assert.deepEqual(client.told('error').map(({ code, channel }) => [code, channel]), [['too_many_channels', 'c128']]);
  assert.ok(world.fake.heard.length <= 50, String(world.fake.heard.length));
  await world.clock.advance(2_000);
  assert.equal(world.fake.heard.length, 128);
  for (let n = 0; n < 128; n++) world.fake.publish(`c${n}`, n);
  await world.clock.advance(1_000);
  assert.deepEqual(client.data().sort((a, b) => a - b), [...Array(128).keys()]);
}));

test('128 channels come back with a handshake of bounded length and the rest within the rate', inWorld(async (world) => {
  const client = await world.connected();
  for (let n = 0; n < 128; n++) client.follow(`a/rather/long/name/of/a/channel/${n}`);
  await world.clock.advance(5_000);
  world.fake.heard.length = 0;
  world.pipe.cutAll();
  for (const name of world.fake.channels.keys()) world.fake.publish(name, name);
  await world.clock.until(() => client.roost.transport);
  await world.clock.advance(900);
  assert.ok(world.pipe.addresses.at(-1).length < 4_000);
  assert.ok(world.fake.heard.length <= 50);
  await world.clock.advance(3_000);
  assert.equal(client.data().length, 128);
  assert.deepEqual(client.told('gap'), []);
}));

test('a channel that is refused is told, and asked for no more', inWorld(async (world) => {
  world.fake.refused.set('secret', 'forbidden');
  const client = await world.connected();
  client.follow('secret');
  client.follow('news');
  await world.clock.advance(1_000);
  assert.deepEqual(client.told('error').map(({ code, channel }) => [code, channel]), [['forbidden', 'secret']]);
  world.pipe.cutAll();
  await world.clock.advance(20_000);
  assert.equal(client.told('error').length, 1);
  world.fake.publish('news', 1);
  await world.clock.advance(1_000);
  assert.deepEqual(client.data(), [1]);
}));

test('a channel that is refused for the moment is asked for again', inWorld(async (world) => {
  world.fake.refused.set('busy', 'overloaded');
  const client = await world.connected();
  client.follow('busy');
  await world.clock.advance(6_000);
  assert.ok(world.fake.heard.length >= 2 && world.fake.heard.length <= 6, String(world.fake.heard.length));
  assert.deepEqual(client.told('error'), []);
  world.fake.refused.clear();
  await world.clock.advance(4_000);
  world.fake.publish('busy', 1);
  await world.clock.advance(1_000);
  assert.deepEqual(client.data(), [1]);
}));

test('listeners share a subscription, and the last one ends it', inWorld(async (world) => {
  const client = await world.connected();
  const heard = [];
  const one = client.roost.subscribe('news', () => heard.push('one'));
  const two = () => heard.push('two');
  client.roost.subscribe('news', two);
  await world.clock.advance(100);
  world.fake.publish('news', 1);
  await world.clock.advance(100);
  one();
  world.fake.publish('news', 2);
  await world.clock.advance(100);
  client.roost.unsubscribe('news', two);
  await world.clock.advance(100);
  world.fake.publish('news', 3);
  await world.clock.advance(100);
  assert.deepEqual(heard, ['one', 'two', 'two']);
  assert.deepEqual(world.fake.heard.map(({ type }) => type), ['subscribe', 'unsubscribe']);
}));

test('who unsubscribes from what it never followed is told nothing, and asks nobody', inWorld(async (world) => {
  const client = await world.connected();
  client.roost.unsubscribe('never');
  client.roost.unsubscribe('never', () => {});
  await world.clock.advance(1_000);
  assert.deepEqual(world.fake.heard, []);
}));

test('who unsubscribes and subscribes in one breath begins anew, and hears nothing of before', inWorld(async (world) => {
  const client = await world.connected();
  client.follow('news');
  await world.clock.advance(100);
  world.fake.publish('news', 'old');
  client.roost.unsubscribe('news');
  client.follow('news');
  await world.clock.advance(10);
  world.fake.publish('news', 'under way');
  await world.clock.advance(100);
  world.fake.publish('news', 'new');
  await world.clock.advance(100);
  assert.deepEqual(client.data(), ['new']);
  assert.deepEqual(client.told('gap'), []);
}));

test('a page may begin where another left off', inWorld(async (world) => {
  ['a', 'b', 'c'].forEach((data) => world.fake.publish('news', data));
  const client = await world.connected();
  client.follow('news', { since: 'E1-1' });
  await world.clock.advance(100);
  assert.deepEqual(client.data(), ['b', 'c']);
  assert.equal(client.roost.cursor('news'), 'E1-3');
}));

test('who follows a channel and publishes to it in one breath hears itself', inWorld(async (world) => {
  const client = world.client();
  client.follow('first');
  client.roost.publish('first', 1);
  await world.clock.until(() => client.data().length === 1);
  client.follow('second');
  client.roost.publish('second', 2);
  await world.clock.until(() => client.data().length === 2);
}));

test('a listener that fails is reported, and stops neither the others nor the next message', inWorld(async (world) => {
  const reported = [];
  const report = (error) => reported.push(error.message);
  process.on('uncaughtException', report);
  const listeners = process.listeners('uncaughtException').filter((listener) => listener !== report);
  listeners.forEach((listener) => process.off('uncaughtException', listener));
  try {
    const client = await world.connected();
    client.roost.subscribe('news', ({ data }) => {
      throw new Error(`the page failed at ${data}`);
    });
    client.follow('news');
    await world.clock.advance(100);
    world.fake.publish('news', 1);
    world.fake.publish('news', 2);
    await world.clock.advance(100);
    assert.deepEqual(client.data(), [1, 2]);
    assert.deepEqual(reported, ['the page failed at 1', 'the page failed at 2']);
  } finally {
    listeners.forEach((listener) => process.on('uncaughtException', listener));
    process.off('uncaughtException', report);
  }
}));

test('a listener may unsubscribe, subscribe and close while it is called', inWorld(async (world) => {
  for (const kind of ['websocket', 'sse', 'poll']) {
    const client = world.client({ transports: [kind] });
    client.roost.subscribe('news', ({ data }) => {
      if (data === 'leave') client.roost.unsubscribe('news');
      client.follow('sports');
    });
    await world.clock.advance(1_000);
    for (const data of ['leave', 'unheard']) world.fake.publish('news', data);
    await world.clock.advance(1_000);
    client.roost.subscribe('sports', () => client.roost.close());
    for (const data of [1, 2]) world.fake.publish('sports', data);
    await world.clock.advance(1_000);
    assert.deepEqual(client.data(), [1]);
    assert.deepEqual(client.told('close').map(({ final }) => final), [true]);
  }
}));

test('an error is told to who listens after it was made, and printed if nobody does', inWorld(async (world) => {
  const { WebSocket, fetch } = world.pipe;
  const printed = [];
  const { error } = console;
  console.error = (...words) => printed.push(words.join(' '));
  try {
    const told = [];
    const roosts = [1, 2].map(() => new Roost('wss://host/live', { WebSocket, fetch }));
    for (const roost of roosts) for (let n = 0; n < 129; n++) roost.subscribe(`c${n}`, () => {});
    roosts[0].on('error', ({ code }) => told.push(code));
    await world.clock.settle();
    roosts.forEach((roost) => roost.close());
    assert.deepEqual(told, ['too_many_channels']);
    assert.deepEqual(printed, ['roost: at most 128 channels']);
  } finally {
    console.error = error;
  }
}));

test('an error of the server that answers nothing is told', inWorld(async (world) => {
  const client = await world.connected();
  for (const session of world.fake.sessions) session.say({ type: 'error', code: 'rate_limited', message: 'slow down' });
  await world.clock.advance(100);
  assert.deepEqual(client.told('error').map(({ code, message }) => [code, message]), [['rate_limited', 'slow down']]);
}));

test('off takes a handler away', inWorld(async (world) => {
  const client = await world.connected();
  const heard = [];
  const handler = ({ count }) => heard.push(count);
  client.roost.on('presence', handler).on('presence', handler);
  const announce = (count) => [...world.fake.sessions].forEach((session) => session.say({ type: 'presence', channel: 'news', count }));
  announce(1);
  await world.clock.advance(100);
  client.roost.off('presence', handler).off('gap', handler);
  announce(2);
  await world.clock.advance(100);
  assert.deepEqual(heard, [1]);
  assert.deepEqual(client.told('presence').map(({ count }) => count), [1, 2]);
}));
