// How numbers, times and venues read. Amounts and prices are decimal text and are computed with BigInt, never
// with floating point; only ratios (basis points, percent) become numbers.

import { venues } from "./market.js";

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?$/;

/** Decimal text as an integer and a scale, or null if it is not plain digits. */
export function parseDecimal(text) {
  const found = DECIMAL.exec(String(text ?? "").trim());
  if (!found) return null;
  const [, sign, whole, fraction = ""] = found;
  const units = BigInt(whole + fraction);
  return { units: sign ? -units : units, scale: fraction.length };
}

/** Decimal text without what changes nothing ("01.50" is "1.5"); other text as it is, trimmed. */
export function normalised(text) {
  const found = DECIMAL.exec(String(text ?? "").trim());
  if (!found) return String(text ?? "").trim();
  const [, sign, whole, fraction = ""] = found;
  const kept = fraction.replace(/0+$/, "");
  return sign + whole.replace(/^0+(?=\d)/, "") + (kept ? `.${kept}` : "");
}

/** Whether the text is a number greater than zero. */
export function isPositive(text) {
  const value = parseDecimal(text);
  return value !== null && value.units > 0n;
}

function aligned(left, right) {
  const a = parseDecimal(left);
  const b = parseDecimal(right);
  if (!a || !b) return null;
  const scale = Math.max(a.scale, b.scale);
  return [a.units * 10n ** BigInt(scale - a.scale), b.units * 10n ** BigInt(scale - b.scale)];
}

/** How far `value` lies above `base`, in basis points with two decimals; null if either is no number. */
export function basisPoints(value, base) {
  const pair = aligned(value, base);
  if (!pair || pair[1] === 0n) return null;
  return Number(((pair[0] - pair[1]) * 1_000_000n) / pair[1]) / 100;
}

/** `part` as a share of `whole` between 0 and 1, to four decimals; 0 if either is no number. */
export function share(part, whole) {
  const pair = aligned(part, whole);
  return !pair || pair[1] === 0n ? 0 : Number((pair[0] * 10_000n) / pair[1]) / 10_000;
}

/** `text` times `numerator / denominator`, floored to `decimals`. Decimal text. */
export function scaled(text, numerator, denominator, decimals) {
  const value = parseDecimal(text);
  if (!value) return null;
  const units =
    (value.units * 10n ** BigInt(decimals) * BigInt(numerator)) / (10n ** BigInt(value.scale) * BigInt(denominator));
  const digits = units.toString().padStart(decimals + 1, "0");
  const fraction = digits.slice(digits.length - decimals).replace(/0+$/, "");
  return digits.slice(0, digits.length - decimals) + (decimals && fraction ? `.${fraction}` : "");
}

/** `left` times `right`, rounded up at `decimals`: what has to arrive at least. Decimal text, or null. */
export function product(left, right, decimals) {
  const [a, b] = [parseDecimal(left), parseDecimal(right)];
  if (!a || !b) return null;
  const divisor = 10n ** BigInt(a.scale + b.scale);
  const units = (a.units * b.units * 10n ** BigInt(decimals) + divisor - 1n) / divisor;
  return scaled(units.toString(), 1, 10n ** BigInt(decimals), decimals);
}

const grouped = (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ",");

/** Sign, whole digits, fraction and the zeros that the fraction begins with; null if it is not plain digits. */
function digits(text) {
  const found = DECIMAL.exec(String(text ?? "").trim());
  if (!found) return null;
  const [, sign, whole, fraction = ""] = found;
  const trimmed = whole.replace(/^0+(?=\d)/, "");
  return { sign: sign ? "−" : "", whole: trimmed, fraction, lead: /^0*/.exec(fraction)[0].length };
}

const asItIs = (text) => (text === null || text === undefined ? "–" : String(text));

/** How many decimals a number of this size deserves. */
function deserved({ whole, lead }) {
  return whole !== "0" ? ([6, 5, 4, 4, 2, 2, 2][whole.length] ?? 0) : lead + 5;
}

/** An amount that somebody chose: thousands grouped, no decimals that say nothing (cut, not rounded). */
export function amount(text) {
  const found = digits(text);
  if (!found) return asItIs(text);
  const kept = found.fraction.slice(0, deserved(found)).replace(/0+$/, "");
  return found.sign + grouped(found.whole) + (kept ? `.${kept}` : "");
}

/**
 * Amounts of one token that are compared with each other: all with the same decimals, as many as the largest
 * deserves (cut, not rounded), so that they align.
 */
