// The orders of the page: read from the API, followed on the stream, and drawn into the table and the charts.

import { api, ApiError } from "./api.js";
import { Book, facts } from "./book.js";
import { Finished } from "./charts.js";
import { engineNow } from "./clock.js";
import { beforePaint } from "./dom.js";
import { Counts, FILTERS, Listing } from "./listing.js";
import { notice } from "./notices.js";

const ASK_AGAIN_MS = 3_000;
const LEARN_AFTER_MS = 400;
const GAP_PAGES = 10;
const EMPTY_PAGES = 20;
// A socket may have been dead for a while before that is noticed.
const UNNOTICED_MS = 60_000;

export class Feed {
  book = new Book();
  finished = new Finished();
  #counts = new Counts();
  #listings = new Map(); // filter -> Listing
  #filter = "all";
  #loading = false;
  #started = false; // whether the newest orders have been read
  #followedUntil = Infinity; // while the stream is not there: until when it surely told of every order
  #changed = new Map(); // what changed since the last paint: id -> whether the order is new on the page
  #asked = new Set(); // orders whose missing events were asked for a moment ago
  #learning = new Set(); // orders that were heard of before they were described

  /**
   * @param table shows the orders
   * @param send sends a message on the stream; false if it cannot
   * @param onPainted called when the table shows something else
   * @param onEnded called with the id of an order that was seen to end
   * @param onUnauthorized called when the key is refused
   */
  constructor({ table, send, onPainted, onEnded, onUnauthorized }) {
    Object.assign(this, { table, send, onPainted, onEnded, onUnauthorized });
  }

  clear() {
    this.book = new Book();
    this.finished = new Finished();
    this.#counts = new Counts();
    this.#listings.clear();
    this.#started = false;
    this.#changed.clear();
    this.table.clear();
    this.onPainted();
  }

  // Orders

  describe(view, fresh = false) {
    this.book.describe(view);
    this.#touch(view.orderId, fresh);
  }

  /** An order was accepted. Returns whether it is still under way. */
  placed(accepted, request) {
    const { expiresAt = null, limitPrice = null, slippage, ...rest } = request;
    const { orderId, status, createdAt } = accepted;
    if (!this.book.has(orderId)) this.#counts.moved(null, status);
    const slippageBps = Math.round(Number(slippage) * 100);
    this.describe({ ...rest, limitPrice, expiresAt, slippageBps, orderId, status, createdAt }, true);
    return !facts(this.book.get(orderId)).terminal;
  }

  async read(id) {
    try {
      this.describe(await api.read(id));
    } catch (error) {
      this.refused(error);
    }
  }

  async cancel(id) {
    try {
      const view = await api.cancel(id);
      this.#moving(id, () => this.describe(view));
      notice("Order cancelled");
    } catch (error) {
      this.refused(error);
    }
  }

