// How numbers, times and venues read. Amounts and prices are decimal text and are computed with BigInt, never
// with floating point; only ratios (basis points, percent) become numbers.

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?$/;

/** Decimal text as an integer and a scale, or null if it is not plain digits. */
export function parseDecimal(text) {
  const found = DECIMAL.exec(String(text ?? "").trim());
  if (!found) return null;
  const [, sign, whole, fraction = ""] = found;
  const units = BigInt(whole + fraction);
  return { units: sign ? -units : units, scale: fraction.length };
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

/** Decimal text for reading: thousands grouped, and as many decimals as the size deserves (cut, not rounded). */
export function amount(text) {
  const found = DECIMAL.exec(String(text ?? ""));
  if (!found) return text === null || text === undefined ? "–" : String(text);
  const [, sign, whole, fraction = ""] = found;
  const trimmed = whole.replace(/^0+(?=\d)/, "");
  const lead = /^0*/.exec(fraction)[0].length;
  const places = trimmed !== "0" ? ([6, 5, 4, 4, 2, 2, 2][trimmed.length] ?? 0) : lead + 5;
  const kept = fraction.slice(0, places).replace(/0+$/, "");
  const grouped = trimmed.replace(/\B(?=(\d{3})+$)/g, ",");
  return (sign ? "−" : "") + grouped + (kept ? `.${kept}` : "");
}

/** Basis points with a sign: "+1.2 bps". */
export function bps(value) {
  if (value === null || value === undefined || Number.isNaN(Number(value))) return "–";
  const number = Number(value);
  const text = Math.abs(number).toFixed(Math.abs(number) < 10 ? 2 : 1);
  if (Number(text) === 0) return "0.00 bps";
  return `${number < 0 ? "−" : "+"}${text} bps`;
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

const VENUES = { raydium: "Raydium", meteora: "Meteora" };

/** A venue, or several joined by "+", as a name. */
export function venueName(venue) {
  return String(venue ?? "")
    .split("+")
    .map((part) => VENUES[part] ?? part)
    .join(" + ");
}

/** The style class of a venue: a known one, "several", or "other". */
export function venueClass(venue) {
  const text = String(venue ?? "");
  if (Object.hasOwn(VENUES, text)) return text;
  return text.includes("+") ? "several" : "other";
}

/** A long identifier with its middle left out. */
export function shortened(text, head = 6, tail = 6) {
  const value = String(text ?? "");
  return value.length <= head + tail + 1 ? value : `${value.slice(0, head)}…${value.slice(-tail)}`;
}
