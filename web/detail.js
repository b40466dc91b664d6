// The expanded order: its timeline with the time spent in each step, the routing decision, and the execution.

import { facts, stretches } from "./book.js";
import { h, setText } from "./dom.js";
import {
  amount,
  basisPoints,
  bps,
  duration,
  figure,
  figures,
  isPositive,
  moment,
  percentOfBps,
  price,
  shortened,
  sol,
  timeOfDay,
  venueClass,
  venueName,
} from "./format.js";
import { decimalsOf, tokenName, venues } from "./market.js";
import { routeKind } from "./route.js";

const LABELS = {
  open: "Resting",
  pending: "Pending",
  routing: "Routing",
  building: "Building",
  submitted: "Submitted",
  confirmed: "Confirmed",
  failed: "Failed",
  cancelled: "Cancelled",
  expired: "Expired",
};

export const statusLabel = (status) => LABELS[status] ?? String(status);

/** What happened in a step, as a sentence; the texts of the server are used as they are. */
function story(event, before, order) {
  const target = tokenName(order.tokenOut);
  switch (event.status) {
    case "open":
      return event.error
        ? event.error.message
        : `Rests until 1 ${tokenName(order.tokenIn)} gives at least ${amount(order.limitPrice)} ${target}`;
    case "pending":
      if (event.error) return event.error.message;
      return before?.status === "open" ? "The market reached the limit; queued" : "Accepted and queued";
    case "routing":
      return before?.status === "pending"
        ? "Claimed by a worker, which asks all venues for quotes"
        : "Taken over by another worker";
    case "building":
      return event.reason ?? "Route chosen";
    case "submitted":
      return "Signed, stored, then broadcast";
    case "confirmed": {
      const got = `${figure(event.amountOut, decimalsOf(order.tokenOut))} ${target}`;
      return `Landed in slot ${event.slot}: ${got} at ${price(event.executedPrice)}`;
    }
    case "failed":
      return event.failureReason ?? "Given up";
    case "cancelled":
      return "Withdrawn before a worker had claimed it";
    case "expired":
      return "Its time limit passed";
    default:
      return "";
  }
}

function timeline(entry, order, now) {
  const rows = stretches(entry, now);
  const total = rows.reduce((sum, { ms }) => sum + ms, 0);
  const running = rows.some(({ open }) => open);
  const bar = h("div", { class: "gantt", "aria-hidden": "true" });
  for (const { status, ms, attempt, from, open } of rows) {
    const piece = h("span", {
      class: `s-${status}`,
      title: open ? statusLabel(status) : `${statusLabel(status)}, attempt ${attempt}: ${duration(ms)}`,
      "data-grows-since": open ? from : null,
    });
    piece.style.flexGrow = String(Math.max(ms, total * 0.006, 1));
    bar.append(piece);
  }
  const attempts = Math.max(0, ...entry.events.map(({ attempt }) => attempt));
  const list = h("ol", { class: "steps" });
  entry.events.forEach((event, at) => {
    const stretch = rows.find((row) => row.event === event);
    const spent = h("span", { class: "spent" }, stretch ? duration(stretch.ms) : "");
    if (stretch?.open) spent.dataset.since = String(stretch.from);
    list.append(
      h(
        "li",
        { class: `step s-${event.status}${event.error ? " has-error" : ""}`, "data-seq": event.seq },
        h(
          "div",
          { class: "step-head" },
          h("strong", {}, event.error && event.status === "pending" ? "To be retried" : statusLabel(event.status)),
          attempts > 1 && event.attempt > 0 ? h("span", { class: "tag" }, `attempt ${event.attempt}`) : null,
          event.error ? h("code", { class: "tag code" }, event.error.code) : null,
          spent,
        ),
        h("p", {}, story(event, entry.events[at - 1], order)),
        event.retryAt
          ? h("p", { class: "soft" }, `Next try ${duration(Date.parse(event.retryAt) - Date.parse(event.at))} later`)
          : null,
        h("time", { datetime: event.at }, timeOfDay(Date.parse(event.at), { millis: true })),
      ),
    );
  });
  return h(
    "section",
    { class: "block timeline" },
    h(
      "h3",
      {},
      "Timeline",
      h("span", { class: "soft in-all", "data-since": running ? rows[0].from : null }, duration(total)),
    ),
    bar,
    list,
  );
}

/** The best candidates, and in any case the best of each venue. */
function shown(quotes, atMost) {
  const firsts = new Set([...venues.keys()].map((venue) => quotes.find((quote) => quote.venue === venue)));
  const rest = atMost - quotes.slice(atMost).filter((quote) => firsts.has(quote)).length;
  return quotes.filter((quote, at) => at < rest || firsts.has(quote));
}

const way = (quote) => (quote.kind === "single" ? `${quote.legs[0].pool.slice(0, 4)}…` : routeKind(quote));

/**
 * The candidates as a table, the chosen one marked, and the venues that were left out with their reasons.
 *
 * @param decimals those of the output token
 * @param atMost how many candidates are shown
 * @param brief without the price impact, a line for each
 */
