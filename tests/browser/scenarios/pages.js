// The pages that a node serves to people: what they show is true, in any light and on a phone, to the eye, to a keyboard and to a
// screen reader, without anything from elsewhere.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { until } = require('../common');
const { scenario } = require('../harness');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'];
const LOOKS = {
  light: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: 'light', isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};
const SECONDS = 40;

// Opens a page that must ask nobody but its own host, and complain of nothing.
async function openAlone(world, address, look) {
  const page = await (await world.context(LOOKS[look])).newPage();
  const { origin } = new URL(address);
  page.on('request', (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(`${origin}/`)) world.complaints.push(`it asks for ${request.url()}`);
  });
  page.on('console', (message) => {
    if (message.type() === 'error' && !world.mayComplain) world.complaints.push(`${address} says: ${message.text()}`);
  });
  return world.open(page, address);
}

// What a machine can see of whether everybody can use it.
async function inspect(world, page, name) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate((values) => axe.run({ runOnly: { type: 'tag', values } }), RULES);
  const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(told, [], name);
  const [width, room] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(width <= room, `${name} is ${width} px wide in a window of ${room}`);
  await world.picture(page, name);
}

async function shows(page, selector, expected) {
  const text = async () => (await page.locator(selector).first().innerText()).replace(/\s+/g, ' ').trim();
  await until(async () => expected.test(await text()), SECONDS, async () => `${expected} in ${selector}, which says ${await text()}`);
}

scenario('the status page shows who is connected, how, and to what', { through: ['nginx'] }, async (world) => {
  for (const host of ['plain', 'refuse', 'poll']) await world.page(host);
  await world.subscribed('news', 3);
  const publisher = world.publisher();
  publisher.start(200);
  for (const look of Object.keys(LOOKS)) {
    const page = await openAlone(world, `http://${world.node.api}/`, look);
    await shows(page, '#stream-text', /^Live$/);
    // The page itself is not among them: it watches from the API.
    await shows(page, '#count', /^3$/);
    await shows(page, '#transports .legend', /WebSocket 1 .*1 .*1 /i);
    await shows(page, '#channels tr', /news 3/);
    await shows(page, '#delivered', /[1-9]/);
    await inspect(world, page, `status-${look}`);
    await page.close();
  }
  await publisher.stop();
});

scenario('the status page says when the node is gone and when it is back, and pauses by the keyboard', { through: ['nginx'] }, async (world) => {
  const page = await openAlone(world, `http://${world.node.api}/`, 'light');
  await shows(page, '#stream-text', /^Live$/);
  world.mayComplain = true;
  await world.node.end();
  await shows(page, '#stream-text', /^Stream lost$/);
  await world.picture(page, 'status-lost');
  await world.node.start();
  await shows(page, '#stream-text', /^Live$/);
  // The first stop of the keyboard is a way past the head, to the figures.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'main');
  await page.locator('#pause').focus();
  await page.keyboard.press('Space');
  await shows(page, '#stream-text', /^Paused$/);
  assert.equal(await page.locator('#pause').getAttribute('aria-pressed'), 'true');
  await page.keyboard.press('Space');
  await shows(page, '#stream-text', /^Live$/);
});
