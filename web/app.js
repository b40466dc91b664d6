// The order desk: puts the ticket, the orders, the charts, the stream and the key together.

import { api, ApiError, key } from "./api.js";
import { facts } from "./book.js";
import { drawLatency, drawSuccess, drawThroughput, drawVenues } from "./charts.js";
import { engineNow } from "./clock.js";
import { Demo } from "./demo.js";
import { byId, debounced, setAttribute, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { timeOfDay } from "./format.js";
import { colourVenues, forgetTokens, keepTokens, learnTokens, learnVenues, recallTokens } from "./market.js";
import { Announcer } from "./notices.js";
import { OrdersTable } from "./orders.js";
import { Session } from "./session.js";
import { Stream } from "./stream.js";
import { Ticket } from "./ticket.js";

const STATS_EVERY_MS = 5_000;
// The engine counts an order's end a moment after it tells of it.
const STATS_AFTER_MS = 1_000;

// What the server has written into the page.
const engine = JSON.parse(byId("engine").textContent);
learnVenues(engine.venues);
colourVenues();
recallTokens();

let stats = null;
let tokensRead = false;
let streamState = { name: "stopped" };

const onUnauthorized = () => session.refused();
const table = new OrdersTable({
  element: byId("orders"),
  onCancel: (id) => feed.cancel(id),
  onRead: (id) => feed.read(id),
  onDropped: (order) => feed.dropped(order),
});
const feed = new Feed({
  table,
  send: (message) => stream.send(message),
  onPainted: paint,
  onEnded: (id) => {
    announcer.ended(id);
    demo.ended(id);
    statsSoon();
  },
  onUnauthorized,
});
const announcer = new Announcer((id) => facts(feed.book.get(id) ?? { id, events: [], summary: null }));
const ticket = new Ticket({
  onPlaced: (accepted, request) => feed.placed(accepted, request),
  onUnauthorized,
  onShow: (id) => {
    setView("orders");
    table.reveal(id);
  },
});
const demo = new Demo({
  onPlaced: (accepted, request) => feed.placed(accepted, request),
  onRefused: (error) => feed.refused(error),
});
const stream = new Stream({ open: async () => (await api.streamTicket()).wsUrl, onFrame: feed.onFrame, onState });
const session = new Session({
  check: () => feed.refresh(),
  onUnlock: () => {
    ticket.setEnabled(true);
    demo.setEnabled(true);
    stream.start();
    readTokens();
    readStats();
    if (!feed.started) feed.resume();
  },
  onLock: () => {
    ticket.setEnabled(false);
    demo.setEnabled(false);
    stream.stop();
    stats = null;
    feed.clear();
  },
  onSignOut: () => {
    ticket.forget();
    forgetTokens();
  },
});

// What is shown

function paint() {
  const counts = feed.counts;
  for (const [name, count] of Object.entries(counts)) setText(byId(`count-${name}`), count);
  setText(byId("active-now"), counts.active === "0" ? "" : counts.active);
  byId("older").hidden = !key.get() || feed.complete();
  byId("older").disabled = feed.loading;
  byId("empty").hidden = table.visible > 0;
  setText(byId("empty-text"), emptyText(counts));
  paintCharts(engineNow());
}

function emptyText(counts) {
  if (!key.get()) return "Enter a key to see your orders.";
  if (feed.loading || !feed.started) return "Reading your orders …";
  if (!feed.complete()) return "None among the orders that were read so far.";
  return counts.all === "0" ? "No orders yet. Place one, or run the demonstration." : "No order in this view.";
}

function paintCharts(now) {
  drawThroughput(feed.finished, stats, now, feed.horizon);
  drawSuccess(feed.finished, stats);
  drawLatency(feed.finished, stats);
  drawVenues(stats);
}

function paintStream(now) {
  const { name, until, tries } = streamState;
  const seconds = Math.max(0, Math.ceil((until - now) / 1000));
  const text = {
    connecting: tries ? "Reconnecting …" : "Connecting …",
    connected: "Live",
    waiting: `Reconnecting in ${seconds} s`,
    offline: "Offline",
    stopped: "No key",
    refused: "Key refused",
    outdated: "Reload the page",
  }[name];
  setText(byId("stream-text"), text);
  setAttribute(byId("stream"), "data-state", name);
  byId("stream-retry").hidden = name !== "waiting" && name !== "offline";
  const told = { connected: "Live updates are on.", waiting: "Live updates are interrupted.", offline: "Offline.", outdated: "The engine was updated: reload the page." };
  setText(byId("stream-announcer"), told[name] ?? "");
}

function onState(state) {
  if (streamState.name === "connected") feed.interrupted();
  streamState = state;
  paintStream(Date.now());
  if (state.name === "refused") session.refused();
  if (state.name !== "connected") return;
  ticket.recovered();
  feed.resume();
  readTokens();
  readStats();
  readStage();
}

async function readStats() {
  if (!key.get() || document.hidden) return;
  try {
    stats = await api.stats();
    feed.counted(stats);
    if (!feed.started) feed.resume();
    paint();
  } catch (error) {
    // The charts keep what they show; the stream's state tells that the engine is out of reach.
    if (!(error instanceof ApiError)) throw error;
  }
}

/** What is traded changes with a deployment at most: once for a page, and again while it was not answered. */
async function readTokens() {
  if (!key.get() || tokensRead) return;
  const asked = key.get();
  try {
    const { tokens } = await api.tokens();
    if (key.get() !== asked) return;
    tokensRead = true;
    keepTokens(tokens);
    if (learnTokens(tokens)) ticket.listed();
  } catch (error) {
    // The ticket goes on with those that it has.
    if (!(error instanceof ApiError)) throw error;
  }
}

const statsSoon = debounced(readStats, STATS_AFTER_MS);

/** The stage is in view at all times; there is no demonstration where orders are meant. */
async function readStage() {
  if (!byId("stage").hidden) return;
  try {
    const { stage } = await api.health();
    setText(byId("stage"), stage);
    byId("stage").hidden = false;
    byId("demo").hidden = stage === "prod" || engine.market !== "paper";
    byId("local-hint").hidden = stage !== "local";
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

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
  if (document.hidden) return;
  setText(byId("clock"), timeOfDay(Date.now()));
  paintStream(Date.now());
  ticket.tick(Date.now());
  table.tick(engineNow());
}

byId("theme").addEventListener("click", toggleTheme);
byId("stream-retry").addEventListener("click", () => stream.retryNow());
byId("older").addEventListener("click", () => feed.loadMore());
byId("filters").addEventListener("change", ({ target }) => feed.setFilter(target.value));
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
setInterval(() => !document.hidden && drawThroughput(feed.finished, stats, engineNow(), feed.horizon), 1000);
readStage();
session.start();
