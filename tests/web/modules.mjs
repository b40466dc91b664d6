// Calls the page's pure modules for the tests: one JSON request per line, one JSON answer per line.

import { createInterface } from "node:readline";

import { Book, facts, stretches } from "../../web/book.js";
import * as format from "../../web/format.js";
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

const calls = { deliver, pause: (tries, random) => pause(tries, () => random), ...format };

for await (const line of createInterface({ input: process.stdin })) {
  const { name, args } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(calls[name](...args) ?? null)}\n`);
}
