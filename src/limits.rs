//! Every limit, with its unit in its name. What exceeds one is refused by name and counted.

use std::time::Duration;

/// A request or response head in bytes, request line and fields together: 431 beyond.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Header fields in one head: 431 beyond.
pub const HEAD_FIELD_COUNT: usize = 100;
/// Header fields in a head that a worker gets: the client's, and those the master adds.
pub const FORWARDED_FIELD_COUNT: usize = HEAD_FIELD_COUNT + 16;
/// `Host`, or a target's authority, in bytes: 400 beyond. The longest name of the DNS has 253.
pub const AUTHORITY_BYTES: usize = 512;
/// A request target in bytes: 414 beyond.
pub const TARGET_BYTES: usize = 8 * 1024;
/// Extensions of one chunk-size line in bytes: 400 beyond.
pub const CHUNK_EXTENSION_BYTES: usize = 256;
/// Hexadecimal digits of a chunk size: 400 beyond.
pub const CHUNK_SIZE_DIGIT_COUNT: usize = 16;
/// A trailer section in bytes: 400 beyond.
pub const TRAILER_BYTES: usize = 16 * 1024;
/// Empty lines tolerated before a request line (RFC 9112 §2.2).
pub const LEADING_EMPTY_LINE_COUNT: usize = 2;
/// A request body in bytes unless configured: 413 beyond.
pub const BODY_BYTES: u64 = 100 * 1024 * 1024;
/// A client's own request id in bytes; a longer one is replaced.
pub const REQUEST_ID_BYTES: usize = 128;

/// One I/O block; a connection borrows one only while bytes are pending.
pub const BLOCK_BYTES: usize = 16 * 1024;
/// A request body kept in memory; the rest goes to a file.
pub const SPOOL_MEMORY_PER_REQUEST_BYTES: usize = 64 * 1024;
/// A response held in memory for a slow client before its worker is slowed down.
pub const RESPONSE_BUFFER_BYTES: usize = 256 * 1024;
/// Spooled bytes in memory over the whole process: 503 `spool-full` beyond.
pub const SPOOL_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Spooled bytes in files over the whole process: 503 `spool-full` beyond.
pub const SPOOL_DISK_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Bytes read and thrown away after an early answer (lingering close).
pub const LINGER_BYTES: usize = 256 * 1024;

/// Requests waiting for a worker of one app.
pub const QUEUE_COUNT: u32 = 1000;
/// Times a worker may answer busy or draining before the client gets 503.
pub const BOUNCE_COUNT: u32 = 5;
/// First pause of a worker that said busy; doubles up to [`BUSY_PAUSE_MAX`].
pub const BUSY_PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause of a worker that said busy.
pub const BUSY_PAUSE_MAX: Duration = Duration::from_millis(160);

/// A whole request head must arrive within this: 408 beyond.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence inside a request body: 408 beyond.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Window over which a body must keep up [`BODY_RATE_BYTES_PER_SEC`].
pub const BODY_RATE_WINDOW: Duration = Duration::from_secs(60);
/// Least body speed over [`BODY_RATE_WINDOW`].
pub const BODY_RATE_BYTES_PER_SEC: u64 = 1024;
/// A keep-alive connection may idle this long.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Longest time without progress while writing a response.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an early-answered connection is drained before it is closed.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// An abandoned exchange may write this long before its worker's writes begin to fail.
pub const ABANDON_GRACE: Duration = Duration::from_secs(1);

