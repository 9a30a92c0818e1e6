// What every file here needs: where things are, and how to wait.
'use strict';
const path = require('node:path');

const ROOT = path.resolve(__dirname, '..', '..');
// Screenshots and, of what failed, logs are kept here.
const KEPT = path.join(ROOT, 'tests', '.work', 'browser');
const LOOK_MS = 100;

// What `promise` becomes, or an error that names `what` when that takes longer than `seconds`.
async function withDeadline(promise, seconds, what) {
  let timer;
  const expired = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, expired]);
  } finally {
    clearTimeout(timer);
  }
}

// The first true answer of `condition`, which is asked again and again for `seconds`; `what` may be a function that tells more.
async function until(condition, seconds, what) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${typeof what === 'function' ? await what() : what}`);
    await pause(LOOK_MS);
  }
}

// For what is about time itself: a pace, a silence that a proxy must notice. Never to wait for something to have happened.
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

module.exports = { ROOT, KEPT, LOOK_MS, withDeadline, until, pause };
