// Debian's Chromium with a fresh profile, driven by Playwright over its debugging port.
//
// Playwright usually pretends that every page is looked at (focus emulation), and then no page can be hidden. Where it attaches
// with `noDefaults` it leaves the browser's own context alone: `window` opens pages there, and only a tab in front is visible.
'use strict';
const { spawn } = require('node:child_process');
const readline = require('node:readline');
const { once } = require('node:events');
const { chromium } = require('playwright-core');
const { LOOK_MS, withDeadline } = require('./common');

const CHROMIUM = '/usr/bin/chromium';
const START_SECONDS = 20;
const END_SECONDS = 10;
const FLAGS = [
  '--headless',
  '--no-sandbox', // there is none for root
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-proxy-server', // every host here is this machine
  '--disable-dev-shm-usage', // a container's may be small
  '--remote-debugging-port=0',
];

class Browser {
  // `profile` is a folder for its own data.
  static async start(profile) {
    const browser = new Browser();
    browser.process = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    browser.ended = once(browser.process, 'exit');
    const address = await withDeadline(debuggingAddress(browser.process), START_SECONDS, 'the start of Chromium');
    browser.playwright = await chromium.connectOverCDP(address, { noDefaults: true });
    browser.session = await browser.playwright.newBrowserCDPSession();
    browser.turn = Promise.resolve();
    return browser;
  }

  // A profile of its own, in which every page is visible.
  async context(options = {}) {
    return this.playwright.newContext({ viewport: { width: 960, height: 640 }, ...options });
  }

  // A page in the first tab of a window of its own, with the profile of all windows.
  async window() {
    return this.exclusively(async () => {
      const page = this.playwright.contexts()[0].waitForEvent('page');
      await this.session.send('Target.createTarget', { url: 'about:blank', newWindow: true });
      return page;
    });
  }

  // Opens another tab in front of a page from `window`: nobody looks at it any more.
  async hide(page) {
    await this.exclusively(async () => {
      // New tabs come into the window that was in front last.
      await page.bringToFront();
      await page.evaluate(() => void window.open('about:blank', '_blank', 'noopener'));
      await page.waitForFunction(() => document.hidden, undefined, { polling: LOOK_MS });
    });
  }

  // Brings its tab to the front again.
  async show(page) {
    await this.exclusively(async () => {
      await page.bringToFront();
      await page.waitForFunction(() => !document.hidden, undefined, { polling: LOOK_MS });
    });
  }

  // One at a time, where whose turn it is decides whose window it becomes.
  async exclusively(action) {
    const done = this.turn.then(action);
    this.turn = done.catch(() => {});
    return done;
  }

  async end() {
    await this.session.send('Browser.close').catch(() => {});
    await withDeadline(this.ended, END_SECONDS, 'the end of Chromium');
  }

  kill() {
    this.process.kill('SIGKILL');
  }
}

// What Chromium says of its debugging port; its further words are of no interest, yet a full pipe must not stop it.
async function debuggingAddress(process) {
  const words = [];
  for await (const line of readline.createInterface({ input: process.stderr })) {
    const address = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (address) {
      process.stderr.resume();
      return address;
    }
    words.push(line);
  }
  throw new Error(`Chromium did not start:\n${words.join('\n')}`);
}

module.exports = { Browser };