/// Connecting to a worker.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A worker's response head, then each gap between its bytes.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A request's wait for a worker: 504 beyond.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
/// An upgraded connection may be silent for this long.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// The same when one of its sides has ended.
pub const TUNNEL_HALF_IDLE: Duration = Duration::from_secs(60);
/// From spawn to join.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// What a shim gets beyond the start timeout to say why its app did not start.
pub const START_SLACK: Duration = Duration::from_secs(1);
/// From retirement to SIGTERM in any case.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGTERM to SIGKILL of the process group.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// From the end of a request's patience until its worker is aborted.
pub const STUCK_TIMEOUT: Duration = Duration::from_secs(30);
/// From an abort, which lets the app dump, to SIGKILL of the process group.
pub const ABORT_GRACE: Duration = Duration::from_secs(2);
/// An app's setup must end within this.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(600);
/// Slack of the whole shutdown beyond drain and kill.
pub const SHUTDOWN_SLACK: Duration = Duration::from_secs(5);
/// Longest wait for one more request on an idle connection during shutdown.
pub const SHUTDOWN_IDLE: Duration = Duration::from_secs(5);
/// Beyond the start timeout of the slowest app: how long the next server may take until it is ready to
/// take over.
pub const UPGRADE_SLACK: Duration = Duration::from_secs(30);
/// How long the next server may take to take over once it may.
pub const UPGRADE_TAKEOVER: Duration = Duration::from_secs(10);
/// Idle links to `command` apps are closed after this.
pub const LINK_KEEPALIVE: Duration = Duration::from_secs(1);
/// A given-up worker slot is tried again after this.
pub const ABANDON_RETRY: Duration = Duration::from_secs(60);
/// Upper end of the restart backoff.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// One name in the path of a file (`NAME_MAX`): 404 beyond, without asking the file system.
pub const FILE_NAME_BYTES: usize = 255;
/// The path of a file beneath its root (`PATH_MAX` less its NUL): 404 beyond.
pub const FILE_PATH_BYTES: usize = 4095;
/// Ranges in one request: beyond, the whole file is sent.
pub const RANGE_COUNT: usize = 16;
/// Names on the page of a directory; the page says how many are left out.
pub const LISTING_COUNT: usize = 10_000;
/// Names of a directory that are looked at for its page; what comes behind them is not on it.
pub const LISTING_LOOK_COUNT: usize = 100_000;
/// A file younger than this may change again without its time changing: its tag is weak.
pub const FRESH_FILE_AGE: Duration = Duration::from_secs(2);
/// A body must be longer than this to be worth compressing.
pub const COMPRESS_BYTES: u64 = 1024;
/// Bytes of one connection that are compressed before the others of its loop get their turn.
pub const COMPRESS_TURN_BYTES: usize = 64 * 1024;
/// Answers that one loop compresses at a time; further ones pass as they are. Each holds up to
/// 3 MiB.
pub const ENCODER_COUNT: usize = 64;
/// What one piece of an answer waits in its encoder at most while more of it comes.
pub const ENCODER_PAUSE: Duration = Duration::from_millis(20);
/// A PROXY header, version 1, in bytes with its line end: refused beyond.
pub const PROXY_V1_BYTES: usize = 107;
/// A PROXY header, version 2, in bytes behind its first sixteen: refused beyond.
pub const PROXY_V2_BYTES: usize = 4 * 1024;
/// Clients whose rates are remembered; the one that was silent longest is forgotten for another.
pub const RATE_CLIENT_COUNT: usize = 100_000;
/// The window of a rate limit unless configured.
pub const RATE_WINDOW: Duration = Duration::from_secs(60);

/// Times a request is sent to an upstream unless configured, the first included.
pub const UPSTREAM_ATTEMPT_COUNT: u32 = 2;
/// The most that can be configured.
pub const UPSTREAM_ATTEMPT_COUNT_MAX: usize = 8;
/// Targets of one upstream: refused beyond.
pub const UPSTREAM_TARGET_COUNT: usize = 64;
/// What is looked at before a target is ejected for its failures.
pub const EJECT_WINDOW: Duration = Duration::from_secs(10);
/// Exchanges within [`EJECT_WINDOW`] below which nothing is concluded.
pub const EJECT_SAMPLE_COUNT: u32 = 10;
/// Share of failures among them that ejects.
pub const EJECT_FAILURE_PERCENT: u32 = 50;
/// An ejected target gets nothing for this long, and up to [`EJECT_JITTER`] more.
pub const EJECT_TIME: Duration = Duration::from_secs(30);
/// Keeps targets that were ejected together from coming back together.
pub const EJECT_JITTER: Duration = Duration::from_secs(6);
/// From one health check of a target to the next, unless configured.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A target must answer a health check within this, unless configured.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Failed checks in a row that make a target unhealthy, unless configured.
pub const CHECK_FAILURE_COUNT: u32 = 3;
/// Good checks in a row that make it healthy again, unless configured.
pub const CHECK_SUCCESS_COUNT: u32 = 2;

/// An Edgefile in bytes: refused beyond.
pub const EDGEFILE_BYTES: usize = 1024 * 1024;
/// Blocks within blocks of an Edgefile: refused beyond, before it is parsed.
pub const EDGEFILE_DEPTH: usize = 32;
/// Nodes of an Edgefile: refused beyond, before it is parsed.
pub const EDGEFILE_NODE_COUNT: usize = 50_000;
/// Diagnostics of one Edgefile that are kept.
pub const DIAGNOSTIC_COUNT: usize = 100;
/// Rules that the hosts and routes of one Edgefile may stand for: refused beyond.
pub const RULE_COUNT: usize = 20_000;
/// An Edgefile is compiled within this.
pub const COMPILE_TIMEOUT: Duration = Duration::from_secs(10);
/// A configuration that became active must be well within this.
pub const VERIFY_WINDOW: Duration = Duration::from_secs(10);
/// Fresh pools of a configuration that became active must stay up for this.
pub const VERIFY_PROBATION: Duration = Duration::from_secs(1);
/// Attempts to change the configuration that are remembered.
pub const ATTEMPT_COUNT: usize = 20;

