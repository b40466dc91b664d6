// The order desk: puts the ticket, the table, the charts and the stream together.

import { api, ApiError, attemptName, key } from "./api.js";
import { Book, facts, TERMINAL } from "./book.js";
import { drawLatency, drawSuccess, drawThroughput, drawVenues, Finished } from "./charts.js";
import { statusLabel } from "./detail.js";
import { beforePaint, byId, debounced, h, setAttribute, setText } from "./dom.js";
import { amount, duration, timeOfDay, venueName } from "./format.js";
import { FILTERS, OrdersTable } from "./orders.js";
import { Stream } from "./stream.js";
import { placeSurely, Ticket } from "./ticket.js";

const STATS_EVERY_MS = 5_000;
const ASK_AGAIN_MS = 3_000;
const LEARN_AFTER_MS = 400;
const DEMO_AT_MOST = 100;

const DEMO_ORDERS = [
  { tokenIn: "SOL", tokenOut: "USDC", amountIn: "1.5" },
  { tokenIn: "USDC", tokenOut: "SOL", amountIn: "420" },
  { tokenIn: "SOL", tokenOut: "USDC", amountIn: "60" },
  { tokenIn: "SOL", tokenOut: "USDT", amountIn: "3" },
  { tokenIn: "USDC", tokenOut: "USDT", amountIn: "250" },
];

let book = new Book();
let finished = new Finished();
let stats = null;
let cursor = null;
let streamState = { name: "stopped" };

// What changed since the last paint: id -> whether the order is new on the page.
const changed = new Map();
const asked = new Set(); // orders whose missing events were asked for a moment ago
const learning = new Set(); // orders that were heard of before they were described
const outcomes = []; // announcements that wait to be read out

const table = new OrdersTable({
  element: byId("orders"),
  onCancel: cancelOrder,
  onRead: readOrder,
  onDropped: (id) => book.forget(id),
});
const ticket = new Ticket({ onPlaced: placed, onUnauthorized: unauthorized });
const stream = new Stream({ open: async () => (await api.streamTicket()).wsUrl, onFrame, onState: onStreamState });

// Notices

function notice(text, { bad = false, action = null } = {}) {
  const item = h("div", { class: bad ? "notice is-bad" : "notice" }, h("span", {}, text));
  if (action) item.append(h("button", { type: "button", class: "quiet", on: { click: action.run } }, action.label));
  const place = byId("notices");
  place.append(item);
  while (place.children.length > 3) place.firstElementChild.remove();
  setTimeout(() => item.remove(), bad ? 9_000 : 5_000);
}

const announceOutcomes = debounced(() => {
  const ended = outcomes.splice(0);
  setText(
    byId("announcer"),
    ended.length > 2 ? `${ended.length} orders have ended: ${summary(ended)}.` : ended.map(sentence).join(" "),
  );
}, 600);

const summary = (ended) =>
  [...new Set(ended.map(({ status }) => status))]
    .map((status) => `${ended.filter((order) => order.status === status).length} ${status}`)
    .join(", ");

function sentence(order) {
  const what = `${amount(order.amountIn)} ${order.tokenIn} to ${order.tokenOut}`;
  if (order.status === "confirmed")
    return `${what} confirmed: ${amount(order.amountOut)} ${order.tokenOut} on ${venueName(order.venue)}.`;
  return `${what} ${statusLabel(order.status).toLowerCase()}.${order.error ? ` ${order.error.message}` : ""}`;
}

// Orders

function touch(id, fresh = false) {
  changed.set(id, (changed.get(id) ?? false) || fresh);
  beforePaint(paint);
}

function paint() {
  const now = Date.now();
  for (const [id, fresh] of changed) {
    const entry = book.get(id);
    if (!entry) continue;
    table.update(entry, { fresh });
    if (!entry.summary) continue;
    const order = facts(entry);
    if (order.terminal)
      finished.add({ id, status: order.status, at: order.updatedAt, latencyMs: order.updatedAt - order.startedAt });
  }
  changed.clear();
  paintCounts();
  paintCharts(now);
}

function paintCounts() {
  const { counts } = table;
  for (const name of Object.keys(FILTERS)) setText(byId(`count-${name}`), String(counts[name]));
  setText(byId("active-now"), counts.active ? String(counts.active) : "");
  byId("empty").hidden = table.visible > 0 || !key.get();
  setText(
    byId("empty-text"),
    book.size ? "No order in this view." : "No orders yet. Place one, or run the demonstration.",
  );
}

