// What a page looks like, and whether everybody can use it: in light, in the dark and on a phone. Must never know a page.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { until } = require('./common');

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

// Waits until what stands there says so.
async function shows(page, selector, expected, seconds = SECONDS) {
  const text = async () => (await page.locator(selector).first().innerText()).replace(/\s+/g, ' ').trim();
  await until(async () => expected.test(await text()), seconds, async () => `${expected} in ${selector}, which says ${await text()}`);
}

module.exports = { LOOKS, openAlone, inspect, shows };