/// A whole turn, unless configured.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(600);
/// A turn's input in bytes, as the client sends it: 413 beyond.
pub const TURN_INPUT_BYTES: usize = 1024 * 1024;
/// One event of a turn, as it is sent to clients: the turn fails beyond.
pub const TURN_EVENT_BYTES: usize = 1024 * 1024;
/// What an app wants kept from one turn to the next: the turn fails beyond.
pub const TURN_STATE_BYTES: usize = 1024 * 1024;
/// What an app's answer may have open at a time: an outcome with its state, and room for white space.
pub const TURN_ANSWER_BYTES: usize = TURN_EVENT_BYTES + TURN_STATE_BYTES + 256 * 1024;
/// Events of a turn that wait to be stored before the app is not read any further.
pub const TURN_UNSTORED_BYTES: usize = 2 * 1024 * 1024;
/// An idempotency key in bytes: 400 below and beyond.
pub const IDEMPOTENCY_KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=255;
/// An idempotency key and the outcome it stands for are kept this long.
pub const IDEMPOTENCY_KEEP: Duration = Duration::from_secs(24 * 3600);
/// A session that nobody used for this long is forgotten.
pub const SESSION_KEEP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Events of a session are kept this long.
pub const SESSION_EVENT_KEEP: Duration = Duration::from_secs(24 * 3600);
/// Events of a session that are kept.
pub const SESSION_EVENT_BYTES: u64 = 64 * 1024 * 1024;
/// Rows that one step of pruning deletes at most: nobody waits for a large one.
pub const PRUNE_COUNT: usize = 500;
/// The token before the current one may read this long.
pub const PREVIOUS_TOKEN_KEEP: Duration = Duration::from_secs(600);
/// From a turn's cancellation until its worker is recycled if it has not let go.
pub const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Silence of an event stream after which a comment is sent.
pub const STREAM_HEARTBEAT: Duration = Duration::from_secs(15);
/// What one reading of a session's events brings at most.
pub const EVENT_PAGE_BYTES: usize = 256 * 1024;
/// Events in one JSON answer unless the client says fewer, and the most it can say.
pub const EVENT_PAGE_COUNT: u32 = 1000;
/// A client may wait this long for events.
pub const LONG_POLL_MAX: Duration = Duration::from_secs(60);
/// First pause before a turn that a timer began is tried again; doubles up to [`WAKE_PAUSE_MAX`].
pub const WAKE_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause before a turn that a timer began is tried again.
pub const WAKE_PAUSE_MAX: Duration = Duration::from_secs(300);
/// First pause before the end of a turn that could not be stored is stored again; doubles up to
/// [`STORE_PAUSE_MAX`].
pub const STORE_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause before it is stored again.
pub const STORE_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Events of one running turn that are kept in memory for its viewers; older ones are read from the
/// store.
pub const TAIL_BYTES: usize = 64 * 1024;

/// A message of a WebSocket client in bytes unless configured: closed with 1009 beyond.
pub const WS_MESSAGE_BYTES: u64 = 1024 * 1024;
/// What a WebSocket client sent that waits for the message before it to be answered: closed with
/// 1013 beyond.
pub const LANE_MESSAGE_COUNT: usize = 64;
/// The same in bytes; one message that waits alone may be longer.
pub const LANE_BYTES: usize = 1024 * 1024;
/// What waits to be written to a WebSocket client: closed with 1013 beyond. One frame that waits
/// alone may be longer.
pub const OUTBOX_BYTES: usize = 1024 * 1024;
/// Groups a WebSocket client is in: it joins no more beyond.
pub const CLIENT_GROUP_COUNT: usize = 256;
/// Instructions in one answer or one request to publish: refused beyond.
pub const INSTRUCTION_COUNT: usize = 10_000;
/// The name of a group in bytes: refused beyond.
pub const GROUP_NAME_BYTES: usize = 256;
/// The reason in a Close frame in bytes: a control frame has 125, two of them for the code
/// (RFC 6455 §5.5).
pub const CLOSE_REASON_BYTES: usize = 123;
/// Messages of one WebSocket client in a second over time, unless configured: closed with 1008
/// beyond.
pub const WS_RATE_PER_SEC: u32 = 100;
/// Messages it may send at once, unless configured.
pub const WS_BURST_COUNT: u32 = 200;
/// From one Ping to a WebSocket client to the next.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A WebSocket client that was silent for so long is gone.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(75);
/// Messages of a group that are kept, unless configured.
pub const HISTORY_MESSAGE_COUNT: u32 = 1000;
/// How long they are kept, unless configured.
pub const HISTORY_TTL: Duration = Duration::from_secs(300);
/// Kept messages of one group in bytes; the oldest go.
pub const HISTORY_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Kept messages of all groups of one app in bytes; the oldest go.
pub const HISTORY_BYTES: usize = 64 * 1024 * 1024;
/// What one client gets of the messages it missed: beyond, it is told to start anew.
pub const RECOVER_BYTES: usize = 4 * 1024 * 1024;
/// What one loop may leave unread of what a hub says to it: beyond, payloads are dropped and the
/// clients that they were for are closed with 1013.
pub const BACKLOG_BYTES: u64 = 64 * 1024 * 1024;

