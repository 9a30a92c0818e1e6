// Starts a roost node, learns its addresses from it, ends it by its process id, and starts it again where it was.
// Must never know a scenario.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { once } = require('node:events');
const { ROOT, withDeadline } = require('./common');

// The debug binary: its checks are all switched on.
const BINARY = process.env.ROOST_BIN ?? path.join(ROOT, 'target', 'debug', 'roost');
const START_SECONDS = 10;
// A drain may take 10 s by default; a node that needs longer hangs.
const END_SECONDS = 15;

class Node {
  // `options` are those of `roost serve`; what it logs goes into `folder`.
  constructor(folder, options = []) {
    this.options = options;
    this.log = path.join(folder, 'node.log');
    this.public = '127.0.0.1:0';
    this.api = '127.0.0.1:0';
  }

  // Starts it on ports of its own, or on those that it had before.
  async start() {
    const again = !this.public.endsWith(':0');
    const starting = async () => {
      // Its port is free again once it has ended, yet for a moment anybody's connection may have been given it.
      while (!(await this.tryToStart())) {
        if (!again) throw new Error(`the node did not start:\n${this.logTail()}`);
      }
    };
    await withDeadline(starting(), START_SECONDS, 'the start of the node');
  }

  async tryToStart() {
    const log = fs.openSync(this.log, 'a');
    const command = ['serve', '--listen', this.public, '--api', this.api, ...this.options];
    this.process = spawn(BINARY, command, { stdio: ['ignore', 'pipe', log] });
    fs.closeSync(log);
    this.ended = once(this.process, 'exit');
    const addresses = {};
    // The loop goes on until both addresses are told; afterwards nobody reads, yet a full pipe must not stop the node.
    for await (const line of readline.createInterface({ input: this.process.stdout })) {
      const [listener, address] = line.split(' ');
      addresses[listener] = address;
      if (addresses.public && addresses.api) {
        Object.assign(this, addresses);
        this.process.stdout.resume();
        return true;
      }
    }
    await this.ended;
    return false;
  }

  // Ends it as an operator would, and demands that it ends well.
  async end() {
    this.process.kill('SIGTERM');
    const [code] = await withDeadline(this.ended, END_SECONDS, 'the end of the node');
    const log = fs.readFileSync(this.log, 'utf8');
    if (code !== 0 || log.includes('panicked')) throw new Error(`the node ended with ${code}:\n${this.logTail()}`);
  }

  // Ends it at once, whatever state it is in.
  kill() {
    this.process?.kill('SIGKILL');
  }

  logTail() {
    return fs.existsSync(this.log) ? fs.readFileSync(this.log, 'utf8').split('\n').slice(-25).join('\n') : '(it logged nothing)';
  }

  // How many follow a channel.
  async subscribers(channel) {
    const answer = await fetch(`http://${this.api}/channels/${encodeURIComponent(channel)}`);
    return answer.ok ? (await answer.json()).subscribers : 0;
  }
}

module.exports = { Node };
