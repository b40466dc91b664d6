// Calls the page's pure modules for the tests: one JSON request per line, one JSON answer per line.

import { createInterface } from "node:readline";

import { Book, facts, stretches } from "../../web/book.js";
import { quantile } from "../../web/charts.js";
import { hint, ticketFigures, warnings } from "../../web/checks.js";
import { engineNow, learnTime } from "../../web/clock.js";
import * as format from "../../web/format.js";
import { Intents, textOf } from "../../web/intent.js";
import { Counts, Listing } from "../../web/listing.js";
import { learnTokens, learnVenues } from "../../web/market.js";
import { pause } from "../../web/stream.js";

/** Deliver frames to a new book; what it gave out, in order, and how it stands at the end. */
function deliver(frames) {
  const book = new Book();
  const fresh = {};
  const behind = [];
  for (const frame of frames) {
    const taken = book.apply(frame);
    (fresh[frame.orderId] ??= []).push(...taken.fresh.map(({ seq }) => seq));
    behind.push(taken.entry.behind);
  }
  const orders = {};
  for (const entry of book.entries()) {
    orders[entry.id] = {
      view: entry.events.map(({ seq, status }) => [seq, status]),
      status: facts(entry).status,
      spent: stretches(entry, 0).reduce((sum, { ms }) => sum + ms, 0),
    };
  }
  return { fresh, behind, orders };
}

/** A storage as a tab has it; `full` after so many writes. */
class Storage {
  #kept = new Map();
  getItem = (name) => this.#kept.get(name) ?? null;
  setItem = (name, text) => this.#kept.set(name, text);
  removeItem = (name) => this.#kept.delete(name);
}

/**
 * Play what happens at a ticket; for each step what was sent, as a name, or null.
 *
 * Steps: {do: "press", text}, {do: "answer", how: accepted|silent|never|later}, {do: "again", text}, {do: "reload"}.
 */
function play(steps) {
  const storage = new Storage();
  let made = 0;
  const newName = () => `name-${(made += 1)}`;
  let intents = new Intents(storage, newName);
  let sending = null;
  return steps.map((step) => {
    if (step.do === "press" && !sending) {
      sending = intents.begin(step.text, { asked: step.text }, 0);
      return sending ? { name: sending.name, request: sending.request.asked } : null;
    }
    if (step.do === "answer" && sending) {
      const intent = sending;
      if (step.how === "accepted") intents.accepted(intent, "id", 1);
      else if (step.how === "silent") intents.silent(intent);
      else intents.refused(intent, { never: step.how === "never" });
      sending = null;
    }
    if (step.do === "again") intents.again(step.text);
    if (step.do === "reload") {
      intents = new Intents(storage, newName);
      sending = null;
    }
    return null;
  });
}

/** Read lists page by page: after each page the horizon, and at the end whether everything was read. */
function page(statuses, pages) {
  const listing = new Listing(statuses);
  const read = [];
  for (const answer of pages) {
    const part = listing.next();
    if (!part) break;
    const { status, cursor } = part;
    listing.take(part, answer[status ?? "all"].shift());
    const { horizon } = listing;
    read.push({ status, cursor, horizon: Number.isFinite(horizon) ? horizon : String(horizon) });
  }
  return { read, complete: listing.complete };
}

function count(stats, moves, name, loaded, complete) {
  const counts = new Counts();
  if (stats) counts.counted(stats);
  for (const [before, after] of moves) counts.moved(before, after);
  return counts.text(name, loaded, complete);
}

function skew(at, sent, received) {
  learnTime(at, sent, received);
  return Math.round(engineNow() - Date.now());
}

const calls = {
  deliver,
  play,
  page,
  count,
  skew,
  textOf,
  learnTokens,
  learnVenues,
  hint,
  ticketFigures,
  warnings,
  quantile,
  pause: (tries, random) => pause(tries, () => random),
  ...format,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { name, args } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(calls[name](...args) ?? null)}\n`);
}