/// A Unix socket path in bytes (`sun_path` less its NUL).
pub const SOCKET_PATH_BYTES: usize = 107;
/// A control request's body.
pub const CONTROL_BODY_BYTES: usize = 1024 * 1024;
/// The body of a request that the edge hands to the control loop for a client: 413 beyond.
pub const DOOR_BODY_BYTES: usize = 64 * 1024;
/// What the edge asks the control loop for a client is answered within this, else 503.
pub const DOOR_PATIENCE: Duration = Duration::from_secs(5);
/// Questions of one event loop's clients that the control loop has not answered yet, be the clients still
/// there or not: 503 beyond.
pub const DOOR_ASK_COUNT: usize = 1024;
/// Dashboards that one event loop feeds: 503 beyond.
pub const WATCHER_COUNT: usize = 64;
/// Connections that follow the events: 503 beyond.
pub const FOLLOWER_COUNT: usize = 256;
/// What a follower may leave unread, beyond what its socket holds, before it is dropped.
pub const FOLLOWER_BYTES: usize = 256 * 1024;
/// Events that are kept for who comes back.
pub const RECENT_EVENT_COUNT: usize = 256;
/// Lines of a worker's stderr that are kept.
pub const STDERR_LINE_COUNT: usize = 20;
/// One line of a worker's output; the rest is cut.
pub const OUTPUT_LINE_BYTES: usize = 8 * 1024;
/// A worker's output over time; what it writes faster is read and dropped.
pub const OUTPUT_BYTES_PER_SEC: u64 = 1024 * 1024;
/// What a worker may write at once beyond [`OUTPUT_BYTES_PER_SEC`].
pub const OUTPUT_BURST_BYTES: u64 = 4 * 1024 * 1024;
/// Lines that wait to be written, for each of the standard streams; more are dropped and counted.
pub const LOG_BYTES: usize = 4 * 1024 * 1024;

/// What is published at once, in bytes: 413 beyond.
pub const PUBLISH_BYTES: usize = 1024 * 1024;
/// The answer of an app to a POST on behalf of a WebSocket client, in bytes: 502 `answer-too-large`
/// beyond, and nothing of it is done.
pub const REALTIME_REPLY_BYTES: usize = 4 * 1024 * 1024;

// Relations between limits that the code relies on.
const _: () = assert!(TARGET_BYTES < HEAD_BYTES);
const _: () = assert!(BLOCK_BYTES <= HEAD_BYTES);
const _: () = assert!(SPOOL_MEMORY_PER_REQUEST_BYTES as u64 <= SPOOL_MEMORY_BYTES);
const _: () = assert!(BUSY_PAUSE_MIN.as_millis() <= BUSY_PAUSE_MAX.as_millis());
const _: () = assert!(PROXY_V1_BYTES <= BLOCK_BYTES && 16 + PROXY_V2_BYTES <= BLOCK_BYTES);
const _: () = assert!(UPSTREAM_ATTEMPT_COUNT as usize <= UPSTREAM_ATTEMPT_COUNT_MAX);
const _: () = assert!(OUTPUT_LINE_BYTES < LOG_BYTES);
const _: () = assert!(TURN_EVENT_BYTES + TURN_STATE_BYTES <= TURN_ANSWER_BYTES);
const _: () = assert!(HISTORY_GROUP_BYTES <= RECOVER_BYTES && HISTORY_GROUP_BYTES <= HISTORY_BYTES);
const _: () = assert!(PING_INTERVAL.as_secs() * 2 < SILENCE_TIMEOUT.as_secs());