  refused(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.signedOut) return;
    if (error.unauthorized) this.onUnauthorized();
    else notice(error.message, { bad: true });
  }

  /** The table has dropped an order: from there on the list has to be read again. */
  dropped({ id, createdAt }) {
    this.book.forget(id);
    for (const listing of this.#listings.values()) listing.cutAt(createdAt);
  }

  #touch(id, fresh = false) {
    this.#changed.set(id, (this.#changed.get(id) ?? false) || fresh);
    beforePaint(this.#paint);
  }

  #paint = () => {
    for (const [id, fresh] of this.#changed) {
      const entry = this.book.get(id);
      if (!entry?.summary) continue;
      this.table.update(entry, { fresh });
      const order = facts(entry);
      const latencyMs = order.startedAt === null ? null : order.updatedAt - order.startedAt;
      if (order.terminal) this.finished.add({ id, status: order.status, at: order.updatedAt, latencyMs });
    }
    this.#changed.clear();
    this.onPainted();
  };

  /** Do what may change an order's status, and count the change. */
  #moving(id, work) {
    const before = this.book.get(id);
    const from = before ? facts(before).status : null;
    work();
    const to = facts(this.book.get(id)).status;
    if (from !== to) this.#counts.moved(from, to);
  }

  // The list

  #listing(filter) {
    if (!this.#listings.has(filter)) this.#listings.set(filter, new Listing(FILTERS[filter]));
    return this.#listings.get(filter);
  }

  /** Whether everything that belongs to the filter has been read. */
  complete(filter = this.#filter) {
    return this.#listing("all").complete || this.#listing(filter).complete;
  }

  get started() {
    return this.#started;
  }

  get loading() {
    return this.#loading;
  }

  /** From when on all orders are here, in milliseconds since the epoch. */
  get horizon() {
    return this.#listing("all").horizon;
  }

  /** How many orders each filter has, as text. */
  get counts() {
    const text = ([name, loaded]) => [name, this.#counts.text(name, loaded, this.complete(name))];
    return Object.fromEntries(Object.entries(this.table.counts).map(text));
  }

  counted(stats) {
    this.#counts.counted(stats);
  }

  /** Show one kind of order; what there is of it beyond the page is read. */
  async setFilter(filter) {
    this.#filter = filter;
    this.#showHorizon();
    if (!this.complete() && this.table.visible === 0) await this.loadMore();
  }

  #showHorizon() {
    const own = this.complete() ? -Infinity : this.#listing(this.#filter).horizon;
    this.table.show(this.#filter, Math.min(own, this.horizon));
    this.onPainted();
  }

  /** Read the next older orders of the filter, until there is another one to be seen. */
  async loadMore() {
    if (this.#loading) return;
    const listing = this.#listing(this.#filter);
    const seen = this.table.visible;
    this.#loading = true;
    this.onPainted();
    try {
      for (let pages = 0; pages < EMPTY_PAGES && !listing.complete && this.table.visible <= seen; pages += 1) {
        const part = listing.next();
        const page = await api.list(part);
        listing.take(part, page);
        this.#takePage(page);
      }
    } catch (error) {
      this.refused(error);
    } finally {
      this.#loading = false;
      this.#showHorizon();
    }
  }

  #takePage({ orders }) {
    for (const view of orders) this.describe(view);
    this.#paint();
    this.#showHorizon();
  }

  /** Read the newest orders, back to where the stream was lost. */
  async refresh() {
    const listing = new Listing(FILTERS.all);
    const meets = () => listing.complete || listing.horizon <= this.#followedUntil;
    for (let pages = 0; pages < GAP_PAGES && (pages === 0 || !meets()); pages += 1) {
      const part = listing.next();
      const page = await api.list(part);
      listing.take(part, page);
      this.#takePage(page);
    }
    // Where the two meet, what was read before counts on; where they do not, there is a gap to be read again.
    if (!this.#started || listing.complete || !meets()) this.#listings.set("all", listing);
    this.#started = true;
    this.#followedUntil = Infinity;
    this.#showHorizon();
  }

  // The stream

  onFrame = (frame) => {
    if (frame.type !== "event" && frame.type !== "snapshot") return;
    const live = frame.type === "event";
    const known = this.book.get(frame.orderId);
    const before = known ? facts(known).status : live && frame.seq > 1 ? undefined : null;
    const { entry, fresh } = this.book.apply(frame);
    const { id } = entry;
    // A long snapshot comes in parts, so what is missing after one may be on its way.
    if (entry.behind && live) this.#askFor(entry);
    else if (entry.behind) setTimeout(this.#askIfBehind, ASK_AGAIN_MS, id);
    if (!entry.summary) this.#learn(id);
    if (!fresh.length) return;
    const order = facts(entry);
    if (live) {
      entry.live = true;
      if (before !== undefined && before !== order.status) this.#counts.moved(before, order.status);
      if (order.terminal) this.onEnded(id);
    }
    this.#touch(id);
  };

  /** The stream is lost. */
  interrupted() {
    this.#followedUntil = Math.min(this.#followedUntil, engineNow() - UNNOTICED_MS);
  }

  /** The stream is there (again): what was missed is read. */
  async resume() {
    this.#asked.clear();
    try {
      await this.refresh();
    } catch (error) {
      this.refused(error);
    }
    // The subscription's snapshots cover the newest orders; others that went on meanwhile resume where they stood.
    for (const entry of this.book.entries()) {
      const missed = entry.seq > 0 && (entry.summary?.seq ?? 0) > entry.seq;
      if (entry.behind || missed || (entry.summary && !facts(entry).terminal)) this.#askFor(entry);
    }
  }

  /** Events were missed: have those after the last one sent again, once in a while until they are here. */
  #askFor({ id, seq }) {
    if (this.#asked.has(id) || !this.send({ action: "subscribe", orderId: id, after: seq })) return;
    this.#asked.add(id);
    setTimeout(() => {
      this.#asked.delete(id);
      this.#askIfBehind(id);
    }, ASK_AGAIN_MS);
  }

  #askIfBehind = (id) => {
    const entry = this.book.get(id);
    if (entry?.behind) this.#askFor(entry);
  };

  /** An order from elsewhere was heard of: its request has to be read, unless it is our own and about to be known. */
  #learn(id) {
    if (this.#learning.has(id)) return;
    this.#learning.add(id);
    setTimeout(async () => {
      if (!this.book.get(id)?.summary) await this.read(id);
      this.#learning.delete(id);
    }, LEARN_AFTER_MS);
  }
}
