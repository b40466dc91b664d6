// The table of orders: a row for each, moving through its stages, which opens into the order's details.

import { CANCELLABLE, facts, timePerStatus } from "./book.js";
import { engineNow } from "./clock.js";
import { detail, statusLabel, tickDetail } from "./detail.js";
import { h, setAttribute, setText } from "./dom.js";
import { amount, basisPoints, bps, brief, duration, figure, moment, price, venueClass, venueName } from "./format.js";
import { decimalsOf, pairName, tokenName } from "./market.js";
import { FILTERS, matches } from "./listing.js";
import { routeDiagram, routeKind } from "./route.js";

const STAGES = ["pending", "routing", "building", "submitted"];
const ROWS_AT_MOST = 400;

class Row {
  constructor(entry, table) {
    this.entry = entry;
    this.table = table;
    this.open = false;
    this.panelId = `detail-${entry.id}`;
    this.title = h("span", { class: "pair" });
    this.kind = h("span");
    this.short = entry.id.slice(0, 6);
    this.badge = h("span", { class: "badge" });
    this.note = h("span", { class: "soft note" });
    this.segments = STAGES.map((stage) => ({ stage, bar: h("i"), time: h("span") }));
    this.end = { bar: h("i"), time: h("span", { title: "In all" }) };
    this.venue = h("span", { class: "venue" });
    this.way = h("span", { class: "soft" });
    this.got = h("span", { class: "got" });
    this.price = h("span", { class: "soft" });
    this.against = h("span");
    this.cancel = h("button", { type: "button", class: "quiet cancel" }, "Cancel");
    this.toggle = h("button", {
      type: "button",
      class: "chevron",
      "aria-expanded": "false",
      "aria-controls": this.panelId,
    });
    this.track = h(
      "div",
      { class: "track", role: "img" },
      ...[...this.segments, this.end].map(({ bar, time }) => h("span", { class: "segment" }, bar, time)),
    );
    const shortId = h("span", { class: "short-id" }, ` · ${this.short}`);
    const cell = (name, ...children) => h("td", { role: "cell", class: name }, ...children);
    this.line = h(
      "tr",
      { role: "row", class: "order-line" },
      cell("c-order", this.title, h("span", { class: "soft" }, this.kind, shortId)),
      cell("c-status", this.badge, this.note),
      cell("c-track", this.track),
      cell("c-venue", this.venue, this.way),
      cell("c-got", this.got, h("span", { class: "soft price-line" }, this.price, " ", this.against), this.cancel),
      cell("c-act", this.toggle),
    );
    this.panel = h("td", { role: "cell", colspan: 6, id: this.panelId });
    this.body = h(
      "tbody",
      { role: "rowgroup", class: "order", "data-order": entry.id },
      this.line,
      h("tr", { role: "row", class: "order-detail", hidden: true }, this.panel),
    );
    this.cancel.addEventListener("click", (event) => {
      event.stopPropagation();
      this.cancel.disabled = true;
      table.onCancel(entry.id).finally(() => (this.cancel.disabled = false));
    });
    this.toggle.addEventListener("click", () => this.setOpen(!this.open));
    this.line.addEventListener("click", (event) => {
      // A click that ends a selection of text, or lands on a button, is not a wish to open the row.
      if (!event.target.closest("button") && getSelection().isCollapsed) this.setOpen(!this.open);
    });
  }

  setOpen(open) {
    this.open = open;
    this.body.classList.toggle("is-open", open);
    setAttribute(this.toggle, "aria-expanded", String(open));
    this.panel.parentElement.hidden = !open;
    if (open) {
      this.drawPanel(engineNow());
      if (this.entry.events.length === 0) this.table.onRead(this.entry.id);
    } else this.panel.replaceChildren();
  }

  drawPanel(now) {
    this.panel.replaceChildren(detail(this.entry, now));
    const place = this.panel.querySelector(".route-place");
    if (place) place.append(routeDiagram(this.facts.route, Math.max(220, place.clientWidth)));
  }

