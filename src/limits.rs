//! Every bound of the node, with its unit and its default, in one place. Must never know where a value came from.

/// Bytes of a request head, request line included (PROTOCOL: 8 KiB).
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Header lines of a request head.
pub const HEAD_HEADERS_MAX: usize = 64;
/// Bytes of a control frame's payload (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Fragments that a message may have before its size earns it more: `FRAGMENTS_BASE + bytes / FRAGMENT_BYTES_MEAN`.
pub const FRAGMENTS_BASE: usize = 128;
/// Mean payload bytes that fragments beyond [`FRAGMENTS_BASE`] must carry.
pub const FRAGMENT_BYTES_MEAN: usize = 32;
/// Bytes of a channel name.
pub const CHANNEL_NAME_BYTES_MAX: usize = 164;
/// Data bytes of one publication through the API.
pub const PUBLICATION_BYTES_MAX: usize = 64 * 1024;
/// Body bytes of one publish call: the data, and the names of as many channels as it may go to.
pub const PUBLISH_BODY_BYTES_MAX: usize =
    PUBLICATION_BYTES_MAX + PUBLISH_CHANNELS_MAX * (CHANNEL_NAME_BYTES_MAX + 8) + 1024;
/// Bytes of a body that asks for something to be done, such as a drain.
pub const ORDER_BODY_BYTES_MAX: usize = 4 * 1024;
/// Connections to the API at once.
pub const API_CONNS_MAX: usize = 1024;
/// Requests of one API connection served before the others get their turn.
pub const API_BUDGET_REQUESTS: usize = 256;
/// Bytes of an API connection's input that wait while a call is being answered.
pub const API_INPUT_BYTES_MAX: usize = 64 * 1024;
/// Time for a request to arrive in full, and for its answer to be taken, in milliseconds.
pub const API_REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Time that an idle API connection is kept, in milliseconds.
pub const API_IDLE_TIMEOUT_MS: u64 = 75_000;
/// Time that the shards have to answer a call, in milliseconds.
pub const CALL_TIMEOUT_MS: u64 = 5_000;
/// Body bytes of one NDJSON publish call.
pub const NDJSON_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Channels named in one publish call.
pub const PUBLISH_CHANNELS_MAX: usize = 1024;
/// Shards of a node: an owner keeps the set of interested shards in one `u128`.
pub const SHARDS_MAX: usize = 128;
/// Receive buffer of a shard, shared by all its connections, in bytes.
pub const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Bytes read from one connection before the others get their turn.
pub const READ_BUDGET_BYTES: usize = 256 * 1024;
/// Connections accepted by a shard in one turn.
pub const ACCEPT_BUDGET: usize = 64;
/// Newcomers refused by a shard in one turn: each takes the kernel longer than one that is accepted.
pub const REFUSE_BUDGET: usize = 64;
/// Connections over an even share from which on a shard leaves newcomers at a shared socket to the others.
pub const SHARING_SLACK: usize = 8;
/// And one in so many of the even share: see [`SHARING_SLACK`].
pub const SHARING_SLACK_PART: usize = 16;
/// Time until a shard that left a client at a shared socket to the others looks whether they took it, in milliseconds.
pub const SHARING_LOOK_MS: u64 = 5;
/// Time after which a full shard refuses, in milliseconds, where others have room and none of them accepts.
pub const SHARING_FULL_PATIENCE_MS: u64 = 1000;
/// Refused clients that linger at one shard, and the part of a descriptor table that they may take: one in so many.
pub const REFUSED_MAX: usize = 64;
/// See [`REFUSED_MAX`].
pub const REFUSED_PART: usize = 32;
/// Time that a refused client has to send its request and to hang up, in milliseconds.
pub const REFUSED_LINGER_MS: u64 = 1000;
/// Reads from one refused client at one look.
pub const REFUSED_READS: usize = 8;
/// Connections that may be read in one turn.
pub const READY_BUDGET: usize = 1024;
/// Direct writes of passes in one turn: a third of a millisecond of kernel time, after which mail and events have theirs.
pub const PASS_BUDGET_WRITES: usize = 64;
/// How many of them may go to passes that begin, so that long ones go on whatever else is published.
pub const PASS_FRESH_WRITES: usize = 48;
/// Shards a core that all go on with large fan-outs at once. Where there are more, one a core does: then nobody's answer waits
/// for fifty others, and each write wakes a client on the same host that was asleep, which costs a quarter more.
pub const SHARDS_PER_CORE_UNGATED: usize = 4;
/// Direct writes for one channel before the next channel's turn: ten subscribers do not wait for a million.
pub const PASS_QUANTUM_WRITES: usize = 16;
/// Bytes of publications joined into one write of a pass.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;
/// Chunks handed to one vectored write.
pub const WRITE_CHUNKS_MAX: usize = 64;
/// Bytes waiting in one shard's mailbox before publications are refused with `overloaded`.
pub const MAILBOX_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that a lingering connection may still send before it is cut.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Time that a published channel without subscribers keeps its numbering, in milliseconds.
pub const CHANNEL_KEEP_MS: u64 = 120_000;
/// Time after which a node that is not heard of counts as dead for the others, in milliseconds; several of its beats.
pub const BROKER_NODE_MS: u64 = 3_500;
/// Time that other nodes have to answer a call, in milliseconds. What they do not say by then is left out.
pub const DISTANT_TIMEOUT_MS: u64 = 1_000;
/// Bytes of what a broker's keys begin with.
pub const BROKER_PREFIX_BYTES_MAX: usize = 64;
/// Bytes of publications that may wait for a broker's answer: those beyond are refused.
pub const BROKER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Questions that go to a broker together, at most.
pub const BROKER_BATCH_MAX: usize = 512;
/// Batches of questions to a broker that are under way at once.
pub const BROKER_BATCHES_MAX: usize = 8;
/// Publications from a broker that are handed on together.
pub const BROKER_HEARD_MAX: usize = 1024;
/// Publications that a broker gives out of what it keeps at once.
pub const BROKER_PAGE: usize = 64;
/// Bytes of the same; the first one may have more.
pub const BROKER_PAGE_BYTES: usize = 64 * 1024;
/// What a question for those weighs in [`BROKER_BATCH_MAX`]: so many pages may be on their way at once that they fit into memory.
pub const BROKER_FETCH_WEIGHT: usize = 16;
/// Time after which a broker that does not answer is lost, in milliseconds.
pub const BROKER_TIMEOUT_MS: u64 = 5_000;
/// Time between two looks whether a broker lives, in milliseconds.
pub const BROKER_TICK_MS: u64 = 1_000;
/// Every channel that is followed is looked at once in so many of those.
pub const BROKER_LOOK_TICKS: usize = 120;
/// Time that a broker keeps the numbering of a channel that nobody follows or publishes to, in milliseconds; longer than publishers may
/// try again, and than several looks take.
pub const BROKER_NUMBERING_MS: u64 = 600_000;
/// Time before a broker is tried again, at most, in milliseconds; it doubles with each failure.
pub const BROKER_RETRY_MS: u64 = 100;
/// Up to this.
pub const BROKER_RETRY_MS_MAX: u64 = 2_000;
/// Publications of one channel that came from a broker before their turn. What comes beyond is fetched again later.
pub const MIRROR_HELD_MAX: usize = 1024;
/// Channels that one owner shard numbers.
pub const OWNED_CHANNELS_MAX: usize = 8 * 1024 * 1024;
/// Bytes of chunk extensions in one request body; nobody sends any.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// Bytes of trailers after one request body.
pub const TRAILER_BYTES_MAX: usize = 8 * 1024;
/// Channel prefixes that may have a policy of their own.
pub const CHANNEL_POLICIES_MAX: usize = 1024;
/// Connections that `--max-connections` may ask for: the most descriptors that Linux lets a table hold.
pub const CONNECTIONS_MAX: usize = 1 << 30;
/// Bytes that `--max-message` may ask for.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes that `--queue-soft` and `--queue-hard` may ask for.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Bytes that a socket buffer option may ask for: the kernel doubles it and keeps it in a C `int`.
pub const SOCKET_BUFFER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Time that a timeout option may ask for, in milliseconds: a day.
pub const TIMEOUT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Bytes of a node's name: those of the longest host name (RFC 1035 §2.3.4).
pub const NODE_NAME_BYTES_MAX: usize = 253;
/// Bytes of the path of a Unix socket: `sun_path` less its final zero (unix(7)).
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Bytes of a configuration file.
pub const CONFIG_FILE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that `roost publish CHANNEL -` takes from its standard input.
pub const STDIN_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an API answer's body that the command line takes.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Time that the command line waits for a connection or for one read or write of an API call, in milliseconds.
pub const CLIENT_TIMEOUT_MS: u64 = 10_000;
/// Longest first wait before `roost tail` connects again, in milliseconds; it doubles with each failure.
pub const RECONNECT_BASE_MS: u64 = 500;
/// Longest wait before `roost tail` connects again, in milliseconds.
pub const RECONNECT_CAP_MS: u64 = 30_000;
/// Descriptors that each table of `roost bench` keeps for what is not a client: polls, bells, files of /proc, publishers.
pub const BENCH_RESERVED_FDS: u64 = 256;
/// Connects that one thread of `roost bench` has in flight, unless told otherwise.
pub const BENCH_IN_FLIGHT: usize = 256;
/// Clients that one thread of `roost bench` dials before it looks at what came back.
pub const BENCH_DIAL_BUDGET: usize = 64;
/// Source ports that `roost bench` tries for one client before it gives up.
pub const BENCH_PORT_TRIES: usize = 4096;
/// Bytes of the receive buffer that all clients of one thread of `roost bench` share.
pub const BENCH_BUFFER_BYTES: usize = 256 * 1024;
/// Payload bytes of a message that `roost bench` accepts from a server.
pub const BENCH_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of the answer to a request that `roost bench` waits for.
pub const BENCH_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Complaints that `roost bench` keeps and prints in full; further ones are counted.
pub const BENCH_COMPLAINTS_MAX: usize = 16;
/// Threads, and so descriptor tables, of `roost bench`.
pub const BENCH_THREADS_MAX: usize = 1024;
/// Messages that one echo client keeps in flight.
pub const BENCH_DEPTH_MAX: u16 = 1024;
/// Longest latency that a histogram of `roost bench` tells apart, in nanoseconds.
pub const BENCH_LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Alternating rounds of one run of `roost bench`.
pub const BENCH_ROUNDS_MAX: usize = 1000;

