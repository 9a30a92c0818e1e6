// Every way to load the client: in Node.js, by a bundler, and by a browser.
'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const vm = require('node:vm');
const { execFile, execFileSync } = require('node:child_process');
const { once } = require('node:events');
const { promisify } = require('node:util');
const esbuild = require('esbuild');
const { Node } = require('./node.js');

const CLIENT = path.join(__dirname, '../../src/assets/roost.js');
const BROWSER = process.env.CHROMIUM ?? 'chromium';
const source = fs.readFileSync(CLIENT, 'utf8');

/** A folder with the client in it, and these files beside it. */
function folder(files) {
  const where = fs.mkdtempSync(path.join(os.tmpdir(), 'roost-forms-'));
  fs.copyFileSync(CLIENT, path.join(where, 'roost.js'));
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(where, name), text);
  return where;
}

/** What Node.js prints when it runs `main` in such a folder. */
function printed(main, files) {
  const where = folder(files);
  try {
    return execFileSync(process.execPath, [path.join(where, main)], { encoding: 'utf8' }).trim();
  } finally {
    fs.rmSync(where, { recursive: true });
  }
}

test('require gives the class, alone and by name', () => {
  const main = "const Roost = require('./roost.js'); console.log(Roost.name, Roost.Roost === Roost);";
  assert.equal(printed('main.cjs', { 'main.cjs': main }), 'Roost true');
});

test('import gives the class as the default, whatever the package says of its files', () => {
  const main = "import Roost from './roost.js'; console.log(Roost.name, new Roost('ws://127.0.0.1:9/live').close());";
  assert.equal(printed('main.mjs', { 'main.mjs': main }), 'Roost undefined');
  assert.equal(printed('main.js', { 'main.js': main, 'package.json': '{"type":"module"}' }), 'Roost undefined');
});

test('import gives the class by name where the package says that its files are modules', () => {
  const main = "import Default, { Roost } from './roost.js'; console.log(Roost === Default, Roost.name);";
  assert.equal(printed('main.js', { 'main.js': main, 'package.json': '{"type":"module"}' }), 'true Roost');
});

test('a classic script makes one global, and may be loaded twice', () => {
  const context = vm.createContext({});
  const globals = () => vm.runInContext('Object.getOwnPropertyNames(globalThis).join()', context).split(',');
  const before = globals();
  vm.runInContext(source, context);
  vm.runInContext(source, context);
  assert.deepEqual(globals().filter((name) => !before.includes(name)), ['Roost']);
});

test('a bundler takes it by default and by name', () => {
  const main = "import Default, { Roost } from './roost.js'; console.log(Default === Roost, Roost.name);";
  const where = folder({ 'main.js': main });
  try {
    const { outputFiles } = esbuild.buildSync({
      entryPoints: [path.join(where, 'main.js')], bundle: true, minify: true, keepNames: true, format: 'iife', write: false, logLevel: 'error',
    });
    const printed = [];
    vm.runInNewContext(outputFiles[0].text, { console: { log: (...words) => printed.push(words.join(' ')) } });
    assert.deepEqual(printed, ['true Roost']);
  } finally {
    fs.rmSync(where, { recursive: true });
  }
});

const page = (node) => `<!doctype html>
<script src="http://${node}/roost.js"></script>
<script>globalThis.classic = window.Roost; globalThis.found = [typeof window.Roost];</script>
<script type="module">
  import Default, { Roost } from 'http://${node}/roost.js';
  const dynamic = await import('http://${node}/roost.js');
  found.push(typeof Default, Roost === Default, dynamic.Roost === Roost, Roost !== classic, Roost.name === classic.name);
  document.body.textContent = found.join(' ');
</script>
<body></body>`;

test('a browser takes it from a node as a classic script, as a module and by import(), also for a page of another origin', async () => {
  const node = await Node.start();
  const server = http.createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end(page(node.public));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'roost-chromium-'));
  try {
    const options = ['--headless', '--no-sandbox', '--disable-gpu', `--user-data-dir=${profile}`, '--virtual-time-budget=10000', '--dump-dom'];
    const { stdout } = await promisify(execFile)(BROWSER, [...options, `http://127.0.0.1:${server.address().port}/`]);
    assert.match(stdout, /function function true true true true/);
  } finally {
    server.close();
    server.closeAllConnections();
    await node.end();
    fs.rmSync(profile, { recursive: true, force: true });
  }
});