  /** Show the order as it is now; the details too if they are open. */
  draw(now) {
    const order = (this.facts = facts(this.entry));
    setText(this.title, `${amount(order.amountIn)} ${tokenName(order.tokenIn)} → ${tokenName(order.tokenOut)}`);
    const kind = order.type === "limit" ? `limit ${amount(order.limitPrice)}` : "market";
    setText(this.kind, `${kind} · ${moment(order.createdAt, now)}`);
    setAttribute(this.body, "data-status", order.status);
    setText(
      this.badge,
      order.retryAt && order.status === "pending" ? `Retry ${order.attempt}` : statusLabel(order.status),
    );
    setAttribute(this.badge, "class", `badge s-${order.status}${order.retryAt ? " is-retry" : ""}`);
    setText(this.venue, order.venue ? venueName(order.venue) : "");
    setAttribute(this.venue, "class", order.venue ? `venue ${venueClass(order.venue)}` : null);
    setText(this.way, order.route ? routeKind(order.route) : "");
    const against = order.amountOut && order.route ? basisPoints(order.amountOut, order.route.amountOut) : null;
    const cancellable = CANCELLABLE.has(order.status);
    setText(this.got, cancellable ? "" : this.#received(order));
    setAttribute(this.got, "class", order.amountOut ? "got" : "got soft");
    setText(this.price, order.executedPrice ? `@ ${price(order.executedPrice)}` : "");
    setText(this.against, against === null ? "" : bps(against));
    setAttribute(this.against, "title", against === null ? null : "Received against quoted");
    setAttribute(this.against, "class", against === null ? null : against < 0 ? "bad" : "ok");
    this.cancel.hidden = !cancellable;
    setAttribute(this.cancel, "aria-label", `Cancel ${pairName(order)}, order ${this.short}`);
    setAttribute(this.toggle, "aria-label", `Details of ${pairName(order)}, order ${this.short}`);
    this.tick(now);
    if (this.open) this.drawPanel(now);
  }

  #received({ amountOut, route, terminal, tokenOut }) {
    if (amountOut) return `${figure(amountOut, decimalsOf(tokenOut))} ${tokenName(tokenOut)}`;
    return route && !terminal ? `≈ ${figure(route.amountOut, decimalsOf(tokenOut))} ${tokenName(tokenOut)}` : "";
  }

  /** Let time go on. */
  tick(now) {
    const order = this.facts;
    const spent = timePerStatus(this.entry, now);
    // A resting order has not begun: its wait is shown where the others wait.
    if (spent.has("open")) spent.set("pending", spent.get("open") + (spent.get("pending") ?? 0));
    for (const { stage, bar, time } of this.segments) {
      setAttribute(bar, "class", this.#segmentClass(stage, spent.has(stage)));
      setText(time, spent.has(stage) ? brief(spent.get(stage)) : "");
    }
    const total = (order.terminal ? order.updatedAt : Math.max(now, order.createdAt)) - order.createdAt;
    setAttribute(this.end.bar, "class", order.status === "confirmed" ? "confirmed" : "idle");
    setText(this.end.time, order.status === "open" ? "" : brief(total));
    setAttribute(this.end.time, "class", order.terminal ? "in-all" : null);
    setText(this.note, this.#attemptNote(now));
    const after = order.terminal ? ` after ${duration(total)}` : "";
    setAttribute(this.track, "aria-label", statusLabel(order.status) + after);
    if (this.open && !order.terminal) tickDetail(this.panel, now);
  }

  #segmentClass(stage, seen) {
    const { status, retryAt } = this.facts;
    if (stage === "pending" && status === "open") return "resting";
    if (stage === status) return retryAt ? "retry" : "active";
    if (["failed", "cancelled", "expired"].includes(status) && stage === this.#reached()) return status;
    return seen || status === "confirmed" ? "done" : "idle";
  }

  #attemptNote(now) {
    const { status, attempt, retryAt, terminal, expiresAt } = this.facts;
    if (status === "open") return expiresAt ? `until ${moment(Date.parse(expiresAt), now)}` : "";
    if (status === "pending" && retryAt > now) return `in ${duration(retryAt - now)}`;
    if (attempt < 2) return "";
    return terminal ? `${attempt} attempts` : `attempt ${attempt}`;
  }

  /** The last stage before the end. */
  #reached() {
    const before = this.entry.events.at(-2)?.status;
    return before === "open" || !before ? "pending" : before;
  }
}