function paintCharts(now) {
  drawThroughput(finished, stats, now);
  drawSuccess(finished, stats);
  drawLatency(finished, stats);
  drawVenues(stats);
}

function describe(view, fresh = false) {
  book.describe(view);
  touch(view.orderId, fresh);
}

function placed(accepted, request) {
  const { expiresAt = null, limitPrice = null, slippage, ...rest } = request;
  describe(
    {
      ...rest,
      limitPrice,
      expiresAt,
      slippageBps: Math.round(Number(slippage) * 100),
      orderId: accepted.orderId,
      status: accepted.status,
      createdAt: accepted.createdAt,
    },
    true,
  );
  notice(`Order accepted: ${amount(request.amountIn)} ${request.tokenIn} → ${request.tokenOut}`, {
    action: { label: "Show", run: () => showOrder(accepted.orderId) },
  });
}

function showOrder(id) {
  setView("orders");
  table.reveal(id);
}

async function readOrder(id) {
  try {
    describe(await api.read(id));
  } catch (error) {
    refused(error);
  }
}

async function cancelOrder(id) {
  try {
    describe(await api.cancel(id));
    notice("Order cancelled");
  } catch (error) {
    refused(error);
  }
}

function refused(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.unauthorized) unauthorized();
  else notice(error.message, { bad: true });
}

async function loadOrders(from = null) {
  const page = await api.list(from);
  cursor = page.nextCursor ?? null;
  byId("older").hidden = cursor === null;
  for (const view of page.orders) describe(view);
}

// The stream

function onFrame(frame) {
  if (frame.type !== "event" && frame.type !== "snapshot") return;
  const { entry, fresh } = book.apply(frame);
  const { id } = entry;
  // A long snapshot comes in parts, so what is missing after one may be on its way.
  if (entry.behind && frame.type === "event") askFor(entry);
  else if (entry.behind) setTimeout(askIfBehind, ASK_AGAIN_MS, id);
  if (!entry.summary) learn(id);
  if (frame.type === "event" && fresh.some(({ status }) => TERMINAL.has(status))) {
    outcomes.push(facts(entry));
    announceOutcomes();
    statsSoon();
  }
  if (fresh.length) touch(id);
}

/** Events were missed: have those after the last one sent again, once in a while until they are here. */
function askFor({ id, seq }) {
  if (asked.has(id) || !stream.send({ action: "subscribe", orderId: id, after: seq })) return;
  asked.add(id);
  setTimeout(() => {
    asked.delete(id);
    askIfBehind(id);
  }, ASK_AGAIN_MS);
}

function askIfBehind(id) {
  const entry = book.get(id);
  if (entry?.behind) askFor(entry);
}

/** An order from elsewhere was heard of: its request has to be read, unless it is our own and about to be known. */
function learn(id) {
  if (learning.has(id)) return;
  learning.add(id);
  setTimeout(async () => {
    if (!book.get(id)?.summary) await readOrder(id);
    learning.delete(id);
  }, LEARN_AFTER_MS);
}

async function onStreamState(state) {
  streamState = state;
  paintStream(Date.now());
  if (state.name === "refused") unauthorized();
  if (state.name !== "connected") return;
  asked.clear();
  try {
    await loadOrders();
  } catch (error) {
    refused(error);
  }
  // The subscription's snapshots cover the newest orders; others that went on meanwhile resume where they stood.
  for (const entry of book.entries()) {
    const missed = entry.seq > 0 && (entry.summary?.seq ?? 0) > entry.seq;
    if (entry.behind || missed || (entry.summary && !facts(entry).terminal)) askFor(entry);
  }
}

function paintStream(now) {
  const { name, until } = streamState;
  const seconds = Math.max(0, Math.ceil((until - now) / 1000));
  const text = {
    connecting: streamState.tries ? "Reconnecting …" : "Connecting …",
    connected: "Live",
    waiting: `Reconnecting in ${seconds} s`,
    offline: "Offline",
    stopped: "No key",
    refused: "Key refused",
  }[name];
  setText(byId("stream-text"), text);
  setAttribute(byId("stream"), "data-state", name);
  byId("stream-retry").hidden = name !== "waiting" && name !== "offline";
  setText(
    byId("stream-announcer"),
    { connected: "Live updates are on.", waiting: "Live updates are interrupted; reconnecting.", offline: "Offline." }[
      name
    ] ?? "",
  );
}

// Statistics

async function readStats() {
  if (!key.get() || document.hidden) return;
  try {
    stats = await api.stats();
    paintCharts(Date.now());
  } catch (error) {
    // The charts keep what they show; the stream's state tells that the engine is out of reach.
    if (!(error instanceof ApiError)) throw error;
  }
}

