// What scenarios are made of: the list they enter, and a world of a node, a proxy, pages and publishers.
//
// A scenario is a function that takes a world. It has that world for itself, a limit of time, and fails by throwing.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { KEPT, until, withDeadline } = require('./common');
const { judge } = require('./ledger');
const { Node } = require('./node');
const proxies = require('./proxies');
const { Publisher } = require('./publisher');

const HEAR_SECONDS = 40;
const STORY_SECONDS = 10;
// Enough for what a scenario publishes while its page is away.
const NODE_OPTIONS = ['--history', '5000'];
const SCENARIOS = [];

// Enters a function into the list under a sentence, once for each of `through` (nginx, haproxy, or none for a page without
// a proxy); `node` are options of the node, `config` is its roost.toml.
function scenario(name, { through = ['nginx', 'haproxy'], node = [], config = '', seconds = 120 }, play) {
  for (const proxy of through) {
    SCENARIOS.push({ name: proxy === 'none' ? name : `${proxy}: ${name}`, proxy, node, config, seconds, play });
  }
}

// Plays one scenario in a world of its own, from the start of its node to its clean end.
async function run(one, browser, number) {
  const prefix = String(number).padStart(2, '0');
  const folder = path.join(KEPT, `${prefix}-${one.proxy}`);
  fs.mkdirSync(folder, { recursive: true });
  const world = new World(folder, one, browser);
  WORLDS.add(world);
  try {
    await withDeadline(world.play(), one.seconds, 'the scenario');
    await world.pictures(path.join(KEPT, `${prefix}-${one.name.replace(/\W+/g, '-')}`));
    await world.end();
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  } catch (error) {
    error.message += `\n${await withDeadline(world.story(), STORY_SECONDS, 'the story').catch(String)}`;
    await withDeadline(world.pictures(path.join(folder, 'page')), STORY_SECONDS, 'the pictures').catch(() => {});
    error.message += `\nits logs are kept in ${path.relative(process.cwd(), folder)}`;
    throw error;
  } finally {
    world.kill();
    WORLDS.delete(world);
  }
}

const WORLDS = new Set();

// Whatever happens to this process, nothing that it started outlives it.
process.on('exit', () => WORLDS.forEach((world) => world.kill()));

class World {
  constructor(folder, { proxy, node, config, play }, browser) {
    this.scene = play;
    this.browser = browser;
    this.contexts = [];
    this.pages = [];
    this.complaints = [];
    const toml = path.join(folder, 'roost.toml');
    fs.writeFileSync(toml, config);
    this.node = new Node(folder, ['--config', toml, ...NODE_OPTIONS, ...node]);
    this.proxy = proxy === 'none' ? undefined : new proxies.kinds[proxy](folder, this.node);
  }

  async play() {
    await this.node.start();
    await this.proxy?.start();
    await this.scene(this);
  }

  // A page with roost.js that is subscribed to `channels`, behind the host of the proxy that treats it so, in `context` or in
  // one of its own.
  async page(host, { context, ...rest } = {}) {
    return this.load(await (context ?? (await this.context())).newPage(), host, rest);
  }

  // The same in a window of its own, which `hide` and `show` of the browser are for.
  async window(host, rest) {
    return this.load(await this.browser.window(), host, rest);
  }

  // `server` is the host that roost.js connects to, if it is another one than the page's.
  async load(page, host, { channels = ['news'], options = {}, server } = {}) {
    const query = new URLSearchParams({ options: JSON.stringify(options) });
    if (server) query.set('server', `${this.proxy.origin(server)}/live`);
    channels.forEach((channel) => query.append('channel', channel));
    return this.open(page, `${this.proxy.origin(host)}/page.html?${query}`);
  }

  // Any page. What goes wrong in it that nobody caught is a fault of the scenario.
  async open(page, address) {
    this.pages.push(page);
    page.on('pageerror', (error) => this.complaints.push(`${address}: ${error.message}`));
    await page.goto(address);
    return page;
  }

  async context(options) {
    const context = await this.browser.context(options);
    this.contexts.push(context);
    return context;
  }

