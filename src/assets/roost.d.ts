// Types of roost.js, the client of roost. What a member does is told here; why it does so, at the head of roost.js.

/** The ways to the server, best first. */
export type RoostTransport = 'websocket' | 'sse' | 'poll';

/** One publication, as the server sends it. */
export interface RoostNotification<Data = any> {
  type: 'notification';
  channel: string;
  /** What was published, as JSON.parse reads it: numbers beyond 2^53 lose their last digits. */
  data: Data;
  /** When it was published, in milliseconds since 1970. */
  timestamp: number;
  /** Its number in the channel, from 1. Without a `gap` the next one's is one more. */
  offset: number;
}

/** Publications that this client does not get: not kept long enough, overtaken, or of a numbering that is no more. */
export interface RoostGap {
  type: 'gap';
  channel: string;
  /** The first missing offset. */
  from: number;
  /** The last missing offset; one less than `from` where a new numbering begins and nothing has been published in it. */
  to: number;
  /** The place behind the gap. */
  cursor: string;
}

export interface RoostPresence {
  type: 'presence';
  channel: string;
  /** How many connections follow the channel. */
  count: number;
  /** Who they are, where the server tells. */
  users?: unknown[];
}

export interface RoostPublished {
  type: 'published';
  channel: string;
  offset: number;
}

export interface RoostClose {
  /**
   * The WebSocket close code or the HTTP status; 1006 where the network cut the line; 0 where this client did, or where there was
   * no answer.
   */
  code: number;
  /** The server's words; of this client's own: "hidden", "pagehide", "online", "resumed", "silent", "closed". */
  reason: string;
  /** It does not come back by itself: the server does not want it, the token is refused, or `close` was called. */
  final: boolean;
}

/**
 * `code` is one of PROTOCOL's error codes (`forbidden`, `bad_channel`, `too_many_channels`, …), `http_STATUS`, or of this client's
 * own: `timeout` (no answer in time), `outcome_unknown` (the line was cut before the answer; it may have been carried out),
 * `closed`, `token` (the token callback failed).
 */
export interface RoostError extends Error {
  code: string;
  channel?: string;
}

export interface RoostEvents {
  /** Connected, at first or again. */
  open: { transport: RoostTransport };
  /** A connection, or an attempt at one, has ended. */
  close: RoostClose;
  /** Another transport than before delivers now. */
  transport: RoostTransport;
  /** Notifications are lost: fetch the state of the channel anew. */
  gap: RoostGap;
  /** What failed and is not told otherwise; printed to the console if nobody listens. */
  error: RoostError;
  /** The server tells that another number follows a channel; over a WebSocket only. */
  presence: RoostPresence;
}

export interface RoostOptions {
  /** A JWT, or what makes one; called again when the server wants another, and shortly before it expires. */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Which transports are tried, in this order; all by default. */
  transports?: RoostTransport[];
  /**
   * What becomes of a page that nobody looks at. `close` (default): no connection until somebody does, then what was missed. `quiet`:
   * the latest of each channel once a second, with gaps; without a WebSocket it closes. `stay`: nothing changes.
   */
  hidden?: 'close' | 'quiet' | 'stay';
  /** For how many milliseconds the page must be hidden before; 30,000 by default. */
  hiddenAfter?: number;
  /** How many milliseconds to wait for a first sign of life, a pong, or an answer; 8,000 by default. */
  timeout?: number;
  /** In place of the global one: Node.js 20 has none, `ws` is one. */
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  /** In place of the global one. */
  fetch?: (url: string, init?: any) => Promise<any>;
  /** In place of Math.random. */
  random?: () => number;
}

export class Roost {
  /** Connects at once. `url` is that of `/live`, relative or not; the fallbacks are its siblings `events` and `poll`. */
  constructor(url: string | URL, options?: RoostOptions);

  /**
   * Hands every notification of the channel to `listener`, once and in order, from now on or from behind the cursor `since` on (which
   * only the first listener of a channel decides). Returns what undoes it. At most 128 channels; a name is 1 to 164 of
   * `A-Z a-z 0-9 _ - = @ , . ; : /`: otherwise there is an `error` event.
   */
  subscribe<Data = any>(
    channel: string,
    listener: (notification: RoostNotification<Data>) => void,
    options?: { since?: string },
  ): () => void;

  /** Takes `listener` off the channel, or all of them. The last one ends the subscription. */
  unsubscribe(channel: string, listener?: (notification: RoostNotification) => void): void;

  /** Publishes where the channel's policy lets clients. Waits for a connection; is sent once at most. Rejects with RoostError. */
  publish(channel: string, data: unknown): Promise<RoostPublished>;

  /** How many follow the channel, where its policy counts them. Rejects with RoostError. */
  presence(channel: string): Promise<RoostPresence>;

  on<Name extends keyof RoostEvents>(event: Name, handler: (value: RoostEvents[Name]) => void): this;
  off<Name extends keyof RoostEvents>(event: Name, handler: (value: RoostEvents[Name]) => void): this;

  /** What delivers now; null while there is no connection. */
  get transport(): RoostTransport | null;

  /** The place reached in a channel, `EPOCH-OFFSET`, as `since` takes it; undefined while none is known. */
  cursor(channel: string): string | undefined;

  /** Connects again after an end that was final, with the subscriptions as they are. */
  open(): void;

  /** Ends the connection, finally. */
  close(): void;
}

export default Roost;

declare global {
  interface Window {
    /** Set by a classic `<script src="/roost.js">`. */
    Roost: typeof Roost;
  }
}
