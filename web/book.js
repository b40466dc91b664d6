// What the page knows about its orders. Pure: no network, no document, no clock of its own.
//
// Every order's events are numbered 1, 2, 3… The book takes each number exactly once and in order, whatever the
// socket does: what it has already is dropped, what comes too early is held until the gap before it is filled.

export const TERMINAL = new Set(["confirmed", "failed", "cancelled", "expired"]);
export const CANCELLABLE = new Set(["open", "pending"]);

const HELD_AT_MOST = 200;

/** One order as the page knows it. */
class Entry {
  constructor(id) {
    this.id = id;
    this.summary = null; // the API's view of the order, without its events
    this.events = []; // numbered 1 … events.length, without a gap
    this.held = new Map(); // events that came before their predecessors, by number
    this.known = 0; // the highest number that was heard of
    this.live = false; // whether it was seen to change
  }

  get seq() {
    return this.events.length;
  }

  /** Whether events are known to exist that are not here. */
  get behind() {
    return this.known > this.seq;
  }
}

export class Book {
  #entries = new Map();

  get size() {
    return this.#entries.size;
  }

  get(id) {
    return this.#entries.get(id);
  }

  has(id) {
    return this.#entries.has(id);
  }

  forget(id) {
    this.#entries.delete(id);
  }

  entries() {
    return this.#entries.values();
  }

  #entry(id) {
    let entry = this.#entries.get(id);
    if (!entry) this.#entries.set(id, (entry = new Entry(id)));
    return entry;
  }

  /** Take an order as the API reads it, with or without events. Never goes back to an older state. */
  describe(view) {
    const entry = this.#entry(view.orderId);
    const { events, ...summary } = view;
    if (!entry.summary || (summary.seq ?? 0) >= (entry.summary.seq ?? 0))
      entry.summary = { ...entry.summary, ...summary };
    if (events) this.#take(entry, events);
    return entry;
  }

  /**
   * Take a frame of the stream.
   *
   * Returns the order's entry and its new events, in order. The entry is `behind` if some have to be asked for.
   */
  apply(frame) {
    const entry = this.#entry(frame.orderId);
    entry.known = Math.max(entry.known, frame.seq);
    return { entry, fresh: this.#take(entry, frame.type === "snapshot" ? frame.events : [frame]) };
  }

  #take(entry, events) {
    const fresh = [];
    for (const event of events) {
      entry.known = Math.max(entry.known, event.seq);
      if (event.seq > entry.seq && entry.held.size < HELD_AT_MOST) entry.held.set(event.seq, event);
    }
    for (let next = entry.held.get(entry.seq + 1); next; next = entry.held.get(entry.seq + 1)) {
      entry.held.delete(next.seq);
      entry.events.push(next);
      fresh.push(next);
    }
    return fresh;
  }
}

const last = (events, wanted) => {
  for (let at = events.length - 1; at >= 0; at -= 1) if (wanted(events[at])) return events[at];
  return null;
};

/** When its execution began: what a limit order rested does not count. Null where only its events would tell. */
function startedAt(events, request) {
  const began = events[events.findLastIndex(({ status }) => status === "open") + 1]?.at;
  return began || request.type !== "limit" ? Date.parse(began ?? request.createdAt ?? 0) : null;
}

/** Everything that is shown of an order, from its events where they reach as far as the summary. */
export function facts(entry) {
  const { events } = entry;
  const request = entry.summary ?? {};
  const summary = (request.seq ?? 0) > events.length ? request : null;
  const final = events.at(-1);
  const decided = summary ? summary : last(events, (event) => event.route);
  const signed = summary ? summary : last(events, (event) => event.txHash);
  const current = summary ?? final ?? request;
  const status = current.status ?? "pending";
  return {
    id: entry.id,
    status,
    terminal: TERMINAL.has(status),
    attempt: (summary ? summary.attempts : final?.attempt) ?? 0,
    type: request.type ?? null,
    tokenIn: request.tokenIn ?? null,
    tokenOut: request.tokenOut ?? null,
    amountIn: request.amountIn ?? null,
    limitPrice: request.limitPrice ?? null,
    slippageBps: request.slippageBps ?? null,
    expiresAt: request.expiresAt ?? null,
    createdAt: Date.parse(events[0]?.at ?? request.createdAt ?? 0),
    startedAt: startedAt(events, request),
    updatedAt: Date.parse(summary?.updatedAt ?? final?.at ?? request.createdAt ?? 0),
    venue: decided?.venue ?? null,
    reason: decided?.reason ?? null,
    route: decided?.route ?? null,
    quotes: decided?.quotes ?? null,
    leftOut: decided?.leftOut ?? [],
    minOut: decided?.minOut ?? null,
    improvementBps: decided?.improvementBps ?? null,
    improvementOverOtherBps: decided?.improvementOverOtherBps ?? null,
    runnerUp: decided?.runnerUp ?? null,
    networkFeeLamports: decided?.networkFeeLamports ?? null,
    txHash: signed?.txHash ?? null,
    amountOut: current.amountOut ?? null,
    executedPrice: current.executedPrice ?? null,
    slot: final?.slot ?? null,
    error: current.error ?? null,
    retryAt: current.retryAt ? Date.parse(current.retryAt) : null,
    failures: events.filter((event) => event.error),
  };
}

/**
 * The stretches of an order's life: one for each event, until the next one or `now`.
 *
 * Returns `{status, attempt, from, ms, event, open}`; a terminal event has no stretch.
 */
export function stretches(entry, now) {
  return entry.events
    .filter((event) => !TERMINAL.has(event.status))
    .map((event) => {
      const next = entry.events[event.seq];
      const from = Date.parse(event.at);
      const until = next ? Date.parse(next.at) : Math.max(now, from);
      return { status: event.status, attempt: event.attempt, from, ms: until - from, event, open: !next };
    });
}

/** Milliseconds spent in each status over all attempts. */
export function timePerStatus(entry, now) {
  const spent = new Map();
  for (const { status, ms } of stretches(entry, now)) spent.set(status, (spent.get(status) ?? 0) + ms);
  return spent;
}
