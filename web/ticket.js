// The order ticket: what to swap, the venues' live quotes for it, and the route that it would take.

import { api, ApiError, attemptName } from "./api.js";
import { quotesTable } from "./detail.js";
import { byId, debounced, h, setText } from "./dom.js";
import { amount, basisPoints, bps, duration, isPositive, parseDecimal, scaled } from "./format.js";
import { routeDiagram } from "./route.js";

export const TOKENS = { SOL: 9, USDC: 6, USDT: 6, JUP: 6, RAY: 6, BONK: 5 };

const QUOTE_AFTER_MS = 250;
const QUOTE_EVERY_MS = 4_000;
const QUOTES_SHOWN = 4;
const STALE_MS = 12_000;
const TRIES = 3;
const DAY_MS = 86_400_000;
const EXPIRIES = { hour: DAY_MS / 24, day: DAY_MS, week: 7 * DAY_MS };

/** Which control a field of the API belongs to. */
const CONTROLS = {
  amountIn: "amount-in",
  tokenIn: "token-in",
  tokenOut: "token-out",
  limitPrice: "limit-price",
  slippage: "slippage",
  slippageBps: "slippage",
  expiresAt: "expiry",
};

export class Ticket {
  #quote = null;
  #quotedAt = 0;
  #asking = null;
  #timer = 0;
  #attempt = null; // {text, name}: the body that was sent last without a known outcome