export function figures(texts, decimals = 9) {
  const found = texts.map(digits);
  const counted = found.filter((one) => one && /[1-9]/.test(one.whole + one.fraction)).map(deserved);
  const places = counted.length ? Math.min(decimals, ...counted) : 0;
  return texts.map((text, at) => {
    const one = found[at];
    if (!one) return asItIs(text);
    const kept = one.fraction.slice(0, places).padEnd(places, "0");
    return one.sign + grouped(one.whole) + (kept ? `.${kept}` : "");
  });
}

/** One amount that was computed, with all the decimals that its size deserves: "6.37000". */
export const figure = (text, decimals = 9) => figures([text], decimals)[0];

const PRICE_DIGITS = 6;

/** A price to six significant digits, whatever its size (cut, not rounded): "147.133", "0.0000207182". */
export function price(text) {
  const found = digits(text);
  if (!found) return asItIs(text);
  const { sign, whole, fraction, lead } = found;
  if (!/[1-9]/.test(whole + fraction)) return "0";
  const places = whole === "0" ? lead + PRICE_DIGITS : Math.max(0, PRICE_DIGITS - whole.length);
  const kept = fraction.slice(0, places).padEnd(places, "0");
  return sign + grouped(whole) + (kept ? `.${kept}` : "");
}

/** Lamports as SOL: "0.000015 SOL". */
export const sol = (lamports) => `${scaled(String(lamports), 1, 1_000_000_000, 9)} SOL`;

/** Basis points with a sign: "+1.20 bps"; in percent where they are many. */
export function bps(value) {
  if (value === null || value === undefined || Number.isNaN(Number(value))) return "–";
  const number = Number(value);
  const size = Math.abs(number);
  const sign = number < 0 ? "−" : "+";
  if (size >= 100_000) return `over ${sign}1,000 %`;
  if (size >= 10_000) return `${sign}${(size / 100).toFixed(0)} %`;
  if (size >= 100) return `${sign}${(size / 100).toFixed(2)} %`;
  const text = size.toFixed(size < 10 ? 2 : 1);
  if (Number(text) === 0) return "0.00 bps";
  return `${sign}${text} bps`;
}

/** Basis points as unsigned percent with two decimals: "0.04 %"; the smallest part is not nothing. */
export function percentOfBps(value) {
  const number = Number(value) / 100;
  if (!Number.isFinite(number)) return "–";
  return number > 0 && number < 0.005 ? "<0.01 %" : `${number.toFixed(2)} %`;
}

/** A share of one as percent. */
export function percent(value, digits = 1) {
  return `${(value * 100).toFixed(digits).replace(/\.0+$/, "")} %`;
}

/** A part of an order as whole percent; the smallest part is not nothing, and the rest is not all. */
export function part(value) {
  if (value > 0 && value < 0.005) return "<1 %";
  return value < 1 && value >= 0.995 ? ">99 %" : percent(value, 0);
}

/** Milliseconds for reading. */
export function duration(ms) {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "–";
  const value = Math.max(0, ms);
  if (value < 999.5) return `${Math.round(value)} ms`;
  if (value < 10_000) return `${(value / 1000).toFixed(2)} s`;
  if (value < 60_000) return `${(value / 1000).toFixed(1)} s`;
  const seconds = Math.floor(value / 1000);
  if (value < 3_600_000) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60 * 48) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

/** The same in little room: "15m 20s". */
export const brief = (ms) =>
  duration(ms).replace(/ (m)in (\d+) (s)| (h) (\d+) (m)in/, (_, ...found) => {
    const [long, number, short] = found.filter(Boolean);
    return `${long} ${number}${short}`;
  });

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A moment (milliseconds since the epoch) as the local time of day. */
export function timeOfDay(ms, { millis = false } = {}) {
  const text = TIME.format(ms);
  return millis ? `${text}.${String(ms % 1000).padStart(3, "0")}` : text;
}

/** The local time of day, with the date in front unless it is today. */
export function moment(ms, now = Date.now()) {
  const sameDay = new Date(ms).toDateString() === new Date(now).toDateString();
  return sameDay ? timeOfDay(ms) : `${DAY.format(ms)}, ${timeOfDay(ms).slice(0, 5)}`;
}

/** A venue, or several joined by "+", as a name. */
export function venueName(venue) {
  return String(venue ?? "")
    .split("+")
    .map((part) => venues.get(part)?.title ?? part)
    .join(" + ");
}

/** The style class of a venue: a known one, "several", or "other". */
export function venueClass(venue) {
  const text = String(venue ?? "");
  if (venues.has(text)) return text;
  return text.includes("+") ? "several" : "other";
}

/** A long identifier with its middle left out. */
export function shortened(text, head = 6, tail = 6) {
  const value = String(text ?? "");
  return value.length <= head + tail + 1 ? value : `${value.slice(0, head)}…${value.slice(-tail)}`;
}
