// What a page loads of the client, and its types.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');
const zlib = require('node:zlib');
const fs = require('node:fs');
const { execFileSync, spawnSync } = require('node:child_process');
const esbuild = require('esbuild');

const ASSETS = path.join(__dirname, '../../src/assets');
const BYTES_MAX = 6144;

test('minified and gzipped, the client is under 6 KiB', () => {
  const source = fs.readFileSync(path.join(ASSETS, 'roost.js'), 'utf8');
  const { code } = esbuild.transformSync(source, { minify: true, format: 'esm', logLevel: 'error' });
  const bytes = execFileSync('gzip', ['-9', '-n'], { input: code }).length;
  assert.match(zlib.gunzipSync(execFileSync('gzip', ['-9', '-n'], { input: code })).toString(), /as default/);
  console.log(`roost.js: ${source.length} characters as served, ${code.length} minified, ${bytes} bytes with gzip -9`);
  assert.ok(bytes <= BYTES_MAX, `${bytes} bytes are more than ${BYTES_MAX}`);
});

test('a page in TypeScript is checked against the types, and its faults are found', () => {
  const compiler = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc');
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler'];
  const words = [compiler, ...options, '--types', '', path.join(__dirname, 'usage.ts')];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
});