/// Channels that one shard lists for one API call.
pub const CHANNELS_LISTED_MAX: usize = 10_000;
/// Connections that `GET /connections` tells of, unless it is told otherwise.
pub const CONNECTIONS_LISTED: usize = 20;
/// Connections that `GET /connections` tells of at most.
pub const CONNECTIONS_LISTED_MAX: usize = 1_000;
/// Channels of each that are named there.
pub const CHANNELS_TOLD: usize = 3;
/// Looks at connections in one turn of a walk for the API: as many as a survey takes, and as long.
pub const WALK_BUDGET: usize = 4 * 1024;
/// What a question to the kernel about a socket weighs against a look at a connection in memory. It takes up to three
/// microseconds (`getpeername`, `TCP_INFO`, two busy cores), so that those of a turn take less than half a millisecond.
pub const KERNEL_LOOKS: usize = 32;
/// Walks that may wait for one another in a shard; whoever asks for more is not answered.
pub const WALKS_MAX: usize = 64;
/// Time over which `POST /disconnect` may spread the ends, in milliseconds: an hour.
pub const DISCONNECT_OVER_MS_MAX: u64 = 60 * 60 * 1000;
/// Calls of `POST /disconnect` that a shard carries out at once; each remembers eight bytes for each connection that has to go.
pub const KICKS_MAX: usize = 16;
/// Connections that such calls end in one turn.
pub const KICK_BUDGET: usize = 256;
/// Owned channels looked at, and kept publications dropped, in one turn because their time may be over.
pub const EXPIRY_BUDGET: usize = 1024;
/// Slots that the clock hand visits in one turn at most.
pub const SWEEP_BUDGET: usize = 16 * 1024;
/// Moments that a shard remembers to tell the ages of its connections by: 8 KB. Thinned out to a 64th of their age, those of a
/// month are fewer.
pub const AGE_MARKS_MAX: usize = 1024;
/// Random part of the time that a goodbye asks a client to stay away, in milliseconds: the goodbyes themselves are spread.
pub const DRAIN_RETRY_MS: u64 = 1000;
/// Time from one goodbye of a shard to the next where the process is to end, in milliseconds at most: a few clients are no crowd.
pub const DRAIN_PACE_MS: u64 = 50;
/// Behind the last goodbye, the time for clients to answer it before the process ends, in milliseconds.
pub const DRAIN_FAREWELL_MS: u64 = 2000;
/// The goodbyes of a drain that fall into so many milliseconds share a turn.
pub const DRAIN_STEP_MS: u64 = 20;
/// Connections said goodbye to in one turn of a drain.
pub const DRAIN_BUDGET: usize = 512;

