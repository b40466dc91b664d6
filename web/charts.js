// Four small charts: throughput, success rate, latency and venue share. What a tile shows large is exact, of the orders
// that this page has read or seen end; what the engine counted of all orders, by /api/stats, is said to be that.

import { byId, setAttribute, setText, svg } from "./dom.js";
import { duration, percent, timeOfDay, venueClass, venueName } from "./format.js";

const BUCKET_MS = 5_000;
const BUCKETS = 60;
const STRIP = 40;
const KEPT = 2_000;
const MINUTE = 60_000;
const WIDTH = 240;
const HEIGHT = 40;

/** The smallest of the sorted values that `share` percent do not exceed (nearest rank); null of none. */
export const quantile = (sorted, share) => sorted[Math.ceil((sorted.length * share) / 100) - 1] ?? null;

/** Orders that were executed or given up, oldest first. */
export class Finished {
  #known = new Set();
  list = [];

  /** Take an order that has ended; true if it is new. Its latency is null where it is not known. */
  add({ id, status, at, latencyMs }) {
    if (this.#known.has(id) || status === "cancelled" || status === "expired") return false;
    this.#known.add(id);
    let place = this.list.length;
    while (place > 0 && this.list[place - 1].at > at) place -= 1;
    this.list.splice(place, 0, { id, status, at, latencyMs });
    if (this.list.length > KEPT) this.#known.delete(this.list.shift().id);
    return true;
  }

  /** Ended within the last `ms` before `now`. */
  since(now, ms) {
    return this.list.filter(({ at }) => at > now - ms && at <= now + BUCKET_MS);
  }

  /** Counts per time bucket, oldest first: `{confirmed, failed}`. The last bucket is the running one. */
  buckets(now) {
    const running = Math.floor(now / BUCKET_MS);
    const counts = Array.from({ length: BUCKETS }, () => ({ confirmed: 0, failed: 0 }));
    for (const { at, status } of this.list) {
      const place = BUCKETS - 1 - (running - Math.floor(at / BUCKET_MS));
      if (place >= 0 && place < BUCKETS) counts[place][status] += 1;
    }
    return counts;
  }
}

const rect = (x, y, width, height, kind, title) => {
  const bar = svg("rect", {
    class: kind,
    x: x.toFixed(2),
    y: y.toFixed(2),
    width: width.toFixed(2),
    height: height.toFixed(2),
    rx: 1,
  });
  if (title) bar.append(svg("title", {}, title));
  return bar;
};

function bars(values, draw) {
  const step = WIDTH / values.length;
  return values.flatMap((value, at) => draw(value, at * step, step * 0.72));
}

/** The tile's drawing replaced by these shapes, described in words. */
function show(id, label, shapes) {
  const drawing = byId(id);
  setAttribute(drawing, "aria-label", label);
  drawing.replaceChildren(...shapes);
}

/** A strip of the last orders, the newest at the right; the places that are not taken are empty. */
function strip(orders, draw) {
  const padded = [...Array.from({ length: STRIP - orders.length }, () => null), ...orders];
  return bars(padded, (order, x, width) => (order ? draw(order, x, width) : [rect(x, HEIGHT - 1, width, 1, "idle")]));
}

/**
 * @param since from when on the page knows all orders (milliseconds since the epoch)
 */
export function drawThroughput(finished, stats, now, since) {
  const lastMinute = finished.since(now, MINUTE).length;
  const shown = finished.since(now, 5 * MINUTE).length;
  const known = since <= now - 5 * MINUTE;
  setText(byId("throughput-span"), known ? "last 5 min" : since < now ? `since ${timeOfDay(since)}` : "");
  setText(byId("throughput-value"), since === Infinity ? "–" : String(lastMinute));
  const span = known ? "the last 5 min" : "the time shown";
  setText(byId("throughput-note"), since === Infinity ? "" : `${shown} in ${span}`);
  const queue = stats?.queue;
  const dead = queue?.dead ? ` · ${queue.dead} dead letters` : "";
  setText(byId("throughput-all"), queue ? `engine: ${queue.waiting} queued · ${queue.inFlight} in flight${dead}` : "");
  const buckets = finished.buckets(now);
  const top = Math.max(4, ...buckets.map(({ confirmed, failed }) => confirmed + failed));
  show(
    "throughput-chart",
    `Orders finished: ${lastMinute} in the last minute, ${shown} in the last five.`,
    bars(buckets, ({ confirmed, failed }, x, width) => {
      const good = (confirmed / top) * HEIGHT;
      const bad = (failed / top) * HEIGHT;
      return [
        rect(x, HEIGHT - 1, width, 1, "idle"),
        confirmed ? rect(x, HEIGHT - good, width, good, "ok") : null,
        failed ? rect(x, HEIGHT - good - bad, width, bad, "bad") : null,
      ].filter(Boolean);
    }),
  );
}

const lastOf = (orders) => (orders.length ? `last ${orders.length}` : "");

export function drawSuccess(finished, stats) {
  const recent = finished.list.slice(-STRIP);
  const bad = recent.filter(({ status }) => status === "failed").length;
  const good = recent.length - bad;
  setText(byId("success-span"), lastOf(recent));
  setText(byId("success-value"), recent.length ? percent(good / recent.length) : "–");
  setText(byId("success-note"), recent.length ? `${good} confirmed · ${bad} failed` : "no order has ended yet");
  const { confirmed = 0, failed = 0 } = stats?.byStatus ?? {};
  const ended = confirmed + failed;
  const all = `all time: ${percent(confirmed / ended)} of ${ended.toLocaleString("en-US")}`;
  setText(byId("success-all"), ended ? all : "");
  show(
    "success-chart",
    `Of the last ${recent.length} orders ${good} were confirmed and ${bad} failed.`,
    strip(recent, ({ status, at }, x, width) => [
      rect(x, 10, width, HEIGHT - 10, status === "confirmed" ? "ok" : "bad", `${status} at ${timeOfDay(at)}`),
    ]),
  );
}

export function drawLatency(finished, stats) {
  const recent = finished.list.filter(({ latencyMs }) => latencyMs !== null).slice(-STRIP);
  const sorted = recent.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
  const [p50, p90] = [quantile(sorted, 50), quantile(sorted, 90)];
  const slowest = sorted.at(-1) ?? null;
  setText(byId("latency-span"), lastOf(recent));
  setText(byId("latency-value"), duration(p50));
  setText(byId("latency-note"), p50 === null ? "" : `p90 ${duration(p90)} · slowest ${duration(slowest)}`);
  // The engine counts in buckets, so that it knows what its quantiles do not exceed.
  const all = stats?.latencyMs;
  setText(byId("latency-all"), all?.p99 ? `all time: p99 ≤ ${duration(all.p99)}` : "");
  // One order that waited long would flatten all others: the scale ends at three times the median.
  const top = Math.max(1000, Math.min(slowest ?? 0, 3 * (p50 ?? 0)));
  const shapes = strip(recent, ({ status, latencyMs }, x, width) => {
    const height = Math.max(1.5, Math.min(1, latencyMs / top) * HEIGHT);
    const kind = status === "confirmed" ? "plain" : "bad";
    return [rect(x, HEIGHT - height, width, height, kind, duration(latencyMs))];
  });
  if (p50 !== null) {
    const y = (HEIGHT - Math.min(1, p50 / top) * HEIGHT).toFixed(2);
    shapes.push(svg("line", { class: "mark", x1: 0, x2: WIDTH, y1: y, y2: y }));
  }
  show(
    "latency-chart",
    `Time to the end of the last ${recent.length} orders: median ${duration(p50)}, slowest ${duration(slowest)}.`,
    shapes,
  );
}

const inShort = (venue) => (venue.includes("+") ? "Both" : venueName(venue));

export function drawVenues(stats) {
  const shares = Object.entries(stats?.byVenue ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const total = shares.reduce((sum, [, count]) => sum + count, 0);
  const [best] = [...shares].sort(([, a], [, b]) => b - a);
  const counted = shares.map(([venue, count]) => `${venueName(venue)} ${count}`).join(", ");
  const part = (count) => percent(count / total, 0);
  setText(byId("venues-value"), best ? inShort(best[0]) : "–");
  setText(byId("venues-share"), best ? part(best[1]) : "");
  const rest = shares.filter((entry) => entry !== best);
  setText(
    byId("venues-note"),
    best ? rest.map(([venue, count]) => `${inShort(venue)} ${part(count)}`).join(" · ") : "no order was filled yet",
  );
  setText(byId("venues-all"), total ? `of ${total.toLocaleString("en-US")} filled orders` : "");
  let x = 0;
  const shapes = shares.map(([venue, count]) => {
    const width = (count / total) * WIDTH;
    const title = `${venueName(venue)}: ${count}`;
    const shape = rect(x, 14, Math.max(0, width - 1.5), HEIGHT - 22, `venue-share ${venueClass(venue)}`, title);
    x += width;
    return shape;
  });
  if (!total) shapes.push(rect(0, 14, WIDTH, HEIGHT - 22, "idle"));
  show("venues-chart", `Confirmed orders by venue: ${counted || "none"}.`, shapes);
}
