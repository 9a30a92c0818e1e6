// Follows a channel with npm's `ws`: `node subscribe.js ws://HOST:8080/live CHANNEL`, and prints each message as a line.
// When the connection ends it comes back with the place that it has reached, so that nothing is missed.
'use strict';
const { WebSocket } = require('ws');
const [url, channel] = process.argv.slice(2);
const BACKOFF_MAX_MS = 30_000;
let epoch, offset, attempts = 0;

function connect() {
  const ws = new WebSocket(url);
  const since = epoch && `${epoch}-${offset}`;
  ws.on('open', () => ws.send(JSON.stringify({ type: 'subscribe', channel, since })));
  ws.on('message', (text) => {
    const message = JSON.parse(text);
    attempts = 0;
    if (message.type === 'subscribed' && !epoch) [epoch, offset] = message.cursor.split('-');
    if (message.type === 'notification') offset = message.offset;
    // What lies between `from` and `to` is lost, and `cursor` is the place behind it.
    if (message.type === 'gap') [epoch, offset] = message.cursor.split('-');
    console.log(JSON.stringify(message));
  });
  ws.on('error', (error) => console.error(error.message));
  ws.on('close', (code, reason) => {
    // A node that goes away says when to come back; else wait longer each time, at random, since others wait as well.
    const asked = /retry_after_ms=(\d+)/.exec(reason)?.[1];
    const backoff = Math.random() * Math.min(BACKOFF_MAX_MS, 1000 * 2 ** attempts++);
    setTimeout(connect, asked ? Number(asked) : backoff);
  });
}

connect();