/// Longest wait that a node may ask `roost tail` for, in milliseconds.
pub const RETRY_AFTER_MS_MAX: u64 = 300_000;
/// Time without any byte after which `roost tail` gives a connection up before it was told the ping interval, in milliseconds.
pub const SILENCE_MS_MAX: u64 = 90_000;

/// Bytes of memory that one idle connection takes, nearly all of it the kernel's: socket, inode, file, dentry and epoll
/// item are 3.8 KB on Linux 6.18, the node's own part and a little slack the rest.
pub const CONN_MEMORY_BYTES: usize = 4200;
/// Connections freed in one turn: closing a socket takes the kernel several microseconds.
pub const FREE_BUDGET: usize = 64;
/// Connections, channels and queued pieces that a survey of a shard's memory looks at in one turn: each look may miss the
/// processor's caches, and all of a turn together take a tenth of a millisecond.
pub const SURVEY_BUDGET: usize = 4096;
/// Queues that a shard looks at for one look of the status page, the largest first: some thousand cache misses.
pub const LAGS_LOOKED_MAX: usize = 1024;
/// Connections with the largest queues that a shard names for one look of the status page, and the page for all shards.
pub const SLOWEST_LISTED_MAX: usize = 8;
/// Channels with the most subscribers that a shard names in one survey: more than the page shows, so that those that are large
/// in all shards together are among them.
pub const CHANNELS_RANKED_MAX: usize = 32;
/// Channels that the status page lists.
pub const STATUS_CHANNELS_MAX: usize = 10;
/// Streams of the status page at once.
pub const STATUS_WATCHERS_MAX: usize = 16;
/// Time from one look for those who watch to the next, in milliseconds.
pub const STATUS_LOOK_MS: u64 = 1000;
/// The least time that a rate of the status page is taken over, in milliseconds.
pub const STATUS_RATE_MS_MIN: u64 = 900;
/// Time for which the status page shows what one survey found, in milliseconds: `shard/survey.rs` says what one takes.
pub const STATUS_SURVEY_MS: u64 = 5000;
/// Longest first wait that a stream of the status page asks its client for before it connects again, in milliseconds; half of it
/// is jitter.
pub const STATUS_RETRY_MS: u64 = 2000;