  publisher(channel = 'news') {
    return new Publisher(this.node, channel);
  }

  // Waits until `count` follow `channel` on the node.
  async subscribed(channel = 'news', count = 1) {
    const subscribers = () => this.node.subscribers(channel);
    const what = async () => `${await subscribers()} of ${count} subscribers`;
    await until(async () => (await subscribers()) >= count, HEAR_SECONDS, what);
  }

  // Waits until the page goes by this transport.
  async transport(page, transport, seconds = HEAR_SECONDS) {
    const present = () => page.evaluate('roost.transport');
    await until(async () => (await present()) === transport, seconds, async () => `${transport}; the page goes by ${await present()}`);
  }

  // Waits until the page has heard anything of `publisher` that was published after now.
  async hears(page, publisher, seconds = HEAR_SECONDS) {
    await this.heardFrom(page, publisher, publisher.next, seconds);
  }

  // Waits until the page has heard the last number.
  async hasAll(page, publisher, seconds = HEAR_SECONDS) {
    await this.heardFrom(page, publisher, publisher.published.findLast(({ uncertain }) => !uncertain).n, seconds);
  }

  async heardFrom(page, { channel }, n, seconds) {
    const latest = () => page.evaluate((name) => latest[name], channel);
    await until(async () => (await latest()) >= n, seconds, async () => `number ${n}; the page has come to ${await latest()}`);
  }

  // Stops the publisher, waits until the page has heard its last number, and demands that nothing came twice, out of order, or
  // went missing without a gap. `from` is the first number that must have been heard, if that matters, and `announced` how many
  // may be lost with an announcement.
  async demandAll(page, publisher, { from, announced = 0 } = {}) {
    await publisher.stop();
    await this.hasAll(page, publisher);
    const verdict = judge(publisher.published, (await this.seen(page)).filter(({ channel }) => channel === publisher.channel));
    assert.deepEqual(verdict.faults, []);
    if (from !== undefined) assert.ok(verdict.first <= from, `heard from number ${verdict.first} on, not from ${from}`);
    assert.ok(verdict.announced <= announced, `${verdict.announced} publications were lost, with a gap, where nothing need be`);
    return verdict;
  }

  // What the page wrote down.
  async seen(page) {
    return page.evaluate('typeof seen === "object" ? seen : []');
  }

  // Keeps a picture of the whole page under `name`.
  async picture(page, name) {
    await page.screenshot({ path: path.join(KEPT, `${name}.png`), fullPage: true });
  }

  // Keeps a picture of each page that is open.
  async pictures(name) {
    for (const [index, page] of this.pages.filter((one) => !one.isClosed()).entries()) {
      await page.screenshot({ path: `${name}${index > 0 ? `-${index + 1}` : ''}.png` });
    }
  }

  async end() {
    for (const page of this.pages) await page.close();
    for (const context of this.contexts) await context.close();
    assert.deepEqual(this.complaints, []);
    await this.proxy?.end();
    await this.node.end();
  }

  // Where each page stands, for whoever reads of a failure.
  async story() {
    const stories = await Promise.all(this.pages.map((page) => this.seen(page).catch((error) => [{ kind: error.message }])));
    const lines = stories.map((seen) => shortened(seen).map((event) => JSON.stringify(event)).join('\n    '));
    return `the pages saw:\n  ${lines.join('\nand\n  ')}`;
  }

  kill() {
    this.contexts.forEach((context) => context.close().catch(() => {}));
    this.proxy?.kill();
    this.node.kill();
  }
}

// Runs of messages become one line.
function shortened(seen) {
  const events = [];
  for (const event of seen) {
    const last = events.at(-1);
    if (event.kind === 'message' && last?.kind === 'messages' && last.channel === event.channel && event.n === last.to + 1) last.to++;
    else if (event.kind === 'message') events.push({ kind: 'messages', ms: event.ms, channel: event.channel, from: event.n, to: event.n });
    else events.push(event);
  }
  return events;
}

module.exports = { SCENARIOS, scenario, run };
