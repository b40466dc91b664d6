// How far back the list of orders has been read, for each filter, and how many orders there are beyond. Pure.

/** The filters and the statuses that belong to them; null stands for all. */
export const FILTERS = {
  all: null,
  active: ["pending", "routing", "building", "submitted"],
  open: ["open"],
  confirmed: ["confirmed"],
  failed: ["failed"],
  withdrawn: ["cancelled", "expired"],
};

export const matches = (filter, status) => FILTERS[filter]?.includes(status) ?? true;

/** A list that is read page by page, newest first; one for each of several statuses, which merge. */
export class Listing {
  #parts;

  /** @param statuses those of the orders, or null for all */
  constructor(statuses) {
    this.#parts = (statuses ?? [null]).map((status) => ({ status, cursor: null, horizon: Infinity, done: false }));
  }

  /** Whether there is nothing beyond. */
  get complete() {
    return this.#parts.every(({ done }) => done);
  }

  /** All orders that are as new as this have been read (milliseconds since the epoch). */
  get horizon() {
    return Math.max(-Infinity, ...this.#parts.filter(({ done }) => !done).map(({ horizon }) => horizon));
  }

  /** The part to read on in: `{status, cursor}`; null if there is nothing beyond. */
  next() {
    const open = this.#parts.filter(({ done }) => !done);
    return open.length ? open.reduce((newest, part) => (part.horizon > newest.horizon ? part : newest)) : null;
  }

  /** Take a page that was read for `part`, as the API answers it. */
  take(part, { orders, nextCursor = null }) {
    part.cursor = nextCursor;
    part.done = nextCursor === null;
    const oldest = orders.at(-1);
    if (oldest) part.horizon = Date.parse(oldest.createdAt);
  }

  /** Orders up to this moment were dropped from the page: they are to be read again, from the newest on. */
  cutAt(moment) {
    for (const part of this.#parts) Object.assign(part, { cursor: null, done: false, horizon: moment });
  }
}

/** How many orders there are of each kind: what the engine counted, and what has moved since. */
export class Counts {
  #exist = null;
  #moved = new Map();

  /** The engine has counted: the answer of /api/stats. */
  counted({ open, active, byStatus }) {
    const by = (statuses) => statuses.reduce((sum, status) => sum + (byStatus[status] ?? 0), 0);
    const ended = Object.values(byStatus).reduce((sum, count) => sum + count, 0);
    this.#exist = Object.fromEntries(
      Object.entries(FILTERS).map(([name, statuses]) => [name, statuses ? by(statuses) : open + active + ended]),
    );
    Object.assign(this.#exist, { open, active });
    this.#moved.clear();
  }

  /** An order went from one status to another; null: it is new. */
  moved(before, after) {
    for (const name of Object.keys(FILTERS)) {
      const change = Number(matches(name, after)) - Number(before !== null && matches(name, before));
      this.#moved.set(name, (this.#moved.get(name) ?? 0) + change);
    }
  }

  /**
   * The count to show, as text; empty while nothing is known.
   *
   * @param loaded how many are on the page
   * @param complete whether all there are have been loaded
   */
  text(name, loaded, complete) {
    if (complete) return String(loaded);
    if (this.#exist === null) return loaded ? `${loaded}+` : "";
    return String(Math.max(loaded, this.#exist[name] + (this.#moved.get(name) ?? 0)));
  }
}
