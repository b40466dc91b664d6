// What the ticket says about an order before it is placed: its figures, a hint, and what to beware of. Pure.

import {
  amount,
  basisPoints,
  bps,
  figure,
  isPositive,
  parseDecimal,
  percentOfBps,
  price,
  product,
  scaled,
  share,
  sol,
} from "./format.js";
import { decimalsOf, tokenName } from "./market.js";

const HIGH_SLIPPAGE = 5; // percent
const RECKLESS_SLIPPAGE = 20;
const HIGH_IMPACT_BPS = 300;
const HIGH_FEE = 0.05; // of what is received
const TIMES = 100_000; // basis points; beyond this a price is said in multiples of the other
const QUOTED_AGAIN = "The engine quotes again when it executes; the minimum counts from there.";

/** Whether a quote leaves nothing once the network fee is paid. */
export function isLoss({ route }) {
  const net = parseDecimal(route.netOut);
  return net !== null && net.units <= 0n;
}

/** The larger of two amounts; the other one if one is null. */
const larger = (a, b) => (a === null || b === null ? (a ?? b) : basisPoints(a, b) >= 0 ? a : b);

/** What the tolerance leaves of an amount, floored as the engine does; null if it is no tolerance. */
function tolerated(text, slippage, decimals) {
  const tolerance = parseDecimal(slippage);
  if (!tolerance || tolerance.units < 0n) return null;
  const whole = 100n * 10n ** BigInt(tolerance.scale);
  return whole > tolerance.units ? scaled(text, whole - tolerance.units, whole, decimals) : null;
}

/** The least that a limit order gives, rounded up as the engine does; null while it has no price. */
export function limitMinimum({ amountIn, limitPrice, tokenOut }) {
  if (!isPositive(amountIn) || !isPositive(limitPrice)) return null;
  return product(amountIn, limitPrice, decimalsOf(tokenOut));
}

/** How far a limit lies above the market, in basis points; null while either is unknown. */
const aboveMarket = (request, quote) =>
  request.type === "limit" && quote ? basisPoints(request.limitPrice, quote.route.price) : null;

/** What the ticket shows, as text: `{outLabel, out, priceLabel, price, minimum, impact, fee}`. */
export function ticketFigures(request, quote) {
  const limit = request.type === "limit";
  const decimals = decimalsOf(request.tokenOut);
  const said = (text) => (text === null ? "–" : figure(text, decimals));
  const least = limit
    ? limitMinimum(request)
    : quote && tolerated(quote.route.amountOut, request.slippage, decimalsOf(quote.tokenOut));
  const unit = (text) => (text === "–" ? text : `${text} ${tokenName(request.tokenOut)}`);
  const out = limit ? said(least) : said(quote?.route.amountOut ?? null);
  return {
    outLabel: limit ? "You get at least" : "You get about",
    out,
    priceLabel: limit ? "Market price" : "Price",
    price: quote ? `${price(quote.route.price)} ${tokenName(quote.tokenOut)} per ${tokenName(quote.tokenIn)}` : "–",
    minimumLabel: limit ? "Minimum received" : "Minimum at this quote",
    minimum: unit(said(least || null)),
    impactLabel: limit ? "Price impact now" : "Price impact",
    impact: quote ? percentOfBps(quote.route.priceImpactBps) : "–",
    fee: quote ? sol(quote.networkFeeLamports) : "–",
  };
}

/** Why an amount or a price cannot be read; null if it can, or is not there yet. */
export function unreadable(text) {
  if (text === "" || parseDecimal(text) || /^\d+\.$|^\.$/.test(text)) return null;
  if (/^\d+,\d+$/.test(text)) return `Write ${text} with a point: ${text.replace(",", ".")}`;
  return 'Write the number in plain digits, such as "1.5".';
}

/** What follows from the ticket as it stands, in a sentence. */
export function hint(request, quote, refusal) {
  if (request.type !== "limit") return quote ? QUOTED_AGAIN : "";
  if (!isPositive(request.limitPrice)) return "It rests until the market gives your price.";
  if (refusal) return `It would rest: ${refusal.message}`;
  const distance = aboveMarket(request, quote);
  if (distance === null) return "";
  if (distance === 0) return "At the market: it will fire at once.";
  if (distance < 0) return `${bps(distance)} from the market: it will fire at once.`;
  if (distance < TIMES) return `${bps(distance)} from the market: it rests until the price gets there.`;
  const times = Math.round(distance / 10_000 + 1).toLocaleString("en-US");
  return `${times} times the market's price: it rests until the price gets there.`;
}

/**
 * What to beware of: `{level, text}`, the gravest first.
 *
 * A "danger" has to be accepted before the order is placed, a "caution" is said.
 */
export function warnings(request, quote) {
  const found = [];
  const add = (level, text) => found.push({ level, text });
  const decimals = decimalsOf(request.tokenOut);
  const resting = request.type === "limit" && !(aboveMarket(request, quote) <= 0);
  const tolerance = Number(parseDecimal(request.slippage) ? request.slippage : 0);
  if (quote && isLoss(quote)) {
    const lost = figure(fee(quote, decimals), decimals);
    const got = figure(quote.route.amountOut, decimals);
    add("danger", `The network fee (${lost} ${tokenName(quote.tokenOut)}) is more than you would receive (${got}).`);
  } else if (quote && share(fee(quote, decimals), quote.route.amountOut) >= HIGH_FEE) {
    const part = Math.round(share(fee(quote, decimals), quote.route.amountOut) * 100);
    add("caution", `The network fee takes ${part} % of what you receive.`);
  }
  // A limit order that rests gives its limit, whatever its tolerance.
  if (!resting && tolerance >= HIGH_SLIPPAGE && tolerance <= 100) {
    const least = quote ? tolerated(quote.route.amountOut, request.slippage, decimals) : null;
    const floor = larger(request.type === "limit" ? limitMinimum(request) : null, least);
    const given = floor && `${figure(floor, decimals)} ${tokenName(request.tokenOut)}`;
    const worst = floor ? `: you may receive as little as ${given}` : "";
    add(tolerance >= RECKLESS_SLIPPAGE ? "danger" : "caution", `Slippage of ${amount(request.slippage)} %${worst}.`);
  }
  // Of next to nothing the impact is what rounding makes of it.
  if (!resting && quote && !isLoss(quote) && Number(quote.route.priceImpactBps) >= HIGH_IMPACT_BPS)
    add("caution", `So large an order gets ${percentOfBps(quote.route.priceImpactBps)} less than the market's price.`);
  return found.sort((a, b) => Number(b.level === "danger") - Number(a.level === "danger"));
}

/** The network fee in the output token: what the net output lacks. */
function fee(quote, decimals) {
  const [out, net] = [parseDecimal(quote.route.amountOut), parseDecimal(quote.route.netOut)];
  if (!out || !net) return null;
  const scale = Math.max(out.scale, net.scale);
  const units = out.units * 10n ** BigInt(scale - out.scale) - net.units * 10n ** BigInt(scale - net.scale);
  return scaled(units.toString(), 1, 10n ** BigInt(scale), decimals);
}