export function quotesTable(decision, tokenOut, decimals, { atMost = Infinity, brief = false } = {}) {
  const best = decision.route;
  const target = tokenName(tokenOut);
  const same = (quote) => quote.venue === best.venue && quote.kind === best.kind && quote.netOut === best.netOut;
  const chosen = decision.quotes.find(same);
  const quotes = shown(decision.quotes, atMost);
  const nets = figures(
    quotes.map(({ netOut }) => netOut),
    decimals,
  );
  const body = h("tbody");
  quotes.forEach((quote, at) => {
    const name = h("span", { class: `venue ${venueClass(quote.venue)}` }, venueName(quote.venue));
    const pools = quote.legs.map(({ pool }) => pool).join(", ");
    const against = isPositive(best.netOut) ? basisPoints(quote.netOut, best.netOut) : null;
    const style = quote === chosen && isPositive(best.netOut) ? "ok" : "soft";
    body.append(
      h(
        "tr",
        { class: quote === chosen ? "chosen" : null },
        h("th", { scope: "row" }, name, " ", h("span", { class: "soft", title: pools }, way(quote))),
        h("td", { title: `${quote.netOut} ${target}`, class: isPositive(quote.netOut) ? null : "bad" }, nets[at]),
        brief ? null : h("td", { class: "soft" }, percentOfBps(quote.priceImpactBps)),
        h("td", { class: style }, quote === chosen ? "best" : bps(against)),
      ),
    );
  });
  for (const left of decision.leftOut ?? []) {
    body.append(
      h(
        "tr",
        { class: "left-out" },
        h("th", { scope: "row" }, h("span", { class: `venue ${venueClass(left.venue)}` }, venueName(left.venue))),
        h("td", { colspan: brief ? 2 : 3 }, left.reason),
      ),
    );
  }
  return h(
    "table",
    { class: brief ? "quotes is-brief" : "quotes" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Venue"),
        h("th", { scope: "col", title: "After the pools' fees and the network fee" }, `Net ${target}`),
        brief ? null : h("th", { scope: "col", title: "Lost against the market's price" }, "Impact"),
        h("th", { scope: "col" }, "Vs. best"),
      ),
    ),
    body,
  );
}

const fact = (name, ...value) => h("div", { class: "fact" }, h("dt", {}, name), h("dd", {}, ...value));

function copyable(text) {
  const button = h(
    "button",
    { type: "button", class: "copy", title: "Copy the whole text", "aria-label": `Copy ${text}` },
    shortened(text, 10, 8),
  );
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    try {
      await navigator.clipboard.writeText(text);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1200);
    } catch {
      // Without leave to use the clipboard the whole text is shown, to be selected.
      button.replaceWith(h("code", { class: "whole" }, text));
    }
  });
  return button;
}

function decision(order) {
  if (!order.route) return null;
  const { improvementOverOtherBps: gain, runnerUp } = order;
  return h(
    "section",
    { class: "block decision" },
    h(
      "h3",
      {},
      "Routing decision",
      gain === null ? null : h("span", { class: "soft" }, `${bps(gain)} over ${venueName(runnerUp)}`),
    ),
    h("p", { class: "reason" }, order.reason),
    h("div", { class: "route-place" }),
    quotesTable(order, order.tokenOut, decimalsOf(order.tokenOut)),
  );
}

function execution(order) {
  const against = order.amountOut && order.route ? basisPoints(order.amountOut, order.route.amountOut) : null;
  const unit = `${tokenName(order.tokenOut)} per ${tokenName(order.tokenIn)}`;
  const outputs = [order.route?.amountOut ?? null, order.minOut, order.amountOut];
  const target = tokenName(order.tokenOut);
  const [quoted, least, received] = figures(outputs, decimalsOf(order.tokenOut)).map((text) => `${text} ${target}`);
  return h(
    "section",
    { class: "block execution" },
    h("h3", {}, "Execution"),
    h(
      "dl",
      { class: "facts" },
      fact("Order", copyable(order.id)),
      fact("Placed", moment(order.createdAt)),
      fact("Amount", `${amount(order.amountIn)} ${tokenName(order.tokenIn)}`),
      order.limitPrice ? fact("Limit", `${amount(order.limitPrice)} ${unit}`) : null,
      order.expiresAt ? fact("Good until", moment(Date.parse(order.expiresAt))) : null,
      fact("Max. slippage", `${(order.slippageBps ?? 0) / 100} %`),
      order.route ? fact("Quoted", quoted) : null,
      order.minOut ? fact("Minimum", least) : null,
      order.amountOut ? fact("Received", h("strong", {}, received)) : null,
      order.executedPrice ? fact("Price", `${price(order.executedPrice)} ${unit}`) : null,
      against === null ? null : fact("Against quote", h("span", { class: against < 0 ? "bad" : "ok" }, bps(against))),
      order.networkFeeLamports ? fact("Network fee", sol(order.networkFeeLamports)) : null,
      order.attempt > 0 ? fact("Attempts", String(order.attempt)) : null,
      order.txHash ? fact("Signature", copyable(order.txHash)) : null,
    ),
    order.error && order.terminal
      ? h("p", { class: "failure" }, h("code", { class: "tag code" }, order.error.code), " ", order.error.message)
      : null,
  );
}

/** The whole panel; the route is drawn into its `.route-place` once that has a width. */
export function detail(entry, now) {
  const order = facts(entry);
  if (entry.events.length === 0) return h("div", { class: "panel-detail loading" }, "Reading the order's events…");
  return h(
    "div",
    { class: "panel-detail" },
    h("div", { class: "column" }, timeline(entry, order, now)),
    h("div", { class: "column" }, execution(order), decision(order)),
  );
}

/** Let the time of the running step, and of the whole, go on. */
export function tickDetail(panel, now) {
  for (const node of panel.querySelectorAll("[data-since]")) setText(node, duration(now - Number(node.dataset.since)));
  for (const piece of panel.querySelectorAll("[data-grows-since]"))
    piece.style.flexGrow = String(Math.max(1, now - Number(piece.dataset.growsSince)));
}
