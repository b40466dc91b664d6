// How a route is said and drawn. A route is a set of ways from one token to the other: a way leads through one pool,
// or through an intermediate token, where each of its two hops may again use several pools.

import { h, svg } from "./dom.js";
import { amount, part, share, shortened, venueClass, venueName } from "./format.js";
import { tokenName } from "./market.js";

/** The ways of a route, each with its share of the input: `{share, hops: [{from, to, legs}]}`. */
export function ways(route) {
  const { legs } = route;
  const entered = new Set(legs.map((leg) => leg.tokenOut));
  const left = new Set(legs.map((leg) => leg.tokenIn));
  const source = legs.find((leg) => !entered.has(leg.tokenIn))?.tokenIn;
  const target = legs.find((leg) => !left.has(leg.tokenOut))?.tokenOut;
  const found = legs
    .filter((leg) => leg.tokenIn === source && leg.tokenOut === target)
    .map((leg) => ({ hops: [{ from: source, to: target, legs: [leg] }] }));
  for (const middle of left) {
    if (!entered.has(middle)) continue;
    found.push({
      hops: [
        { from: source, to: middle, legs: legs.filter((leg) => leg.tokenOut === middle) },
        { from: middle, to: target, legs: legs.filter((leg) => leg.tokenIn === middle) },
      ],
    });
  }
  const sizes = found.map((way) => sum(way.hops[0].legs));
  const whole = sizes.reduce((total, size) => total + size, 0);
  found.forEach((way, at) => (way.share = whole ? sizes[at] / whole : 1));
  return found;
}

/** What the legs take in, relative to the first one: their token is the same. */
function sum(legs) {
  return legs.reduce((total, leg) => total + Number(leg.amountIn), 0);
}

const middleOf = (way) => (way.hops.length > 1 ? tokenName(way.hops[0].to) : null);

/** In a few words: "direct", "via USDC", "62 % + 38 %", "4 pools". */
export function routeKind(route) {
  const found = ways(route);
  if (found.length === 0) return "";
  if (route.legs.length > 2) return `${route.legs.length} pools`;
  if (found.length === 1) return middleOf(found[0]) ? `via ${middleOf(found[0])}` : "direct";
  return found.map((way) => part(way.share)).join(" + ");
}

/** The whole route as a sentence. */
export function routeSentence(route) {
  const said = ways(route).map((way) => {
    const hops = way.hops.map(
      ({ from, to, legs }) =>
        `${tokenName(from)} to ${tokenName(to)} on ${legs.map((leg) => venueName(leg.venue)).join(" and ")}`,
    );
    return `${way.share < 1 ? `${part(way.share)}: ` : ""}${hops.join(", then ")}`;
  });
  return `${said.join("; ")}.`;
}

const LANE = 34;
const NODE = 48;

/** The route as a drawing of the given width in pixels. */
export function routeDiagram(route, width) {
  const found = ways(route);
  const rows = found.map((way) => Math.max(...way.hops.map((hop) => hop.legs.length)));
  const height =
    Math.max(
      1,
      rows.reduce((total, count) => total + count, 0),
    ) *
      LANE +
    8;
  if (found.length === 0) return h("p", { class: "soft" }, "No route");
  const drawing = svg("svg", {
    class: "route",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": routeSentence(route),
  });
  const labels = [];
  let top = 4;
  found.forEach((way, at) => {
    const middle = top + (rows[at] * LANE) / 2;
    top += rows[at] * LANE;
    const label = middleOf(way) && (way.share < 1 ? `${middleOf(way)} ${part(way.share)}` : middleOf(way));
    const room = label ? Math.max(NODE, label.length * 7 + 18) : 0;
    const stops = label ? [NODE, (width - room) / 2, (width + room) / 2, width - NODE] : [NODE, width - NODE];
    way.hops.forEach((hop, step) => {
      const [from, to] = [stops[2 * step], stops[2 * step + 1]];
      const start = { x: from, y: step === 0 ? height / 2 : middle };
      const end = { x: to, y: step === way.hops.length - 1 ? height / 2 : middle };
      const shares = lanes(hop.legs);
      hop.legs.forEach((leg, row) => {
        const y = middle + (row - (hop.legs.length - 1) / 2) * LANE;
        const size = shares[row] * way.share;
        const said = label ? shares[row] : size;
        drawing.append(lane(leg, size, start, end, y));
        labels.push(laneLabel(leg, said, (from + to) / 2, y, to - from - 10));
      });
    });
    if (label) labels.push(node(label, stops[1], middle, room));
  });
  const ends = found[0].hops;
  const [source, target] = [tokenName(ends[0].from), tokenName(ends.at(-1).to)];
  drawing.append(...labels, node(source, 0, height / 2), node(target, width - NODE, height / 2));
  return drawing;
}

function lanes(legs) {
  const rest = legs.slice(1).map((leg) => share(leg.amountIn, legs[0].amountIn));
  const whole = rest.reduce((total, size) => total + size, 1);
  return [1, ...rest].map((size) => size / whole);
}

function lane(leg, size, start, end, y) {
  const bend = Math.min(26, (end.x - start.x) / 4);
  const into = `C${start.x + bend} ${start.y} ${start.x + bend * 0.4} ${y} ${start.x + bend * 1.4} ${y}`;
  const out = `C${end.x - bend * 0.4} ${y} ${end.x - bend} ${end.y} ${end.x} ${end.y}`;
  return svg("path", {
    class: `lane ${venueClass(leg.venue)}`,
    d: `M${start.x} ${start.y} ${into} L${end.x - bend * 1.4} ${y} ${out}`,
    "stroke-width": (1.5 + 2.5 * size).toFixed(2),
  });
}

function laneLabel(leg, size, x, y, room) {
  const name = venueName(leg.venue);
  const full = size < 1 ? `${name} ${part(size)}` : name;
  const measure = (text) => text.length * 6.8 + 14;
  const text = measure(full) <= room ? full : measure(name) <= room ? name : name.slice(0, 3);
  const width = measure(text);
  const given = `${amount(leg.amountOut)} ${tokenName(leg.tokenOut)}`;
  return svg(
    "g",
    { class: `lane-label ${venueClass(leg.venue)}` },
    svg("title", {}, `${amount(leg.amountIn)} ${tokenName(leg.tokenIn)} gives ${given} in pool ${shortened(leg.pool)}`),
    svg("rect", { x: x - width / 2, y: y - 11, width, height: 22, rx: 11 }),
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, text),
  );
}

function node(label, x, middle, width = NODE) {
  return svg(
    "g",
    { class: "node" },
    svg("rect", { x: x + 0.5, y: middle - 14.5, width: width - 1, height: 29, rx: 8 }),
    svg("text", { x: x + width / 2, y: middle + 4, "text-anchor": "middle" }, String(label).slice(0, 14)),
  );
}