/// Publications that `--history` and a policy may ask to be kept.
pub const HISTORY_COUNT_MAX: usize = 100_000;
/// Bytes that `--history-bytes` may ask for.
pub const HISTORY_BYTES_MAX: usize = 64 * 1024 * 1024 * 1024;
/// What a kept publication weighs beside its frame, in bytes: its slot in the ring and another one that may be empty (24
/// each), the counts of shared bytes (16), and what the allocator adds to both (16).
pub const HISTORY_OVERHEAD_BYTES: usize = 80;
/// Bytes of what a client missed that go to it at once; more follows when it has taken these.
pub const REPLAY_PAGE_BYTES_MAX: usize = 32 * 1024;
/// Pages of missed publications that are fetched in one turn.
pub const REPLAY_BUDGET_PAGES: usize = 32;

/// Bytes that `--queue-total` may ask for.
pub const QUEUE_TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024 * 1024 * 1024;
/// What a piece of a queue weighs beside its bytes: its slot and another one that may be empty (32 each), and what the
/// allocator or the counts of shared bytes add (16).
pub const QUEUE_CHUNK_BYTES: usize = 80;
/// Lags that one shard acts on in one turn while the node has more queued than it may: each takes up to some ten
/// microseconds, most of it for the pieces that are let go and the channels that are left.
pub const CUT_BUDGET: usize = 64;
/// Bytes of the `id` of a publication.
pub const PUBLISH_ID_BYTES_MAX: usize = 128;
/// Time in which a publication with the same `id` is taken for the same, in milliseconds (PROTOCOL §4).
pub const PUBLISH_ID_KEEP_MS: u64 = 300_000;
/// What a remembered `id` weighs beside its bytes: its place in the row and another one that may be empty (32 each), its
/// hash (12), and what the allocator adds (16), rounded up.
pub const PUBLISH_ID_OVERHEAD_BYTES: usize = 96;

/// Time from the first change of a presence channel's count to its announcement, in milliseconds (PROTOCOL: a page that is
/// loaded anew does not flap).
pub const PRESENCE_DEBOUNCE_MS: u64 = 3_000;
/// Users that are named who follow a channel, the first by name.
pub const PRESENCE_USERS_MAX: usize = 1_000;
/// Users that an announcement names who came or went; where there are more it names none, and whoever wants to know asks.
pub const PRESENCE_MOVED_MAX: usize = 100;
/// Presence channels whose count is looked at, and announced if it has changed, in one turn.
pub const PRESENCE_BUDGET: usize = 256;

