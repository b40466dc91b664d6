// The venues' live quotes for what the ticket asks: asked for when it changes, and again while the page is seen.

import { api, ApiError } from "./api.js";
import { isPositive } from "./format.js";

const ASK_AFTER_MS = 250;
const ASK_EVERY_MS = 4_000;
const STALE_MS = 12_000;
const LONGEST_PAUSE_MS = 30_000;

const PAIR = ["tokenIn", "tokenOut"];
const alike = (a, b, names) => a !== null && b !== null && names.every((name) => a[name] === b[name]);
const same = (a, b) => alike(a, b, [...PAIR, "amountIn"]);

export class Quotes {
  #wanted = null; // {tokenIn, tokenOut, amountIn}, or null while there is nothing to ask for
  #quote = null; // the last answer, with what was asked
  #at = 0; // when it came
  #refusal = null; // {tokenIn, tokenOut, amountIn, error}: the engine has no route for this
  #trouble = null; // why nothing is known: an ApiError
  #asking = null; // {wanted, abort, done}
  #timer = 0;
  #enabled = false;

  /**
   * @param onChange called when there is something else to show
   * @param onUnauthorized called when the key is refused
   */
  constructor({ onChange, onUnauthorized }) {
    Object.assign(this, { onChange, onUnauthorized });
    document.addEventListener("visibilitychange", () => !document.hidden && this.ask());
  }

  /** Ask for this from now on: soon, since more keystrokes may follow. */
  want(wanted) {
    const asked = isPositive(wanted.amountIn) ? wanted : null;
    if (same(asked, this.#wanted) || asked === this.#wanted) return;
    this.#wanted = asked;
    this.#trouble = null;
    this.#asking?.abort.abort();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.ask(), ASK_AFTER_MS);
    this.onChange();
  }

  /** The quote for exactly what is wanted, not older than it may be; else null. */
  current(now) {
    return same(this.#quote, this.#wanted) && now - this.#at <= STALE_MS ? this.#quote : null;
  }

  /** The last quote of all, to be shown until the next comes; null if it is for other tokens or too old. */
  latest(now) {
    const fits = alike(this.#quote, this.#wanted, PAIR) && !this.refusal;
    return fits && now - this.#at <= STALE_MS ? this.#quote : null;
  }

  /** Milliseconds since the last quote came. */
  age(now) {
    return now - this.#at;
  }

  /** Why the engine has no quote for exactly what is wanted (an ApiError), or null. */
  get refusal() {
    return same(this.#refusal, this.#wanted) ? this.#refusal.error : null;
  }

  /** Why nothing is known at the moment (an ApiError), or null. */
  get trouble() {
    return this.#trouble;
  }

  /** Whether there is anything to ask for. */
  get wanted() {
    return this.#wanted !== null;
  }

  setEnabled(enabled) {
    this.#enabled = enabled;
    if (enabled) this.ask();
    else {
      clearTimeout(this.#timer);
      this.#asking?.abort.abort();
      this.#quote = this.#refusal = this.#trouble = null;
      this.onChange();
    }
  }

  /** Know where the wanted order stands: at once if there is an answer, else when it comes (or cannot be had). */
  async settle() {
    const now = Date.now();
    if (!this.#wanted || this.refusal || this.current(now)) return;
    if (same(this.#asking?.wanted ?? null, this.#wanted)) await this.#asking.done;
    else await this.ask();
  }

  /** Ask now, and again every few seconds while the page is seen. */
  async ask() {
    clearTimeout(this.#timer);
    this.#asking?.abort.abort();
    if (!this.#enabled || !this.#wanted || document.hidden) return;
    const asking = { wanted: this.#wanted, abort: new AbortController() };
    this.#asking = asking;
    asking.done = this.#ask(asking);
    await asking.done;
  }

  async #ask({ wanted, abort }) {
    let pauseMs = ASK_EVERY_MS;
    try {
      const quote = await api.quote(wanted.tokenIn, wanted.tokenOut, wanted.amountIn, abort.signal);
      if (abort.signal.aborted) return;
      this.#quote = { ...quote, ...wanted };
      this.#at = Date.now();
      this.#refusal = this.#trouble = null;
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.unauthorized) return this.onUnauthorized();
      // A refusal is an answer; silence may leave the former quote standing until it is stale.
      if (error.status === 422) this.#refusal = { ...wanted, error };
      else this.#trouble = error;
      pauseMs = Math.min(LONGEST_PAUSE_MS, error.retryAfterMs ?? ASK_EVERY_MS);
    }
    this.#asking = null;
    this.#timer = setTimeout(() => this.ask(), pauseMs);
    this.onChange();
  }
}
