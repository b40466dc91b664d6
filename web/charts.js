// Four small charts: throughput, success rate, latency and venue share. Totals come from /api/stats; what moves
// from second to second is drawn from the orders that this page has seen end.

import { byId, setAttribute, setText, svg } from "./dom.js";
import { duration, percent, timeOfDay, venueClass, venueName } from "./format.js";

const BUCKET_MS = 5_000;
const BUCKETS = 60;
const STRIP = 40;
const KEPT = 2_000;
const MINUTE = 60_000;
const WIDTH = 240;
const HEIGHT = 40;

/** Orders that have ended, oldest first. */
export class Finished {
  #known = new Set();
  list = [];

  /** Take an order that has ended; true if it is new. */
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

export function drawThroughput(finished, stats, now) {
  const lastMinute = finished.since(now, MINUTE).length;
  setText(byId("throughput-value"), String(lastMinute));
  const queue = stats?.queue;
  setText(
    byId("throughput-note"),
    queue ? `${queue.waiting} waiting · ${queue.inFlight} in flight${queue.dead ? ` · ${queue.dead} dead` : ""}` : "",
  );
  const buckets = finished.buckets(now);
  const top = Math.max(4, ...buckets.map(({ confirmed, failed }) => confirmed + failed));
  show(
    "throughput-chart",
    `Orders finished: ${lastMinute} in the last minute, ${finished.since(now, 5 * MINUTE).length} in the last five.`,
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

export function drawSuccess(finished, stats) {
  const { confirmed = 0, failed = 0, cancelled = 0, expired = 0 } = stats?.byStatus ?? {};
  const ended = confirmed + failed;
  setText(byId("success-value"), ended ? percent(confirmed / ended) : "–");
  const gone = cancelled + expired;
  setText(
    byId("success-note"),
    ended || gone
      ? `${confirmed} confirmed · ${failed} failed${gone ? ` · ${gone} withdrawn` : ""}`
      : "no order has ended yet",
  );
  const recent = finished.list.slice(-STRIP);
  const padded = [...Array.from({ length: STRIP - recent.length }, () => null), ...recent];
  const bad = recent.filter(({ status }) => status === "failed").length;
  show(
    "success-chart",
    `Of the last ${recent.length} orders ${recent.length - bad} were confirmed and ${bad} failed.`,
    bars(padded, (order, x, width) =>
      order
        ? [
            rect(
              x,
              10,
              width,
              HEIGHT - 10,
              order.status === "confirmed" ? "ok" : "bad",
              `${order.status} at ${timeOfDay(order.at)}`,
            ),
          ]
        : [rect(x, HEIGHT - 1, width, 1, "idle")],
    ),
  );
}

export function drawLatency(finished, stats) {
  const { p50 = null, p90 = null, p99 = null } = stats?.latencyMs ?? {};
  setText(byId("latency-value"), duration(p50));
  setText(byId("latency-note"), p50 === null ? "" : `p90 ${duration(p90)} · p99 ${duration(p99)}`);
  const recent = finished.list.slice(-STRIP);
  const padded = [...Array.from({ length: STRIP - recent.length }, () => null), ...recent];
  const slowest = recent.map(({ latencyMs }) => latencyMs).sort((a, b) => a - b);
  // One order that waited long would flatten all others: the scale ends at three times the median.
  const top = Math.max(1000, Math.min(slowest.at(-1) ?? 0, 3 * (slowest[Math.floor(slowest.length / 2)] ?? 0)));
  const shapes = bars(padded, (order, x, width) => {
    if (!order) return [rect(x, HEIGHT - 1, width, 1, "idle")];
    const height = Math.max(1.5, Math.min(1, order.latencyMs / top) * HEIGHT);
    return [
      rect(
        x,
        HEIGHT - height,
        width,
        height,
        order.status === "confirmed" ? "plain" : "bad",
        duration(order.latencyMs),
      ),
    ];
  });
  if (p50 !== null && recent.length) {
    const y = (HEIGHT - Math.min(1, p50 / top) * HEIGHT).toFixed(2);
    shapes.push(svg("line", { class: "mark", x1: 0, x2: WIDTH, y1: y, y2: y }));
  }
  show(
    "latency-chart",
    `Time from placed to ended: p50 ${duration(p50)}, p90 ${duration(p90)}, p99 ${duration(p99)}.`,
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
  let x = 0;
  const shapes = shares.map(([venue, count]) => {
    const width = (count / total) * WIDTH;
    const shape = rect(
      x,
      14,
      Math.max(0, width - 1.5),
      HEIGHT - 22,
      venueClass(venue),
      `${venueName(venue)}: ${count}`,
    );
    x += width;
    return shape;
  });
  if (!total) shapes.push(rect(0, 14, WIDTH, HEIGHT - 22, "idle"));
  show("venues-chart", `Confirmed orders by venue: ${counted || "none"}.`, shapes);
}
