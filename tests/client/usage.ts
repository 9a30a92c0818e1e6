// What a page may write, held against roost.d.ts by `tsc --strict`. Is never run.
import DefaultRoost, { Roost, type RoostGap, type RoostTransport } from '../../src/assets/roost.js';

interface Price {
  symbol: string;
  cents: number;
}

const roost: Roost = new DefaultRoost('wss://host/live', {
  token: async () => 'jwt',
  transports: ['websocket', 'poll'],
  hidden: 'quiet',
  hiddenAfter: 10_000,
  timeout: 5_000,
});

const leave: () => void = roost.subscribe<Price>('prices', ({ data, offset }) => {
  const cents: number = data.cents + offset;
  return cents;
}, { since: 'abc-7' });
roost.subscribe('anything', (message) => message.data.whatever);
leave();

roost
  .on('gap', (gap: RoostGap) => gap.to - gap.from)
  .on('transport', (transport: RoostTransport) => transport)
  .on('close', ({ code, reason, final }) => `${code + 1} ${reason.length} ${!final}`)
  .on('error', (error) => error.code + error.message)
  .off('open', () => {});

roost.publish('prices', { symbol: 'A', cents: 1 }).then(({ offset }) => offset + 1);
roost.presence('prices').then(({ count }) => count + 1);
const reached: string | undefined = roost.cursor('prices');
const transport: RoostTransport | null = roost.transport;
window.Roost = Roost;
console.log(reached, transport);

// @ts-expect-error: there is no such event.
roost.on('message', () => {});
// @ts-expect-error: a listener takes a notification.
roost.subscribe('prices', (message: RoostGap) => message.from);
// @ts-expect-error: there is no such transport.
new Roost('/live', { transports: ['websockets'] });
// @ts-expect-error: a token is no number.
new Roost('/live', { token: () => 7 });
