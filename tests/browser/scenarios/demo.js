// The demo page: it counts each notification once whatever stands in its way, and is fit for everybody.
'use strict';
const assert = require('node:assert/strict');
const { scenario } = require('../harness');
const { LOOKS, inspect, openAlone, shows } = require('../looks');

const options = { through: ['none'], node: ['--demo'] };

// The page in a look, once the node knows that it listens.
async function open(world, look, count = 1) {
  const page = await openAlone(world, `http://${world.node.public}/?channel=news`, look);
  await shows(page, '#way-text', /^WebSocket$/);
  await world.subscribed('news', count);
  return page;
}

scenario('the demo page counts what comes, in any light and on a phone', options, async (world) => {
  const pages = [];
  for (const look of Object.keys(LOOKS)) pages.push([look, await open(world, look, pages.length + 1)]);
  await world.publisher().burst(7);
  for (const [look, page] of pages) {
    await shows(page, '#badge', /^7$/);
    await shows(page, '#came', /^7$/);
    await shows(page, '#log', /\{"n":6\} 7 · .*\{"n":0\} 1 · /);
    assert.equal(await page.title(), '(7) roost demo');
    await inspect(world, page, `demo-${look}`);
    await page.locator('#bell').focus();
    await page.keyboard.press('Enter');
    await shows(page, '#bell-text', /none unread/);
  }
});

scenario('the demo page goes on by other ways while it is stood in the way of, and each notification comes once', { ...options, seconds: 200 }, async (world) => {
  const page = await open(world, 'light');
  const publisher = world.publisher();
  publisher.start(100);
  for (const [button, way] of [['#block-websocket', 'Server-sent events'], ['#block-sse', 'Long-poll'], ['#hide', 'Asleep'], ['#hide', 'Long-poll']]) {
    await page.click(button);
    await shows(page, '#way-text', new RegExp(`^${way}$`));
    await world.subscribed('news', way === 'Asleep' ? 0 : 1);
  }
  await world.picture(page, 'demo-blocked');
  await page.click('#block-websocket');
  await page.click('#block-sse');
  // It tries the better ways after 5, 15 and 45 s.
  await shows(page, '#way-text', /^WebSocket$/, 100);
  await publisher.stop();
  await shows(page, '#came', new RegExp(`^${publisher.published.length.toLocaleString('en')}$`));
  await shows(page, '#wrong', /^0$/);
  await shows(page, '#lost', /^0$/);
});

scenario('the demo page tells of what a node has forgotten, and of what it may not publish', options, async (world) => {
  const page = await open(world, 'dark');
  await world.publisher().burst(3);
  await shows(page, '#came', /^3$/);
  world.mayComplain = true;
  await world.node.end();
  await shows(page, '#way-text', /^Connecting$/);
  await world.node.start();
  await shows(page, '#way-text', /^WebSocket$/);
  await shows(page, '#log', /A new numbering has begun/);
  await page.fill('#text', 'from a page');
  await page.click('#form button');
  await shows(page, '#hint', /clients_may_publish = true/);
  await inspect(world, page, 'demo-refused');
});

const mayPublish = { through: ['haproxy'], node: ['--demo'], config: '[channels."notifications"]\nclients_may_publish = true\n' };

scenario('the demo page publishes where the node lets it, by the keyboard alone', mayPublish, async (world) => {
  const page = await openAlone(world, `${world.proxy.origin('plain')}/`, 'phone');
  await shows(page, '#way-text', /^WebSocket$/);
  await world.subscribed('notifications');
  await page.focus('#text');
  await page.keyboard.type('grüße 🐓');
  await page.keyboard.press('Enter');
  await shows(page, '#log', /\{"text":"grüße 🐓"\} 1 · /);
  await shows(page, '#badge', /^1$/);
});