  /** @param onPlaced called with the accepted order's view and its request */
  constructor({ onPlaced, onUnauthorized }) {
    this.onPlaced = onPlaced;
    this.onUnauthorized = onUnauthorized;
    this.form = byId("ticket");
    for (const id of ["token-in", "token-out"])
      byId(id).append(...Object.keys(TOKENS).map((symbol) => h("option", { value: symbol }, symbol)));
    byId("token-in").value = "SOL";
    byId("token-out").value = "USDC";
    const soon = debounced(() => this.requote(), QUOTE_AFTER_MS);
    this.form.addEventListener("input", (event) => {
      this.#clearError();
      if (["amount-in", "token-in", "token-out"].includes(event.target.id)) this.#changed(event.target.id, soon);
      this.#shape();
      this.#drawNumbers();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("turn").addEventListener("click", () => this.#turn(soon));
    byId("use-market").addEventListener("click", () => {
      if (this.#quote) byId("limit-price").value = this.#quote.route.price;
      this.#shape();
    });
    document.addEventListener("visibilitychange", () => !document.hidden && this.requote());
    new ResizeObserver(() => this.#drawRoute()).observe(byId("quotes"));
    this.#shape();
  }

  #value(name) {
    return new FormData(this.form).get(name);
  }

  get request() {
    const limit = this.#value("type") === "limit";
    const slippage =
      this.#value("slippage-choice") === "own" ? byId("slippage").value.trim() : this.#value("slippage-choice");
    const expiry = EXPIRIES[byId("expiry").value];
    return {
      type: limit ? "limit" : "market",
      tokenIn: byId("token-in").value,
      tokenOut: byId("token-out").value,
      amountIn: byId("amount-in").value.trim(),
      slippage,
      ...(limit ? { limitPrice: byId("limit-price").value.trim() } : {}),
      ...(limit && expiry ? { expiresAt: new Date(Date.now() + expiry).toISOString() } : {}),
    };
  }

  /** The same token on both sides is no order: the other side gives way. */
  #changed(id, soon) {
    const [source, target] = [byId("token-in"), byId("token-out")];
    if (source.value === target.value) {
      const other = id === "token-in" ? target : source;
      other.value = Object.keys(TOKENS).find((symbol) => symbol !== source.value);
    }
    if (id !== "amount-in") byId("limit-price").value = "";
    this.#forgetQuote();
    soon();
  }

  #turn(soon) {
    const [source, target] = [byId("token-in"), byId("token-out")];
    [source.value, target.value] = [target.value, source.value];
    if (this.#quote)
      byId("amount-in").value = scaled(this.#quote.route.amountOut, 1, 1, Math.min(4, TOKENS[source.value]));
    byId("limit-price").value = "";
    this.#clearError();
    this.#forgetQuote();
    this.#shape();
    soon();
  }

  #shape() {
    const request = this.request;
    const limit = request.type === "limit";
    byId("limit-fields").hidden = !limit;
    byId("own-slippage").hidden = this.#value("slippage-choice") !== "own";
    setText(byId("limit-unit"), `${request.tokenOut} per ${request.tokenIn}`);
    const what = isPositive(request.amountIn) ? `${amount(request.amountIn)} ${request.tokenIn}` : request.tokenIn;
    setText(byId("place"), limit ? `Place limit order for ${what}` : `Swap ${what} for ${request.tokenOut}`);
    setText(byId("limit-hint"), this.#limitHint(request));
  }

  #limitHint(request) {
    if (request.type !== "limit" || !this.#quote) return "";
    const distance = basisPoints(request.limitPrice, this.#quote.route.price);
    if (distance === null) return "";
    if (distance <= 0) return `${bps(distance)} from the market: it will fire at once.`;
    const above = distance >= 100 ? `+${(distance / 100).toFixed(2)} %` : bps(distance);
    return `${above} from the market: it rests until the price gets there.`;
  }

  // Quotes

  /** Ask for quotes now, and again every few seconds while the page is seen. */
  async requote() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    const { tokenIn, tokenOut, amountIn } = this.request;
    if (!this.enabled || document.hidden) return;
    if (!isPositive(amountIn)) {
      this.#forgetQuote();
      setText(byId("quote-state"), "Enter an amount to see quotes");
      return;
    }
    const asking = (this.#asking = new AbortController());
    let pauseMs = QUOTE_EVERY_MS;
    try {
      const quote = await api.quote(tokenIn, tokenOut, amountIn, asking.signal);
      if (asking.signal.aborted) return;
      this.#quote = { ...quote, tokenIn, tokenOut, amountIn };
      this.#quotedAt = Date.now();
      this.#drawQuote();
    } catch (error) {
      if (asking.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.unauthorized) return this.onUnauthorized();
      // A refusal is an answer; silence may leave the former quote standing until it is stale.
      if (error.status) this.#forgetQuote();
      setText(byId("quote-state"), error.message);
      pauseMs = error.retryAfterMs ?? 2 * QUOTE_EVERY_MS;
    }
    this.#timer = setTimeout(() => this.requote(), pauseMs);
  }

  #forgetQuote() {
    this.#quote = null;
    byId("quotes").replaceChildren();
    byId("quote-route").replaceChildren();
    setText(byId("quote-reason"), "");
    setText(byId("quote-state"), "");
    this.#drawNumbers();
  }

  #drawQuote() {
    byId("quotes").replaceChildren(quotesTable(this.#quote, this.#quote.tokenOut, QUOTES_SHOWN));
    setText(byId("quote-reason"), this.#quote.reason);
    this.#drawRoute();
    this.#shape();
    this.#drawNumbers();
    this.tick(Date.now());
  }

  #drawRoute() {
    if (!this.#quote) return;
    const place = byId("quote-route");
    place.replaceChildren(routeDiagram(this.#quote.route, Math.max(220, place.clientWidth)));
  }

  #drawNumbers() {
    const quote = this.#quote;
    const request = this.request;
    const tolerance = parseDecimal(request.slippage);
    setText(byId("amount-out"), quote ? amount(quote.route.amountOut) : "–");
    setText(byId("price"), quote ? `${amount(quote.route.price)} ${quote.tokenOut} per ${quote.tokenIn}` : "–");
    const kept = tolerance && 100n * 10n ** BigInt(tolerance.scale) - tolerance.units;
    const least =
      quote && kept > 0n
        ? scaled(quote.route.amountOut, kept, 100n * 10n ** BigInt(tolerance.scale), TOKENS[quote.tokenOut])
        : null;
    setText(byId("minimum"), least ? `${amount(least)} ${quote.tokenOut}` : "–");
    setText(byId("impact"), quote ? `${(Number(quote.route.priceImpactBps) / 100).toFixed(2)} %` : "–");
    setText(byId("fee"), quote ? `${quote.networkFeeLamports.toLocaleString("en-US")} lamports` : "–");
  }

  /** Say how old the quotes are; old ones are no quotes. */
  tick(now) {
    if (!this.#quote) return;
    const age = now - this.#quotedAt;
    if (age > STALE_MS) {
      this.#forgetQuote();
      setText(byId("quote-state"), "No quote at the moment");
    } else
      setText(
        byId("quote-state"),
        age < 1500 ? "just now" : `${duration(Math.floor(age / 1000) * 1000).replace(".00", "")} ago`,
      );
  }

  /** Quotes and orders need a key. */
  setEnabled(enabled) {
    this.enabled = enabled;
    byId("place").disabled = !enabled;
    if (enabled) this.requote();
    else {
      clearTimeout(this.#timer);
      this.#asking?.abort();
      this.#forgetQuote();
    }
  }

  // Placing

  #clearError() {
    setText(byId("ticket-error"), "");
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  #showError(error) {
    setText(
      byId("ticket-error"),
      error.retryAfterMs ? `${error.message} Next order in ${duration(error.retryAfterMs)}.` : error.message,
    );
    const control = byId(CONTROLS[error.field] ?? "");
    if (!control) return;
    control.setAttribute("aria-invalid", "true");
    control.focus();
  }

  async #submit() {
    const button = byId("place");
    if (button.disabled) return;
    this.#clearError();
    const request = this.request;
    const text = JSON.stringify({ ...request, expiresAt: byId("expiry").value });
    // The same order sent again after silence keeps its name, so that it is never placed twice.
    if (this.#attempt?.text !== text) this.#attempt = { text, name: attemptName(), request };
    button.disabled = true;
    button.classList.add("is-busy");
    try {
      const sent = this.#attempt.request;
      const accepted = await placeSurely(sent, this.#attempt.name);
      this.#attempt = null;
      this.onPlaced(accepted, sent);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status > 0 && error.status < 500) this.#attempt = null;
      if (error.unauthorized) this.onUnauthorized();
      else this.#showError(error);
    } finally {
      button.classList.remove("is-busy");
      button.disabled = !this.enabled;
    }
  }
}

/** Place an order; silence and unavailability are tried again under the same name. */
export async function placeSurely(request, name) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.place(request, name);
    } catch (error) {
      const again = error instanceof ApiError && (error.status === 0 || error.status >= 500);
      if (!again || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * tries));
    }
  }
}