/// Conflation keys of one channel of which the latest publication is kept for those who lag, in each shard.
pub const LATEST_KEYS_MAX: usize = 1024;
/// Bytes of publications kept of one channel for those who lag, in each shard.
pub const LATEST_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a conflation key.
pub const CONFLATION_KEY_BYTES_MAX: usize = 164;
/// Connections that get the latest of what they lag behind in one turn, each in one write, and rests that end in one turn.
pub const CATCH_UP_BUDGET: usize = 64;
/// Time from one delivery to a hidden connection to the next, in milliseconds.
pub const HIDDEN_REST_MS: u64 = 1000;

/// A client is told so long before its token ends, in milliseconds.
pub const TOKEN_WARNING_MS: u64 = 30_000;
/// Origins that `--origin` may list: each has a number that fits into a byte of every connection.
pub const ORIGINS_MAX: usize = 250;
/// Time from one comment to the next on a stream of events, so that no proxy takes it for dead, in milliseconds (PROTOCOL §3).
pub const HEARTBEAT_MS: u64 = 15_000;
/// A client whose stream of events ended comes back after a random time between this and twice as much, in milliseconds.
pub const STREAM_RETRY_MS: u64 = 1_000;
/// Seconds that a poll may be held, and that it is held when it does not say (PROTOCOL §3).
pub const POLL_WAIT_S_MAX: u64 = 55;
/// See [`POLL_WAIT_S_MAX`].
pub const POLL_WAIT_S: u64 = 25;
/// Bytes of messages that answer one poll (PROTOCOL §3).
pub const POLL_BATCH_BYTES_MAX: usize = 256 * 1024;
/// Time that a connection is kept between two requests, in milliseconds: longer than what proxies keep theirs for, so that
/// it is they who end it.
pub const KEEP_ALIVE_MS: u64 = 75_000;
/// Bytes of answers that may wait for a client that sends one request behind another before the last one is answered; then its
/// connection ends behind them.
pub const PIPELINED_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a token. One in a request's head has less room.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Channels and prefixes that one token may name, for subscribing and publishing together.
pub const TOKEN_PATTERNS_MAX: usize = 256;
/// Bytes of the user that a token is for: what OpenID Connect allows a `sub`.
pub const USER_BYTES_MAX: usize = 255;
/// How far the clocks of a node and of whoever issues its tokens may differ, in seconds.
pub const TOKEN_LEEWAY_S: u64 = 10;
/// The last moment that a token may name, in seconds since the Unix epoch: the end of the year 9999. What is later was
/// meant as milliseconds.
pub const MOMENT_S_MAX: u64 = 253_402_300_799;
/// Keys that tokens may be signed with.
pub const KEYS_MAX: usize = 64;
/// Keys that a token which names none is tried with. Each try costs a check of a signature, whoever asks for it.
pub const TOKEN_KEYS_TRIED_MAX: usize = 4;
/// Bytes of a key, or of the file that it is in.
pub const KEY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a key's name.
pub const KEY_ID_BYTES_MAX: usize = 128;
/// Bytes of a secret for HS256: as many as its hash has (RFC 7518 §3.2).
pub const HS256_SECRET_BYTES_MIN: usize = 32;
/// Bits of an RSA key (RFC 7518 §3.3).
pub const RSA_BITS_MIN: usize = 2048;
/// Bits of an RSA key that the library still verifies with.
pub const RSA_BITS_MAX: usize = 8192;
/// Bytes of a key set.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// Bytes of the head of the answer that a key set comes in.
pub const KEY_SET_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time in which a key set must be there once it is asked for, in milliseconds.
pub const KEY_SET_TIMEOUT_MS: u64 = 10_000;
/// Time after which a key set is looked at anew where its answer says nothing about that, in milliseconds.
pub const KEY_SET_KEEP_MS: u64 = 600_000;
/// The least that an answer may ask for, in milliseconds.
pub const KEY_SET_KEEP_MS_MIN: u64 = 60_000;
/// The most, in milliseconds: a key that was taken back is forgotten after a day.
pub const KEY_SET_KEEP_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Time from one look at a key set to the next one that a token with an unknown key may cause, in milliseconds.
pub const KEY_SET_PAUSE_MS: u64 = 30_000;
/// Wait after a first failure, in milliseconds; it doubles with each, up to [`KEY_SET_RETRY_MS_MAX`].
pub const KEY_SET_RETRY_MS: u64 = 5_000;
/// See [`KEY_SET_RETRY_MS`].
pub const KEY_SET_RETRY_MS_MAX: u64 = 300_000;
/// Users that are shut out at once.
pub const REVOCATIONS_MAX: usize = 16 * 1024;
/// Time that a user is shut out at least, in seconds: longer where a token was seen that lives longer.
pub const REVOCATION_KEEP_S: u64 = 24 * 60 * 60;

