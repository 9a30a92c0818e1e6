// Hundreds of seeded worlds in which everything fails now and then: whatever happens, a naive reader of the server's own book finds
// each message once and in order, or a gap in its place, and in the end nothing is missing. A seed that fails is named; replay it:
//
//     ROOST_SEED=17 node --test tests/client/once.test.js
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { World } = require('./world.js');

const SEEDS = process.env.ROOST_SEED ? [Number(process.env.ROOST_SEED)] : Array.from({ length: 400 }, (_, index) => index + 1);
const CHANNELS = ['a', 'b', 'c'];
const TROUBLE_MS = 120_000;
/** The longest pause between two tries of a better way, and some. */
const PEACE_MS = 60_000;

/** mulberry32: small, and the same everywhere. */
function randomOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a server has published, and what a client has been told, held against each other. */
class Book {
  /** By channel: `EPOCH-OFFSET` of each publication, to its data. */
  published = new Map();
  last = 0;

  note({ fake }, name) {
    const { data } = fake.publish(name, ++this.last);
    this.published.set(`${name} ${fake.cursor(name)}`, data);
  }

  /** Reads what a client was told of one channel from the place `start` on; returns the place that it has reached. */
  read(name, told, start) {
    let [epoch, offset] = [start.split('-')[0], Number(start.split('-')[1])];
    for (const message of told) {
      if (message.type === 'gap') {
        const [next, to] = message.cursor.split('-');
        if (next === epoch) assert.equal(message.from, offset + 1, `a gap begins behind ${epoch}-${offset}`);
        else assert.ok(Number(next.slice(1)) > Number(epoch.slice(1)), `${next} comes after ${epoch}`);
        assert.equal(message.to, Number(to));
        assert.ok(next !== epoch || message.to >= message.from, 'a gap has a first and a last');
        [epoch, offset] = [next, Number(to)];
      } else {
        assert.equal(message.offset, ++offset, `in ${name}, behind ${epoch}-${offset - 1}`);
        assert.equal(message.data, this.published.get(`${name} ${epoch}-${offset}`), `${name} ${epoch}-${offset}`);
      }
    }
    return `${epoch}-${offset}`;
  }
}

/** Draws how often each thing goes wrong in this world, and lets it. */
function trouble(world, random, { loses }) {
  const rate = () => random() ** 2 * 0.7;
  const fates = { refuse: rate(), hang: rate() / 3, mute: rate() / 3, cutMs: rate() };
  const draw = (way) => () => {
    if (random() < fates.refuse) return { refuse: [0, 404, 502, 503][Math.floor(random() * 4)], retryAfter: 1 + Math.floor(random() * 5) };
    if (random() < fates.hang) return { hang: true };
    if (random() < fates.mute && way !== 'poll') return { mute: true };
    return random() < fates.cutMs ? { cutMs: random() ** 3 * 40_000 } : {};
  };
  for (const way of ['websocket', 'sse', 'poll']) world.pipe.fates[way] = draw(way);
  const latencyMs = 5 + random() * 200;
  world.pipe.latencyMs = () => random() * latencyMs;
  const anyChannel = () => CHANNELS[Math.floor(random() * CHANNELS.length)];
  const repeat = () => {
    const { kept } = world.fake.channel(anyChannel());
    for (const session of world.fake.sessions) {
      if (kept.length && session.follows.has(kept[0].channel)) session.carry(kept.at(-1), [...session.follows.values()].join(','));
    }
  };
  const acts = [
    [() => world.pipe.cutAll(), rate() / 20],
    [() => world.fake.endAll({ code: 1012, reason: 'restart' }), rate() / 30],
    [() => world.fake.endAll({ code: 1001, reason: `going away retry_after_ms=${Math.floor(random() * 3_000)}` }), rate() / 30],
    [() => world.clock.leap(random() * 40_000), rate() / 100],
    [repeat, rate() / 5],
    [() => world.fake.trim(anyChannel(), Math.floor(random() * 3)), loses ? rate() / 10 : 0],
    [() => world.fake.renumber(anyChannel(), Math.floor(random() * 4)), loses ? rate() / 20 : 0],
    [() => world.fake.restart(), loses ? rate() / 30 : 0],
  ];
  return () => acts.forEach(([act, often]) => random() < often && act());
}

function calm(world) {
  for (const way of ['websocket', 'sse', 'poll']) world.pipe.fates[way] = () => ({});
  world.pipe.latencyMs = () => 10;
}

async function live(seed) {
  const random = randomOf(seed);
  const loses = seed % 2 === 0;
  const world = new World();
  const book = new Book();
  try {
    world.fake.history = loses ? 8 : 10_000;
    const act = trouble(world, random, { loses });
    const client = world.client({ random });
    const starts = new Map(CHANNELS.map((name) => [name, world.fake.cursor(name)]));
    for (const name of CHANNELS) client.follow(name, { since: starts.get(name) });
    for (const end = world.clock.now + TROUBLE_MS; world.clock.now < end; ) {
      if (random() < 0.4) book.note(world, CHANNELS[Math.floor(random() * CHANNELS.length)]);
      act();
      await world.clock.advance(random() * 700);
    }
    calm(world);
    await world.clock.advance(PEACE_MS);
    for (const name of CHANNELS) book.note(world, name);
    await world.clock.advance(2_000);
    for (const name of CHANNELS) {
      const told = client.heard.map(([, value]) => value).filter(({ channel }) => channel === name);
      assert.equal(book.read(name, told, starts.get(name)), world.fake.cursor(name), `${name} is complete`);
      assert.equal(client.roost.cursor(name), world.fake.cursor(name));
    }
    if (!loses) assert.deepEqual(client.told('gap'), []);
    return client.told('transport').length;
  } finally {
    await world.end();
  }
}

test(`in ${SEEDS.length} worlds of trouble each message comes once and in order, or a gap in its place`, async () => {
  let moves = 0;
  for (const seed of SEEDS) {
    try {
      moves += await live(seed);
    } catch (error) {
      error.message = `ROOST_SEED=${seed}: ${error.message}`;
      throw error;
    }
  }
  // Worlds in which nobody falls back would prove nothing.
  assert.ok(moves > SEEDS.length, `only ${moves} changes of transport`);
});

test('the reader of the book finds what is doubled, missing, or in disorder', () => {
  const book = new Book();
  for (const offset of [1, 2, 3]) book.published.set(`a E1-${offset}`, offset);
  const message = (offset) => ({ type: 'notification', channel: 'a', data: offset, offset });
  const gap = (from, to, epoch = 'E1') => ({ type: 'gap', channel: 'a', from, to, cursor: `${epoch}-${to}` });
  assert.equal(book.read('a', [message(1), message(2), message(3)], 'E1-0'), 'E1-3');
  assert.equal(book.read('a', [gap(1, 2), message(3), gap(1, 0, 'E2')], 'E1-0'), 'E2-0');
  for (const wrong of [
    [message(1), message(1)], [message(2)], [message(1), message(3)], [gap(2, 3)], [gap(1, 0)], [message(1), gap(1, 2)],
    [gap(1, 2, 'E0')], [{ ...message(1), data: 'another' }],
  ]) {
    assert.throws(() => book.read('a', wrong, 'E1-0'), JSON.stringify(wrong));
  }
});
