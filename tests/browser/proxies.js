// Starts nginx and HAProxy from the files in proxies/, on a port of their own, and ends them by their process ids.
// Both know the node by its address and serve the scenarios' page. They are handed their listening socket, so nobody can take
// the port before they do.
'use strict';
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { once } = require('node:events');
const { LOOK_MS, pause, withDeadline } = require('./common');

const CONFIGS = path.join(__dirname, 'proxies');
const PAGE = path.join(__dirname, 'page.html');
// What users find.
const EXAMPLE = path.join(__dirname, '..', 'e2e', 'clients', 'browser.html');
// Debian keeps both where only root's PATH leads.
const NGINX = '/usr/sbin/nginx';
const HAPROXY = '/usr/sbin/haproxy';
const START_SECONDS = 10;
const END_SECONDS = 10;

// A proxy in front of `node`; `folder` is its own.
class Proxy {
  constructor(folder, node) {
    this.folder = folder;
    this.node = node;
    this.log = path.join(folder, `${this.constructor.kind}.log`);
  }

  // Starts it on a port of its own, or on the one that it had before.
  async start() {
    const sockets = [await this.listen('port'), await this.listen('adminPort')];
    const [program, options, environment] = this.command();
    const log = fs.openSync(this.log, 'a');
    this.process = spawn(program, options, {
      cwd: this.folder,
      env: { ...process.env, ...environment },
      stdio: ['ignore', log, log, ...sockets.map((socket) => socket._handle.fd)],
    });
    // From here on the proxy is the only one that accepts.
    sockets.forEach((socket) => socket.close());
    fs.closeSync(log);
    this.ended = once(this.process, 'exit');
    const died = this.ended.then(() => {
      throw new Error(`${this.constructor.kind} did not start:\n${fs.readFileSync(this.log, 'utf8')}`);
    });
    const page = fetch(`http://127.0.0.1:${this.port}/page.html`);
    await withDeadline(Promise.race([page, died]), START_SECONDS, `the start of ${this.constructor.kind}`);
    // Later it ends because it is told to.
    died.catch(() => {});
  }

  // A listening socket on `this[port]`, which is chosen at the first time.
  async listen(port) {
    const deadline = Date.now() + START_SECONDS * 1000;
    for (;;) {
      const socket = net.createServer().listen(this[port] ?? 0, '127.0.0.1');
      try {
        await once(socket, 'listening');
        this[port] = socket.address().port;
        return socket;
      } catch (error) {
        // Its port may have been given to somebody's connection while it was away.
        if (error.code !== 'EADDRINUSE' || Date.now() > deadline) throw error;
        await pause(LOOK_MS);
      }
    }
  }

  // The origin of the pages behind it; `host` says how it treats them.
  origin(host) {
    return `http://${host}.localhost:${this.port}`;
  }

  // Ends it with everything that goes through it. Newcomers are refused until it is started again.
  async end() {
    this.process.kill('SIGTERM');
    await withDeadline(this.ended, END_SECONDS, `the end of ${this.constructor.kind}`);
  }

  // From now on it accepts connections, as the kernel does that for it, and moves no byte.
  halt() {
    this.halted = this.pids();
    this.halted.forEach((pid) => process.kill(pid, 'SIGSTOP'));
  }

  goOn() {
    this.halted?.forEach((pid) => process.kill(pid, 'SIGCONT'));
    this.halted = undefined;
  }

  kill() {
    this.goOn();
    this.process?.kill('SIGTERM');
  }
}

class Nginx extends Proxy {
  static kind = 'nginx';

  command() {
    const write = (name, text) => fs.writeFileSync(path.join(this.folder, name), text);
    write('listen.conf', `listen 127.0.0.1:${this.port};\n`);
    write('node.conf', `server ${this.node.public};\n`);
    write('nginx.conf', fs.readFileSync(path.join(CONFIGS, 'nginx.conf')));
    [PAGE, EXAMPLE].forEach((page) => write(path.basename(page), fs.readFileSync(page)));
    const options = ['-p', this.folder, '-c', path.join(this.folder, 'nginx.conf')];
    // Its workers must be able to read the page, wherever this tree lies.
    if (process.getuid() === 0) options.push('-g', 'user root;');
    // How nginx hands its sockets to its successor; whoever starts it may do the same.
    return [NGINX, options, { NGINX: '3;' }];
  }

  // Cuts every connection, as a reload does to what outlives worker_shutdown_timeout.
  async cut() {
    this.process.kill('SIGHUP');
  }

  // From now on the host `door` lets upgrades through.
  async openDoor() {
    fs.writeFileSync(path.join(this.folder, 'open'), '');
  }

  // Its worker is who moves the bytes.
  pids() {
    const children = `/proc/${this.process.pid}/task/${this.process.pid}/children`;
    return fs.readFileSync(children, 'utf8').trim().split(' ').map(Number);
  }
}

class HAProxy extends Proxy {
  static kind = 'haproxy';

  command() {
    const environment = { PAGE, NODE: this.node.public };
    return [HAPROXY, ['-db', '-f', path.join(CONFIGS, 'haproxy.cfg')], environment];
  }

  // Cuts every connection, as an operator does who takes a server out.
  async cut() {
    await this.tell('shutdown sessions server plain/roost');
  }

  // From now on the host `door` lets upgrades through.
  async openDoor() {
    await this.tell('enable server door/roost');
  }

  async tell(command) {
    const admin = net.connect(this.adminPort, '127.0.0.1');
    admin.end(`${command}\n`);
    admin.resume();
    await once(admin, 'close');
  }

  pids() {
    return [this.process.pid];
  }
}

module.exports = { kinds: { nginx: Nginx, haproxy: HAProxy } };