/// The bounds that an operator may set, as the shards see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of a client's message; a frame announcing more is refused before a byte of it is stored.
    pub message_bytes_max: usize,
    /// Channels that one connection may be subscribed to.
    pub channels_per_conn_max: usize,
    /// Client messages per second that are always accepted; control frames count.
    pub messages_per_second: u32,
    /// Client messages accepted at once by a connection that was quiet.
    pub messages_burst: u32,
    /// Bytes queued to one connection that it may keep for [`Limits::queue_soft_for_ms`].
    pub queue_soft_bytes: usize,
    /// How long the soft bound may be exceeded, in milliseconds.
    pub queue_soft_for_ms: u64,
    /// Bytes queued to one connection before it is cut at once.
    pub queue_hard_bytes: usize,
    /// Bytes queued to all connections of the node, with [`QUEUE_CHUNK_BYTES`] for each piece; over it, the largest lags are
    /// cut first.
    pub queue_total_bytes: usize,
    /// Time to complete the upgrade, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Silence after which a ping is sent, in milliseconds.
    pub ping_interval_ms: u64,
    /// Silence after which a connection is given up, in milliseconds.
    pub idle_timeout_ms: u64,
    /// Time for a peer to answer a close frame, or to close after the last answer, in milliseconds.
    pub close_timeout_ms: u64,
    /// Age at which a connection has to go, in milliseconds, or up to a fifth of it earlier; 0 lets it stay.
    pub age_max_ms: u64,
    /// Connections that one shard holds.
    pub conns_per_shard_max: usize,
    /// See [`PASS_QUANTUM_WRITES`]; less makes a short list as hard to walk as a long one.
    pub pass_quantum_writes: usize,
    /// Bytes of history that the node keeps, with [`HISTORY_OVERHEAD_BYTES`] for each publication; every shard has an
    /// equal share of them for the channels that it numbers.
    pub history_bytes: usize,
    /// The same for one channel.
    pub history_channel_bytes: usize,
    /// Ids of publications that the node remembers; every shard has an equal share of them for the channels that it numbers.
    /// Where there are more within [`PUBLISH_ID_KEEP_MS`], the oldest are forgotten earlier.
    pub publish_ids: usize,
    /// Bytes of the same, with [`PUBLISH_ID_OVERHEAD_BYTES`] for each.
    pub publish_ids_bytes: usize,
}

impl Limits {
    /// Bytes of what a client missed that go to it at once. A page that it does not take at once, with as much again
    /// beside it, stays below what may wait for as long as it likes.
    #[must_use]
    pub fn replay_page_bytes(&self) -> usize {
        REPLAY_PAGE_BYTES_MAX.min(self.queue_soft_bytes / 2)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes_max: 64 * 1024,
            channels_per_conn_max: 128,
            messages_per_second: 50,
            messages_burst: 100,
            queue_soft_bytes: 64 * 1024,
            queue_soft_for_ms: 10_000,
            queue_hard_bytes: 256 * 1024,
            queue_total_bytes: QUEUE_TOTAL_BYTES_MAX,
            handshake_timeout_ms: 10_000,
            ping_interval_ms: 25_000,
            idle_timeout_ms: 60_000,
            close_timeout_ms: 2_000,
            age_max_ms: 0,
            conns_per_shard_max: usize::MAX,
            pass_quantum_writes: PASS_QUANTUM_WRITES,
            history_bytes: 64 * 1024 * 1024,
            history_channel_bytes: 4 * 1024 * 1024,
            publish_ids: 1024 * 1024,
            publish_ids_bytes: 128 * 1024 * 1024,
        }
    }
}

/// Lines of one kind that the log takes at once.
pub const LOG_BURST_LINES: u64 = 16;

/// Milliseconds from one line to the next of a kind that comes in a flood.
pub const LOG_PAUSE_MS: u64 = 1000;
