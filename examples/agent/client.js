// A client of durable sessions for browsers and Node 18 and later, in one file. It depends on nothing,
// and its types are checked: `tsc --noEmit --checkJs --strict client.js`.
//
//   const session = new Session({ url: "/v1" });
//   for await (const event of session.stream({ text: "Hello" })) show(event);
//   const { status, output } = await session.send({ text: "And now?" });
//
// Every turn is sent with an idempotency key. When an answer is lost, on the way there or back, the same
// request is sent again: the server tells the outcome if there is one, lets us listen if the turn still
// runs, and runs it otherwise. A stream that breaks off is taken up behind the last event that was read.
//
// What a session is made of (`session.saved`) may be kept anywhere: who has it goes on with the session,
// also in another process, and also with a turn whose answer never came (`session.retry()`). It holds
// the token, so it is as secret as a password.

/**
 * What a session is made of.
 * @typedef {object} Saved
 * @property {string} [sessionId] The session; absent until it has started.
 * @property {string} [continuationToken] Lets the next turn run; good once.
 * @property {number} [next] The number of that turn.
 * @property {string} [resumeToken] Lets events be read, and nothing else.
 * @property {Place} [place] The last event that was read.
 * @property {Pending} [pending] A turn that was asked for and has not ended, as far as we know.
 */
/** @typedef {{ id: string, turn: number }} Place */
/** @typedef {{ key: string, path: string, input: Input }} Pending */
/** @typedef {{ [name: string]: unknown }} Input The input of a turn: a JSON object. */

/**
 * What a parked session waits for.
 * @typedef {{ id?: string, reason?: string, message?: string, responseSchema?: unknown,
 *   expiresAt?: string, until?: string, [name: string]: unknown }} Wait
 */

/** @typedef {{ turn: number, seq: number }} Numbered `seq` counts the events of a session. */
/** @typedef {Numbered & { type: "delta", text: string }} DeltaEvent A piece of text. */
/** @typedef {Numbered & { type: "record", record: unknown }} RecordEvent Whatever the app tells. */
/**
 * How a turn ended. `finished` and `parked` are committed; after `contended` (somebody else was faster)
 * and `cancelled` everything is as before the turn.
 * @typedef {{ sessionId: string, continuationToken: string } & (
 *   { status: "finished", output: unknown } | { status: "parked", wait: Wait } |
 *   { status: "contended", current: number } | { status: "cancelled" })} Outcome
 */
/** @typedef {Numbered & { type: "outcome" } & Outcome} OutcomeEvent */
/**
 * A turn that failed; its token stays good.
 * @typedef {Numbered & { type: "error", message: string, code?: string, retryable?: boolean,
 *   sessionId?: string, continuationToken?: string }} ErrorEvent
 */
/**
 * What was told of this turn so far does not count: it begins anew. `attempt`: it was interrupted, and
 * runs again. Otherwise some events are not there any more.
 * @typedef {{ type: "reset", reason: "attempt" | "truncated" | "epoch", from?: string }} ResetEvent
 */
/** @typedef {DeltaEvent | RecordEvent | OutcomeEvent | ErrorEvent | ResetEvent} SessionEvent */

/** @typedef {{ status: "idle" | "running" | "parked" | "closed", turn: number, lastEventId: string,
 *   expiresAt: string }} Status */

/**
 * @typedef {object} Options
 * @property {string | URL} [url] Where the sessions are mounted; outside a browser a whole URL.
 * @property {Saved} [saved] A session to go on with.
 * @property {(saved: Saved) => void} [onChange] Told of what is to be kept, whenever it changes.
 * @property {() => Record<string, string>} [headers] More fields for every request: `Authorization`.
 * @property {typeof globalThis.fetch} [fetch]
 * @property {SocketClass} [WebSocket] Where there is none of its own: that of the package `ws`.
 * @property {number} [attempts] How often a turn is sent when its answer is lost; 8.
 * @property {number} [pause] Milliseconds before it is sent again, doubled each time; 250.
 */
