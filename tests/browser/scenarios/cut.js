// Proxies that cut connections: silent ones after a while, or all of them at any moment.
'use strict';
const { pause } = require('../common');
const { scenario } = require('../harness');

// The name of the host, and for how long it bears silence. 3 s shows the same as 10 s in less time; one is as it is out there.
for (const [host, bears, silences] of [['cut3', 3, 3], ['cut10', 10, 2]]) {
  scenario(`a proxy that cuts after ${bears} s of silence`, {}, async (world) => {
    const page = await world.page(host);
    await world.subscribed();
    const publisher = world.publisher();
    for (let round = 0; round < silences; round++) {
      await publisher.burst(5);
      await world.hasAll(page, publisher);
      // The proxy acts when its time is over, and publications go out in the middle of what comes of it.
      await pause(bears * 1000 - 100);
      publisher.start(20);
      await pause(500);
      await publisher.stop();
    }
    await world.demandAll(page, publisher, { from: 0 });
  });
}

const CUTS = 4;
const EVERY_MS = 1500;

for (const [host, transport] of [['plain', 'websocket'], ['refuse', 'sse'], ['poll', 'poll']]) {
  scenario(`a proxy that cuts everything again and again, beginning with ${transport}`, {}, async (world) => {
    const page = await world.page(host);
    const publisher = world.publisher();
    publisher.start();
    await world.transport(page, transport);
    for (let cut = 0; cut < CUTS; cut++) {
      await world.hears(page, publisher);
      await world.proxy.cut();
      await pause(EVERY_MS);
    }
    await world.hears(page, publisher, 40);
    await world.demandAll(page, publisher);
  });
}