const statsSoon = debounced(readStats, 500);

// The demonstration

async function runDemo(event) {
  event.preventDefault();
  const wanted = Math.round(Number(byId("demo-count").value));
  const count = Math.min(DEMO_AT_MOST, Math.max(1, wanted || 1));
  byId("demo-count").value = String(count);
  const button = byId("demo-run");
  button.disabled = true;
  const requests = Array.from({ length: count }, (_, at) => ({
    type: "market",
    slippage: "0.5",
    ...DEMO_ORDERS[at % DEMO_ORDERS.length],
  }));
  const results = await Promise.allSettled(
    requests.map(async (request) => {
      const { slippage, ...rest } = request;
      const accepted = await placeSurely(request, attemptName());
      describe(
        {
          ...rest,
          slippageBps: Number(slippage) * 100,
          orderId: accepted.orderId,
          status: accepted.status,
          createdAt: accepted.createdAt,
        },
        true,
      );
    }),
  );
  button.disabled = false;
  const failures = results.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  if (count > failures.length) notice(`${count - failures.length} orders accepted`);
  if (failures.length) refused(failures[0]);
}

// The key

const dialog = byId("key-dialog");

function askForKey(error = "") {
  setText(byId("key-error"), error);
  if (!dialog.open) dialog.showModal();
}

function unauthorized() {
  if (!key.get()) return;
  key.forget();
  lock();
  askForKey("This key is unknown, expired or revoked.");
}

async function useKey(event) {
  event.preventDefault();
  const value = byId("key").value.trim();
  if (!/^[\x21-\x7e]{1,200}$/.test(value)) {
    setText(byId("key-error"), "A key is one word, such as oek_…");
    return;
  }
  key.set(value);
  try {
    await loadOrders();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    key.forget();
    setText(byId("key-error"), error.message);
    return;
  }
  byId("key").value = "";
  dialog.close();
  unlock();
}

function unlock() {
  setAttribute(document.body, "data-locked", null);
  byId("key-button").textContent = "Sign out";
  byId("demo-run").disabled = false;
  ticket.setEnabled(true);
  stream.start();
  readStats();
}

function lock() {
  key.forget();
  setAttribute(document.body, "data-locked", "");
  byId("key-button").textContent = "Enter key";
  byId("demo-run").disabled = true;
  byId("older").hidden = true;
  ticket.setEnabled(false);
  stream.stop();
  book = new Book();
  finished = new Finished();
  stats = null;
  changed.clear();
  table.clear();
  paintCounts();
  paintCharts(Date.now());
}

// The page

function setView(name) {
  setAttribute(document.body, "data-view", name);
  for (const button of byId("views").querySelectorAll("button"))
    setAttribute(button, "aria-pressed", String(button.dataset.view === name));
}

function toggleTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("order-engine.theme", root.dataset.theme);
}

function beat() {
  const now = Date.now();
  if (document.hidden) return;
  setText(byId("clock"), timeOfDay(now));
  paintStream(now);
  ticket.tick(now);
  table.tick(now);
}

async function readStage() {
  try {
    const { stage } = await api.health();
    setText(byId("stage"), stage);
    byId("stage").hidden = false;
    byId("local-hint").hidden = stage !== "local";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

byId("key-form").addEventListener("submit", useKey);
byId("key-later").addEventListener("click", () => dialog.close());
byId("key-button").addEventListener("click", () => {
  if (key.get()) lock();
  else askForKey();
});
byId("demo").addEventListener("submit", runDemo);
byId("theme").addEventListener("click", toggleTheme);
byId("stream-retry").addEventListener("click", () => stream.retryNow());
byId("older").addEventListener("click", () => loadOrders(cursor).catch(refused));
byId("filters").addEventListener("change", ({ target }) => {
  table.setFilter(target.value);
  paintCounts();
});
byId("views").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button) setView(button.dataset.view);
});
let width = window.innerWidth;
window.addEventListener(
  "resize",
  debounced(() => {
    if (width !== window.innerWidth) table.resized();
    width = window.innerWidth;
  }, 150),
);

setInterval(beat, 100);
setInterval(readStats, STATS_EVERY_MS);
setInterval(() => !document.hidden && drawThroughput(finished, stats, Date.now()), 1000);
readStage();
paintCharts(Date.now());
if (key.get()) {
  unlock();
  loadOrders().catch(refused);
} else {
  lock();
  askForKey();
}
