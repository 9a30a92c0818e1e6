// The status page: what it shows is true, in any light and on a phone, to the eye, to a keyboard and to a screen reader, without
// anything from elsewhere.
'use strict';
const assert = require('node:assert/strict');
const { scenario } = require('../harness');
const { LOOKS, inspect, openAlone, shows } = require('../looks');

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
  assert.ok(await page.locator('#ready').isHidden(), 'nobody knows whether a node is ready that does not answer');
  await world.picture(page, 'status-lost');
  await world.node.start();
  await shows(page, '#stream-text', /^Live$/);
  await shows(page, '#ready', /^Ready$/);
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
