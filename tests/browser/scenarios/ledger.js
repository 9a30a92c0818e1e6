// The judge itself: what it lets pass, and that it finds each fault. No page, and a node that nobody asks.
'use strict';
const assert = require('node:assert/strict');
const { scenario } = require('../harness');
const { judge } = require('../ledger');

const PUBLISHED = [0, 1, 2, 3, 4, 5].map((n) => ({ n, epoch: 'a', offset: n + 1 }));
const AGAIN = [...PUBLISHED, ...[6, 7, 8].map((n) => ({ n, epoch: 'b', offset: n - 5 }))];

const message = (n, offset = n + 1) => ({ kind: 'message', n, offset });
const gap = (from, to, epoch = 'a') => ({ kind: 'gap', from, to, cursor: `${epoch}-${to}` });
const faults = (published, ...heard) => judge(published, heard).faults;
const here = { through: ['none'] };

scenario('the judge lets pass what came once and in order, or was announced', here, () => {
  assert.deepEqual(faults(PUBLISHED, ...[0, 1, 2, 3, 4, 5].map((n) => message(n))), []);
  assert.deepEqual(faults(PUBLISHED, ...[3, 4, 5].map((n) => message(n))), [], 'a late subscription');
  assert.deepEqual(faults(PUBLISHED, message(0), gap(2, 5), message(5)), []);
  assert.deepEqual(faults(PUBLISHED, message(0), message(1), gap(3, 6)), [], 'up to the end');
  const beyond = [message(0), gap(1, 1, 'b'), message(7, 2), message(8, 3)];
  assert.deepEqual(faults(AGAIN, ...beyond), [], 'a new epoch');
});

scenario('the judge finds what is missing, doubled, out of order, foreign, misplaced, or announced in vain', here, () => {
  assert.deepEqual(faults(PUBLISHED, message(0), message(2), ...[3, 4, 5].map((n) => message(n))), ['1 is missing without a gap']);
  assert.deepEqual(faults(PUBLISHED, ...[0, 1, 2, 3, 4].map((n) => message(n))), ['5 is missing without a gap']);
  assert.deepEqual(faults(PUBLISHED, message(3), message(4), gap(5, 5)).at(-1), '5 is missing without a gap', 'a gap of others');
  assert.deepEqual(faults(PUBLISHED, message(4), message(4), message(5)), ['4 came twice']);
  assert.deepEqual(faults(PUBLISHED, message(3), message(5), message(4)), ['4 is missing without a gap', '4 came too late']);
  assert.deepEqual(faults(PUBLISHED, message(5), message(9)), ['9 was never published']);
  assert.deepEqual(faults(PUBLISHED, message(4), message(5, 7)), ['5 has offset 7, not 6']);
  assert.deepEqual(faults(PUBLISHED, message(4), gap(5, 5), message(5)), ['a gap says that 4 is lost, which had come']);
  assert.deepEqual(faults(AGAIN, message(4), ...[6, 7, 8].map((n) => message(n, n - 5))), ['5 is missing without a gap']);
  assert.deepEqual(faults(AGAIN, message(5), gap(1, 1, 'b'), message(8, 3)), ['7 is missing without a gap']);
  assert.deepEqual(faults(PUBLISHED), ['nothing was heard']);
});
