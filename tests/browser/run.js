// Runs the browser scenarios, some at a time: `node run.js [--list] [WORDS…]`.
//
// Prints `PASS sentence` or `FAIL sentence: why` for each and exits 1 when one failed or none ran. WORDS select the scenarios
// whose sentence contains all of them. Screenshots, and the logs of what failed, are kept in tests/.work/browser.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Browser } = require('./browser');
const { KEPT } = require('./common');
const { SCENARIOS, run } = require('./harness');

// Most of their time scenarios wait for a proxy or for a clock.
const AT_ONCE = 6;

function load() {
  const folder = path.join(__dirname, 'scenarios');
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.js'));
  names.sort().forEach((name) => require(path.join(folder, name)));
  return SCENARIOS;
}

async function main(words) {
  const listing = words.includes('--list');
  const wanted = words.filter((word) => word !== '--list');
  const chosen = load().filter(({ name }) => wanted.every((word) => name.includes(word)));
  if (listing) {
    chosen.forEach(({ name }) => console.log(name));
    return chosen.length > 0;
  }
  // A Chromium of the run before may still be taking leave of its profile.
  fs.rmSync(KEPT, { recursive: true, force: true, maxRetries: 5 });
  fs.mkdirSync(KEPT, { recursive: true });
  const browser = await Browser.start(path.join(KEPT, 'profile'));
  process.on('exit', () => browser.kill());
  try {
    return await playAll(chosen, browser);
  } finally {
    await browser.end();
  }
}

// Some at a time; the longest limits first, so that nothing long is left for the end.
async function playAll(chosen, browser) {
  const waiting = [...chosen].sort((one, other) => other.seconds - one.seconds);
  let failed = 0;
  const worker = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      failed += !(await tell(one, browser, chosen.indexOf(one)));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return failed === 0 && chosen.length > 0;
}

// One line for a scenario, and the story of a failure below it.
async function tell(one, browser, number) {
  const start = Date.now();
  try {
    await run(one, browser, number);
    console.log(`PASS ${one.name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    console.log(`FAIL ${one.name}: ${error.message.split('\n')[0]}`);
    const place = error.stack.split('\n').filter((line) => line.startsWith('    at '));
    [...error.message.split('\n').slice(1), ...place].forEach((line) => console.log(`    ${line}`));
    return false;
  }
}

['SIGINT', 'SIGTERM'].forEach((signal) => process.on(signal, () => process.exit(1)));
main(process.argv.slice(2)).then(
  (well) => process.exit(well ? 0 : 1),
  (error) => {
    console.log(`FAIL the browser tests: ${error.stack}`);
    process.exit(1);
  },
);
