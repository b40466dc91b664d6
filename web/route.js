// How a route is said and drawn: hops from token to token, and within a hop one lane for each pool.

import { amount, percent, share, shortened, venueClass, venueName } from "./format.js";
import { svg } from "./dom.js";

/** The legs grouped into hops, in order: `{tokenIn, tokenOut, lanes: [{leg, share}]}`. */
export function hops(route) {
  const found = [];
  for (const leg of route.legs) {
    const open = found.find((hop) => hop.tokenIn === leg.tokenIn && hop.tokenOut === leg.tokenOut);
    if (open) open.lanes.push({ leg });
    else found.push({ tokenIn: leg.tokenIn, tokenOut: leg.tokenOut, lanes: [{ leg }] });
  }
  for (const hop of found) {
    // The first lane takes the rest, so that the shares add up to one.
    for (const lane of hop.lanes) lane.share = hop.lanes.length === 1 ? 1 : shareOf(lane.leg, hop.lanes);
  }
  return found;
}

function shareOf(leg, lanes) {
  const others = lanes.filter((lane) => lane.leg !== leg);
  const parts = others.reduce((sum, lane) => sum + share(lane.leg.amountIn, leg.amountIn), 0);
  return 1 / (1 + parts);
}

/** In a few words: "direct", "via USDC", "62 % + 38 %". */
export function routeKind(route) {
  const steps = hops(route);
  if (route.kind === "split" && steps.length === 1) return steps[0].lanes.map((lane) => percent(lane.share, 0)).join(" + ");
  if (steps.length > 1) return `via ${steps.slice(1).map((hop) => hop.tokenIn).join(", ")}`;
  return "direct";
}

/** The whole route as a sentence. */
export function routeSentence(route) {
  return hops(route)
    .map(({ tokenIn, tokenOut, lanes }) => {
      const ways = lanes.map(({ leg, share: part }) => `${part < 1 ? `${percent(part, 0)} ` : ""}on ${venueName(leg.venue)}`);
      return `${tokenIn} to ${tokenOut} ${ways.join(" and ")}`;
    })
    .join(", then ");
}

const LANE = 34;
const NODE = 46;

/** The route as a drawing of the given width in pixels. */
export function routeDiagram(route, width) {
  const steps = hops(route);
  const height = Math.max(...steps.map((hop) => hop.lanes.length), 1) * LANE + 12;
  const middle = height / 2;
  const stride = (width - NODE) / steps.length;
  const drawing = svg("svg", {
    class: "route",
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": routeSentence(route),
  });
  steps.forEach((hop, at) => {
    const from = NODE + at * stride;
    const to = (at + 1) * stride;
    hop.lanes.forEach((lane, row) => {
      const y = middle + (row - (hop.lanes.length - 1) / 2) * LANE;
      drawing.append(lanePath(lane, from, to, middle, y), laneLabel(lane, (from + to) / 2, y, to - from - 28));
    });
  });
  [steps[0].tokenIn, ...steps.map((hop) => hop.tokenOut)].forEach((symbol, at) => {
    drawing.append(node(symbol, at * stride, middle));
  });
  return drawing;
}

function lanePath({ leg, share: part }, from, to, middle, y) {
  const bend = Math.min(28, (to - from) / 4);
  return svg("path", {
    class: `lane ${venueClass(leg.venue)}`,
    d: `M${from} ${middle} C${from + bend} ${middle} ${from + bend / 3} ${y} ${from + bend * 1.3} ${y} L${to - bend * 1.3} ${y} C${to - bend / 3} ${y} ${to - bend} ${middle} ${to} ${middle}`,
    "stroke-width": (1.5 + 2.5 * part).toFixed(2),
  });
}

function laneLabel({ leg, share: part }, x, y, room) {
  const name = part < 1 ? `${venueName(leg.venue)} ${percent(part, 0)}` : venueName(leg.venue);
  const text = room < 60 ? name.slice(0, 3) : name;
  const width = text.length * 6.6 + 16;
  return svg(
    "g",
    { class: `lane-label ${venueClass(leg.venue)}` },
    svg("title", {}, `${amount(leg.amountIn)} ${leg.tokenIn} gives ${amount(leg.amountOut)} ${leg.tokenOut} in pool ${shortened(leg.pool)}`),
    svg("rect", { x: x - width / 2, y: y - 11, width, height: 22, rx: 11 }),
    svg("text", { x, y: y + 4, "text-anchor": "middle" }, text),
  );
}

function node(symbol, x, middle) {
  return svg(
    "g",
    { class: "node" },
    svg("rect", { x: x + 0.5, y: middle - 14.5, width: NODE - 1, height: 29, rx: 8 }),
    svg("text", { x: x + NODE / 2, y: middle + 4, "text-anchor": "middle" }, String(symbol).slice(0, 6)),
  );
}
