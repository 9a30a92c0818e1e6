// Proxies that do not let a WebSocket through, or not even an event stream. The page must find out what goes.
'use strict';
const { scenario } = require('../harness');

// What the host does, its name, and what the page must come to.
const BLOCKED = [
  ['refuses upgrades with 403', 'refuse', 'sse'],
  ['takes upgrades out of requests', 'strip', 'sse'],
  ['accepts upgrades and kills them', 'kill', 'sse'],
  ['refuses upgrades and event streams', 'poll', 'poll'],
  // HAProxy knows neither of these: it speaks HTTP/1.1 to servers, and holds no response back.
  ['passes on HTTP/1.0 and nothing else', 'bare', 'sse', ['nginx']],
  ['holds event streams back in its buffer', 'buffer', 'poll', ['nginx']],
];

for (const [does, host, transport, through] of BLOCKED) {
  scenario(`a proxy that ${does}: all arrives by ${transport}`, { through }, async (world) => {
    const page = await world.page(host);
    const publisher = world.publisher();
    publisher.start();
    await world.transport(page, transport);
    await world.hears(page, publisher);
    await world.hears(page, publisher);
    await world.demandAll(page, publisher);
  });
}

scenario('a proxy that lets WebSockets through after a while: the page comes back to them', {}, async (world) => {
  const page = await world.page('door');
  const publisher = world.publisher();
  publisher.start();
  await world.transport(page, 'sse');
  await world.hears(page, publisher);
  await world.proxy.openDoor();
  await world.transport(page, 'websocket', 45);
  await world.hears(page, publisher);
  await world.demandAll(page, publisher);
});