/** @typedef {new (url: string) => Connection} SocketClass */
/** @typedef {{ send(text: string): void, close(code?: number): void, readyState: number,
 *   addEventListener(type: "message", listener: (event: { data: unknown }) => void): void,
 *   addEventListener(type: "open" | "close" | "error", listener: () => void): void }} Connection */

/** @typedef {{ signal?: AbortSignal, cancelOnDisconnect?: boolean }} TurnOptions */
/** @typedef {{ signal?: AbortSignal, from?: string, turn?: number }} EventsOptions `from`: the id of an
 *   event, `earliest` or `now`; without it the start of the last turn. */

/** Something went wrong; `code` is its name for programs. */
export class SessionError extends Error {
  /** @param {string} message @param {string} code @param {ErrorOptions} [options] */
  constructor(message, code, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Nobody answered, however often we asked. Nothing is known of the turn: `retry()` finds out. */
export class LostError extends SessionError {
  /** Milliseconds that the server wants us to wait. */
  after = 0;
  /** The turn runs, that much is known. */
  isRunning = false;

  /** @param {string} message @param {unknown} [cause] */
  constructor(message, cause) {
    super(message, "lost", { cause });
  }
}

/** The request was refused before anything ran. The session is as it was. */
export class RefusedError extends SessionError {
  /** @param {string} message @param {string} code @param {number} status @param {unknown} body */
  constructor(message, code, status, body) {
    super(message, code);
    this.status = status;
    this.body = body;
  }
}

/** The app refused the turn; `body` are its own words. The session is as it was. */
export class AppRefusedError extends RefusedError {}

/** The turn ran and failed. Nothing is committed, the token stays good. */
export class TurnError extends SessionError {
  /** @param {string} message @param {string} code @param {boolean} retryable */
  constructor(message, code, retryable) {
    super(message, code);
    this.retryable = retryable;
  }
}

/** A session, which starts with its first turn. One turn at a time. */
export class Session {
  /** @type {Saved} */ #saved;
  /** @type {Options} */ #options;
  /** @type {URL} */ #base;
  #retryPause = 1000;

  /** @param {Options} [options] */
  constructor(options = {}) {
    this.#options = options;
    this.#saved = { ...options.saved };
    const url = new URL(options.url ?? "/v1", globalThis.location?.href);
    this.#base = new URL(url.href.replace(/\/*$/, "/"));
  }

  /** What is to be kept to go on with this session somewhere else. */
  get saved() {
    return structuredClone(this.#saved);
  }

  /** The session's id, once it has started. */
  get id() {
    return this.#saved.sessionId;
  }

  /** True when an answer is missing: `retry()` gets it. */
  get isPending() {
    return this.#saved.pending !== undefined;
  }

  /**
   * Runs a turn and returns its outcome.
   * @param {Input} input @param {TurnOptions} [options] @returns {Promise<Outcome>}
   */
  async send(input, options = {}) {
    return drained(this.#turn(await this.#begin(input), "application/json", options));
  }

  /**
   * Runs a turn and tells its events as they happen. The last one is the outcome.
   * @param {Input} input @param {TurnOptions} [options]
   * @returns {AsyncGenerator<SessionEvent, Outcome>}
   */
  async *stream(input, options = {}) {
    return yield* this.#turn(await this.#begin(input), STREAM, options);
  }

  /**
   * Goes on with a turn whose answer never came, with the same key: it may have run meanwhile, may still
   * run, or runs now. Tells nothing when no answer is missing.
   * @param {TurnOptions} [options] @returns {AsyncGenerator<SessionEvent, Outcome | undefined>}
   */
  async *retry(options = {}) {
    const { pending } = this.#saved;
    return pending && (yield* this.#turn(pending, STREAM, options));
  }

  /**
   * Tells what was said, and what is being said while a turn runs; ends when there is no more to come.
   * @param {EventsOptions} [options] @returns {AsyncGenerator<SessionEvent, void>}
   */
  async *events({ signal, from, turn } = {}) {
    let cursor = from;
    for (let lost = 0; ;) {
      const query = turn === undefined ? "" : `?turn=${turn}`;
      /** @type {Record<string, string>} */
      const fields = { Accept: STREAM, ...(cursor === undefined ? {} : { "Last-Event-ID": cursor }) };
      try {
        const response = await this.#ask("GET", `${this.#path("/events")}${query}`, fields, signal);
        if (response.status === 204) return;
        if (response.status !== 200) throw await this.#failure(response);
        cursor = response.headers.get("Rip-Last-Event-ID") ?? cursor;
        let isEmpty = true;
        for await (const block of this.#blocks(response)) {
          lost = 0;
          isEmpty = false;
          cursor = block.id ?? cursor;
          yield this.#heard(block);
        }
        if (isEmpty) await sleep(this.#retryPause, signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (!(error instanceof LostError) || ++lost >= this.#attempts) throw error;
        await sleep(this.#pause(lost), signal);
      }
    }
  }

  /**
   * Tells what was said behind `from` (without it, from now on) and everything that will be, also by
   * turns that a timer or somebody else begins. Ends with the signal.
   * @param {EventsOptions} [options] @returns {AsyncGenerator<SessionEvent, void>}
   */
  async *watch({ signal, from = "now" } = {}) {
    let cursor = from;
    for (let lost = 0; !signal?.aborted;) {
      try {
        const query = `?wait=${POLL_SECONDS}&last_event_id=${encodeURIComponent(cursor)}`;
        const path = `${this.#path("/events")}${query}`;
        const response = await this.#ask("GET", path, { Accept: "application/json" }, signal);
        if (response.status === 410) {
          const { reason } = await json(response);
          yield { type: "reset", reason };
          cursor = "earliest";
          continue;
        }
        if (response.status !== 200) throw await this.#failure(response);
        const { events, next } = await json(response);
        cursor = next;
        lost = 0;
        for (const [at, event] of events.entries()) {
          yield this.#heard({ event, id: at + 1 === events.length ? next : undefined });
        }
      } catch (error) {
        if (signal?.aborted) return;
        if (!(error instanceof LostError) || ++lost >= this.#attempts) throw error;
        // Cut short by the signal it ends as any other wait here does: without a word.
        await sleep(this.#pause(lost), signal).catch(() => {});
      }
    }
  }

  /**
   * The browser's own EventSource on this session; it comes back by itself. Its address holds the token
   * that only reads. Close it when it has ended (`readyState` 2) and a new turn runs.
   * @param {{ from?: string, turn?: number }} [options]
   */
  eventSource({ from, turn } = {}) {
    const url = new URL(this.#path("/events"), this.#base);
    url.searchParams.set("resume", this.#saved.resumeToken ?? "");
    if (from !== undefined) url.searchParams.set("last_event_id", from);
    if (turn !== undefined) url.searchParams.set("turn", String(turn));
    const source = new EventSource(url);
    source.addEventListener("message", ({ data, lastEventId }) => {
      this.#heard({ event: JSON.parse(data), id: lastEventId });
    });
    return source;
  }

  /**
   * A WebSocket on this session, once it is there.
   * @returns {Promise<SessionSocket>}
   */
  async socket() {
    const Socket = this.#options.WebSocket ?? /** @type {SocketClass} */ (globalThis.WebSocket);
    const url = new URL("ws", this.#base);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new SessionSocket(this, () => new Socket(url.href), {
      heard: (block) => this.#heard(block),
      pause: (lost) => this.#pause(lost),
      attempts: this.#attempts,
    });
    await socket.open();
    return socket;
  }

  /**
   * Cancels the running turn: it does not commit any more. The stream of the turn tells its end.
   * @returns {Promise<"cancelling" | Outcome>} The outcome, when it had ended before.
   */
  async cancel() {
    const response = await this.#ask("POST", this.#path("/cancel"), this.#token());
    if (response.status === 202) return "cancelling";
    if (response.status === 200) return json(response);
    throw await this.#failure(response);
  }

  /** How things stand. @returns {Promise<Status>} */
  async status() {
    const response = await this.#ask("GET", this.#path(""));
    if (response.status !== 200) throw await this.#failure(response);
    return json(response);
  }

  /** Deletes the session and everything that was said. */
  async delete() {
    const response = await this.#ask("DELETE", this.#path(""), this.#token());
    if (response.status !== 204 && response.status !== 404) throw await this.#failure(response);
    this.#saved = {};
    this.#keep({});
  }

  /** @param {Input} input @returns {Promise<Pending>} */
  async #begin(input) {
    const { sessionId, continuationToken } = this.#saved;
    const starts = sessionId === undefined || continuationToken === undefined;
    const path = starts ? "session" : this.#path("/message");
    const pending = { key: await randomKey(), path, input };
    this.#keep({ pending });
    return pending;
  }

  /**
   * @param {Pending} pending @param {string} accept @param {TurnOptions} options
   * @returns {AsyncGenerator<SessionEvent, Outcome>}
   */
  async *#turn(pending, accept, { signal, cancelOnDisconnect }) {
    /** @type {Record<string, string>} */
    const fields = {
      Accept: accept,
      "Content-Type": "application/json",
      "Idempotency-Key": pending.key,
      ...(cancelOnDisconnect ? { Prefer: "disconnect=cancel" } : {}),
    };
    let told = false;
    for (let lost = 0; ;) {
      try {
        const answer = await this.#ask("POST", pending.path, { ...fields, ...this.#token() }, signal,
          JSON.stringify(pending.input));
        const events = this.#answer(answer, signal);
        for (let step = await events.next(); ; step = await events.next()) {
          if (step.done) {
            this.#settle(pending);
            return step.value;
          }
          told = true;
          yield step.value;
        }
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (!isLost(error)) {
          this.#settle(pending);
          throw error;
        }
        lost = error instanceof LostError && error.isRunning ? 1 : lost + 1;
        if (lost >= this.#attempts) throw error;
        const after = error instanceof LostError ? error.after : 0;
        await sleep(Math.max(this.#pause(lost), after), signal);
        if (told) yield { type: "reset", reason: "attempt" };
        told = false;
      }
    }
  }

  /**
   * What an answer to a turn says, and where it breaks off, what is said of the turn afterwards.
   * @param {Response} response @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<SessionEvent, Outcome>}
   */
  async *#answer(response, signal) {
    const isStream = response.headers.get("Content-Type")?.startsWith(STREAM);
    const turn = Number(response.headers.get("Rip-Turn"));
    // Where the app has refused the first turn, there is no session.
    if (response.status === 200 || response.status >= 500) this.#keepFields(response);
    if (response.status === 200 && !isStream) {
      const outcome = await json(response);
      this.#learn(outcome, turn);
      return outcome;
    }
    if (response.status === 200 && response.headers.has("Idempotency-Replayed")) {
      // It has the outcome only: what led to it is read first. The token is the one that is good now.
      const { value: block } = await this.#blocks(response).next();
      const outcome = block && ended(block.event);
      if (!outcome) throw new LostError("half an answer");
      yield* this.#follow(turn, outcome, signal);
      this.#learn(outcome, turn);
      return outcome;
    }
    if (response.status === 200) {
      try {
        for await (const block of this.#blocks(response)) {
          const event = this.#heard(block);
          yield event;
          const outcome = ended(event);
          if (outcome) return outcome;
        }
      } catch (error) {
        if (signal?.aborted || !(error instanceof LostError)) throw error;
      }
      return yield* this.#follow(turn, undefined, signal);
    }
    const location = response.status === 409 && response.headers.get("Location");
    const running = location && new URL(location, this.#base).searchParams.get("turn");
    if (running && (this.#saved.resumeToken || this.#saved.continuationToken)) {
      return yield* this.#follow(Number(running), undefined, signal);
    }
    throw await this.#failure(response);
  }

  /**
   * The rest of a turn, behind what was read of it.
   * @param {number} turn @param {Outcome | undefined} replayed @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<SessionEvent, Outcome>}
   */
  async *#follow(turn, replayed, signal) {
    const { place } = this.#saved;
    const from = place?.turn === turn ? place.id : undefined;
    for await (const event of this.events({ turn, from, signal })) {
      yield event;
      const outcome = ended(event);
      if (outcome) return replayed ?? outcome;
    }
    if (replayed) return replayed;
    throw new LostError("the end of the turn was not told");
  }

  /** An event that was read: what it says of tokens is kept. @param {Block} block */
  #heard({ event, id }) {
    if (id && "turn" in event) this.#keep({ place: { id, turn: event.turn } });
    if (event.type === "outcome" || event.type === "error") this.#learn(event, event.turn);
    return event;
  }

  /** @param {Partial<Outcome>} told @param {number} turn */
  #learn(told, turn) {
    const { sessionId, continuationToken, status } = told;
    if (!continuationToken) return;
    const next = turn + (status === "finished" || status === "parked" ? 1 : 0);
    if (next < (this.#saved.next ?? 0)) return;
    this.#keep({ sessionId, continuationToken, next });
  }

  /** @param {Response} response */
  #keepFields(response) {
    const sessionId = response.headers.get("Rip-Session-Id");
    const resumeToken = response.headers.get("Rip-Resume-Token");
    if (sessionId && resumeToken) this.#keep({ sessionId, resumeToken });
  }

  /** The turn has ended, however that may be. @param {Pending} pending */
  #settle(pending) {
    if (this.#saved.pending?.key === pending.key) this.#keep({ pending: undefined });
  }

  /** @param {Partial<Saved>} change */
  #keep(change) {
    this.#saved = { ...this.#saved, ...change };
    this.#options.onChange?.(this.saved);
  }

  /** @param {string} rest */
  #path(rest) {
    const { sessionId } = this.#saved;
    if (sessionId === undefined) throw new SessionError("the session has not started", "not-started");
    return `session/${sessionId}${rest}`;
  }

  /** @returns {Record<string, string>} */
  #token() {
    const { continuationToken } = this.#saved;
    return continuationToken ? { "X-Continuation-Token": continuationToken } : {};
  }

  /** @returns {Record<string, string>} */
  #mayRead() {
    const { resumeToken } = this.#saved;
    return resumeToken ? { "Rip-Resume-Token": resumeToken } : this.#token();
  }

  /**
   * @param {string} method @param {string} path @param {Record<string, string>} [fields]
   * @param {AbortSignal} [signal] @param {string} [body] @returns {Promise<Response>}
   */
  async #ask(method, path, fields = {}, signal, body) {
    const rights = method === "GET" ? this.#mayRead() : {};
    const headers = { ...this.#options.headers?.(), ...rights, ...fields };
    const fetch = this.#options.fetch ?? globalThis.fetch;
    try {
      const url = new URL(path, this.#base);
      return await fetch(url, { method, headers, body, signal, cache: "no-store" });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new LostError("no answer", error);
    }
  }

  /** What an answer says that is no success. @param {Response} response */
  async #failure(response) {
    const text = await response.text().catch((error) => { throw new LostError("half an answer", error); });
    const body = parsed(text);
    if (typeof body?.retryable === "boolean" && typeof body.error === "string") {
      this.#learn(body, Number(response.headers.get("Rip-Turn")));
      return new TurnError(body.error, String(body.code), body.retryable);
    }
    if (typeof body?.error === "string" && REFUSALS.has(body.code)) {
      const refused = new RefusedError(body.error, body.code, response.status, body);
      // The store will take it later, or our own turn runs and we may not read it: asked again.
      const isOwn = body.code === "in-flight" && response.headers.has("Location");
      if (body.code !== "store" && !isOwn) return refused;
      const lost = new LostError(body.error, refused);
      lost.after = Number(response.headers.get("Retry-After") ?? 0) * 1000;
      lost.isRunning = isOwn;
      return lost;
    }
    // A server in between says so: nobody knows what became of the turn.
    if (response.status >= 500) return new LostError(`status ${response.status}`);
    return new AppRefusedError(`refused with ${response.status}`, "app-refused", response.status, body ?? text);
  }

  /** @param {number} lost */
  #pause(lost) {
    const longest = (this.#options.pause ?? 250) * 2 ** Math.min(lost - 1, 5);
    return longest / 2 + (Math.random() * longest) / 2;
  }

  get #attempts() {
    return this.#options.attempts ?? 8;
  }

  /**
   * The blocks of an event stream.
   * @param {Response} response @returns {AsyncGenerator<Block, void>}
   */
  async *#blocks(response) {
    if (!response.body) return;
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read().catch((error) => {
          throw new LostError("the stream broke off", error);
        });
        if (done) return;
        text += decoder.decode(value, { stream: true });
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const block = this.#block(text.slice(0, end));
          text = text.slice(end + 2);
          if (block) yield block;
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /** @param {string} text @returns {Block | undefined} */
  #block(text) {
    let id, data;
    for (const line of text.split("\n")) {
      const colon = line.indexOf(": ");
      const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
      if (name === "id") id = value;
      else if (name === "data") data = value;
      else if (name === "retry") this.#retryPause = Number(value);
    }
    return data === undefined ? undefined : { id, event: JSON.parse(data) };
  }
}

/** @typedef {{ id?: string, event: SessionEvent }} Block */

/**
 * A WebSocket on a session. It carries the same events; what it does not carry is a key: a first turn
 * whose answer is lost altogether is not found again.
 */
export class SessionSocket {
  /** @type {Session} */ #session;
  /** @type {() => Connection} */ #connect;
  /** @type {{ heard(block: Block): SessionEvent, pause(lost: number): number, attempts: number }} */ #own;
  /** @type {Connection | undefined} */ #connection;
  /** @type {Incoming} */ #incoming = new Incoming();
  /** The last event that was read, of whatever turn. */
  #seen = "";
  #hasComeBack = false;

  /**
   * @param {Session} session @param {() => Connection} connect
   * @param {{ heard(block: Block): SessionEvent, pause(lost: number): number, attempts: number }} own
   */
  constructor(session, connect, own) {
    this.#session = session;
    this.#connect = connect;
    this.#own = own;
  }

  /** Connects, and binds the connection to the session where there is one. */
  async open() {
    const connection = this.#connect();
    const incoming = new Incoming();
    this.#connection = connection;
    this.#incoming = incoming;
    connection.addEventListener("message", ({ data }) => incoming.push(JSON.parse(String(data))));
    connection.addEventListener("close", () => incoming.end());
    await new Promise((resolve, reject) => {
      connection.addEventListener("open", () => resolve(undefined));
      connection.addEventListener("error", () => reject(new LostError("no WebSocket")));
      connection.addEventListener("close", () => reject(new LostError("no WebSocket")));
    });
    const { sessionId, continuationToken, resumeToken } = this.#session.saved;
    if (sessionId === undefined) return;
    this.#seen ||= (await this.#session.status()).lastEventId;
    const token = continuationToken ? { continuationToken } : { resumeToken };
    this.#send({ type: "resume", sessionId, ...token, lastEventId: this.#seen });
  }

  /**
   * Runs a turn and tells its events; the last one is the outcome. A connection that breaks meanwhile is
   * made again.
   * @param {Input} input @returns {AsyncGenerator<SessionEvent, Outcome>}
   */
  async *send(input) {
    // What others have begun meanwhile is told as well.
    for (const { id, ...event } of this.#incoming.takeAll()) {
      if (event.turn !== undefined) this.#own.heard({ id, event });
      this.#seen = id ?? this.#seen;
    }
    const before = this.#session.saved;
    this.#send({ ...input, continuationToken: before.continuationToken });
    for (let lost = 0, busy = 0; ;) {
      const frame = await this.#incoming.next();
      if (frame === undefined) {
        await this.#again(before, ++lost);
        const { status, lastEventId } = await this.#session.status();
        // Nothing was heard of it, and nothing runs: it never got there.
        if (status !== "running" && lastEventId === this.#seen) {
          this.#send({ ...input, continuationToken: before.continuationToken });
        }
        continue;
      }
      const { id, ...event } = frame;
      if (event.type === "pong" || event.status === "cancelling") continue;
      if (event.type === "error" && event.turn === undefined) {
        // It is still being bound to its session.
        if (event.code === "in-flight" && before.sessionId && busy++ < 20) {
          await sleep(50);
          this.#send({ ...input, continuationToken: before.continuationToken });
          continue;
        }
        throw new RefusedError(event.message, event.code, 0, event);
      }
      const heard = this.#own.heard({ id, event });
      this.#seen = id;
      // What was left of an earlier turn.
      if ("turn" in heard && heard.turn < (before.next ?? 1)) continue;
      yield heard;
      const outcome = ended(heard);
      if (outcome) return outcome;
    }
  }

  /** Cancels the running turn; its events tell its end. */
  async cancel() {
    // A connection that came back after its token was used up may only read.
    if (this.#hasComeBack) await this.#session.cancel();
    else this.#send({ type: "cancel" });
  }

  /** Asks for a sign of life. */
  ping() {
    this.#send({ type: "ping" });
  }

  /** Ends the connection; a turn that runs runs on. */
  close() {
    this.#connection?.close(1000);
  }

  /** @param {Saved} before @param {number} lost */
  async #again(before, lost) {
    if (this.#session.id === undefined) throw new LostError("lost before the session was known");
    for (; ;) {
      if (lost >= this.#own.attempts) throw new LostError("no WebSocket");
      await sleep(this.#own.pause(lost++));
      this.#hasComeBack = true;
      try {
        return await this.open();
      } catch (error) {
        if (!(error instanceof LostError)) throw error;
      }
    }
  }

  /** @param {unknown} frame */
  #send(frame) {
    this.#connection?.send(JSON.stringify(frame));
  }
}

/** What came over a connection and was not read yet. */
class Incoming {
  /** @type {any[]} */ #frames = [];
  #hasEnded = false;
  /** @type {(() => void) | undefined} */ #wake;

  /** @param {unknown} frame */
  push(frame) {
    this.#frames.push(frame);
    this.#wake?.();
  }

  end() {
    this.#hasEnded = true;
    this.#wake?.();
  }

  takeAll() {
    return this.#frames.splice(0);
  }

  /** The next one; nothing when the connection has ended. @returns {Promise<any>} */
  async next() {
    while (this.#frames.length === 0 && !this.#hasEnded) {
      await new Promise((resolve) => { this.#wake = () => resolve(undefined); });
    }
    return this.#frames.shift();
  }
}

const STREAM = "text/event-stream";
const POLL_SECONDS = 25;
/** Refusals of the server; any other is the app's. */
const REFUSALS = new Set([
  "unknown-session", "missing-token", "stale-token", "in-flight", "idempotency-key-reused",
  "bad-idempotency-key", "bad-json", "not-an-object", "too-large", "token-in-query", "bad-cursor",
  "bad-parameter", "gone", "not-parked", "no-route", "method-not-allowed", "upgrade-required",
  "token-on-start", "already-bound", "store",
]);

/** The outcome, when the turn has ended with this event; throws when it failed. @param {SessionEvent} event */
function ended(event) {
  if (event.type === "error") {
    throw new TurnError(event.message, event.code ?? "app-error", event.retryable === true);
  }
  return event.type === "outcome" ? event : undefined;
}

/** Asking again with the same key is all that helps. @param {unknown} error */
function isLost(error) {
  return error instanceof LostError || (error instanceof TurnError && error.code === "interrupted");
}

/** @param {AsyncGenerator<SessionEvent, Outcome>} events */
async function drained(events) {
  for (;;) {
    const step = await events.next();
    if (step.done) return step.value;
  }
}

/** @param {Response} response @returns {Promise<any>} */
async function json(response) {
  const text = await response.text().catch((error) => { throw new LostError("half an answer", error); });
  const body = parsed(text);
  if (body === undefined) throw new LostError("an answer that is no JSON");
  return body;
}

/** @param {string} text @returns {any} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {number} milliseconds @param {AbortSignal} [signal] @returns {Promise<void>} */
function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal?.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", stop); resolve(); }, milliseconds);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A key that nobody guesses. */
async function randomKey() {
  // Node 18 has it in a module only; pages without HTTPS have no randomUUID.
  const builtin = "node:crypto";
  const crypto = globalThis.crypto ?? (await import(builtin)).webcrypto;
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
