// Somebody looks away and back. These are real tabs of a real window: the one that another is opened in front of is hidden, its
// timers are slowed down, and one that is frozen does nothing at all, as on a phone.
'use strict';
const assert = require('node:assert/strict');
const { pause, until } = require('../common');
const { scenario } = require('../harness');

// How long nobody looks, once the page does what it does then.
const AWAY_MS = 2000;

// A page in a window that has heard something, and then nobody looks at it.
async function hiddenPage(world, host, options) {
  const page = await world.window(host, { options });
  const publisher = world.publisher();
  publisher.start();
  await world.hears(page, publisher);
  await world.browser.hide(page);
  return { page, publisher };
}

for (const [host, transport] of [['plain', 'websocket'], ['refuse', 'sse']]) {
  scenario(`a tab hidden for a while closes its ${transport}, and has all as soon as it is shown`, {}, async (world) => {
    const { page, publisher } = await hiddenPage(world, host, { hiddenAfter: 500 });
    await until(async () => (await world.node.subscribers('news')) === 0, 20, 'the hidden page lets go');
    const before = await page.evaluate('latest.news');
    await pause(AWAY_MS);
    assert.equal(await page.evaluate('latest.news'), before, 'nobody looks, nothing comes');
    await world.browser.show(page);
    await world.hears(page, publisher, 5);
    await world.demandAll(page, publisher);
  });
}

scenario('a tab hidden for less time than that keeps its connection', { through: ['nginx'] }, async (world) => {
  const { page, publisher } = await hiddenPage(world, 'plain', {});
  await world.hears(page, publisher);
  await world.browser.show(page);
  await world.demandAll(page, publisher);
  const kinds = (await world.seen(page)).map(({ kind }) => kind);
  assert.ok(!kinds.includes('close'), `${kinds}`);
});

scenario('a hidden tab that goes quiet gets the latest, with gaps for the rest', { through: ['haproxy'] }, async (world) => {
  const { page, publisher } = await hiddenPage(world, 'plain', { hidden: 'quiet', hiddenAfter: 100 });
  await until(() => page.evaluate('counts.gap > 0'), 20, 'a hidden page is told what it skips');
  await pause(AWAY_MS);
  await world.browser.show(page);
  await world.hears(page, publisher, 5);
  const { announced } = await world.demandAll(page, publisher, { announced: Infinity });
  assert.ok(announced > 0, 'a quiet page skips something');
});

scenario('a tab that is frozen and thawed has all', {}, async (world) => {
  const { page, publisher } = await hiddenPage(world, 'plain', {});
  const session = await page.context().newCDPSession(page);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await pause(AWAY_MS);
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  await world.browser.show(page);
  await world.hears(page, publisher, 5);
  await world.demandAll(page, publisher);
  const kinds = (await world.seen(page)).map(({ kind }) => kind);
  assert.ok(kinds.includes('freeze') && kinds.includes('resume'), `${kinds}`);
});