export class OrdersTable {
  #rows = new Map();
  #sorted = [];
  #filter = "all";
  #horizon = -Infinity;

  /**
   * @param element the table
   * @param onCancel resolves when the order is cancelled or the refusal was shown
   * @param onRead asks for an order's events
   * @param onDropped told the oldest ended orders when there are too many rows
   */
  constructor({ element, onCancel, onRead, onDropped }) {
    Object.assign(this, { element, onCancel, onRead, onDropped });
  }

  /** How many rows there are for each filter, seen or not. */
  get counts() {
    const counts = Object.fromEntries(Object.keys(FILTERS).map((name) => [name, 0]));
    for (const { facts: order } of this.#sorted)
      for (const name of Object.keys(FILTERS)) counts[name] += Number(matches(name, order.status));
    return counts;
  }

  /** How many rows are seen. */
  get visible() {
    return this.#sorted.filter(({ body }) => !body.hidden).length;
  }

  /**
   * Show the orders of one kind.
   *
   * @param horizon how far back they are all here (milliseconds since the epoch): beyond that there would be gaps
   */
  show(filter, horizon) {
    this.#filter = filter;
    this.#horizon = horizon;
    for (const row of this.#sorted) this.#applyFilter(row);
  }

  #applyFilter(row) {
    // An opened row stays until it is closed, and one that was seen to change is shown wherever it belongs.
    const { status, createdAt } = row.facts;
    const here = createdAt >= this.#horizon || row.entry.live;
    row.body.hidden = !(here && matches(this.#filter, status)) && !row.open;
  }

  /** Show an order; a new one takes its place by the time it was placed. */
  update(entry, { fresh = false } = {}) {
    if (!entry.summary) return;
    const now = engineNow();
    let row = this.#rows.get(entry.id);
    if (!row) {
      row = new Row(entry, this);
      row.draw(now);
      this.#rows.set(entry.id, row);
      let place = this.#sorted.findIndex((other) => other.facts.createdAt < row.facts.createdAt);
      if (place < 0) place = this.#sorted.length;
      this.element.insertBefore(row.body, this.#sorted[place]?.body ?? null);
      this.#sorted.splice(place, 0, row);
      if (fresh) row.body.classList.add("is-new");
      if (place === 0) this.#trim();
    } else row.draw(now);
    this.#applyFilter(row);
  }

  #trim() {
    if (this.#sorted.length <= ROWS_AT_MOST) return;
    const place = this.#sorted.findLastIndex((row) => row.facts.terminal && !row.open);
    if (place < 0) return;
    const [row] = this.#sorted.splice(place, 1);
    row.body.remove();
    this.#rows.delete(row.entry.id);
    this.onDropped(row.facts);
  }

  /** Let the running orders' clocks go on. */
  tick(now) {
    for (const row of this.#sorted) if (!row.facts.terminal && !row.body.hidden) row.tick(now);
  }

  /** Open an order's row and bring it into view. */
  reveal(id) {
    const row = this.#rows.get(id);
    if (!row) return;
    row.setOpen(true);
    row.body.hidden = false;
    row.body.scrollIntoView({ block: "nearest" });
    row.toggle.focus({ preventScroll: true });
  }

  /** Draw the open panels again, for another width. */
  resized() {
    for (const row of this.#sorted) if (row.open) row.drawPanel(engineNow());
  }

  clear() {
    for (const { body } of this.#sorted) body.remove();
    this.#rows.clear();
    this.#sorted = [];
  }
}
