// The order ticket: what to swap, the venues' live quotes for it, the route that it would take, and placing it once.

import { api, ApiError, attemptName, key } from "./api.js";
import { hint, isLoss, ticketFigures, unreadable, warnings } from "./checks.js";
import { engineNow } from "./clock.js";
import { quotesTable } from "./detail.js";
import { byId, h, setAttribute, setText } from "./dom.js";
import { controlOf, Fields } from "./fields.js";
import { amount, duration, isPositive, timeOfDay } from "./format.js";
import { Intents, textOf } from "./intent.js";
import { decimalsOf, tokenName } from "./market.js";
import { Quotes } from "./quotes.js";
import { routeDiagram } from "./route.js";

const QUOTES_SHOWN = 4;
const TRIES = 3;
const [MEDIUM, LONG] = [7, 11]; // characters of an amount that have room in large type, and in less large type
const SLOW_MS = 2_000;

const NO_ANSWER = "The engine has not answered, so the order may have been placed. Sent again, it is still one order.";

export class Ticket {
  #fields;
  #quotes;
  #intents = new Intents(sessionStorage, attemptName);
  #enabled = false;
  #busySince = null; // while an order is being checked or sent
  #error = null; // {error, until}: what was refused; `until` when a limit of time ends
  #drawn = null; // the quote that is on the page

  /**
   * @param onPlaced called with the accepted order's view and its request
   * @param onUnauthorized called when the key is refused
   * @param onShow called with the id of an order to show
   */
  constructor({ onPlaced, onUnauthorized, onShow }) {
    Object.assign(this, { onPlaced, onUnauthorized, onShow });
    this.form = byId("ticket");
    this.#fields = new Fields(this.form);
    this.#quotes = new Quotes({ onChange: () => this.#draw(), onUnauthorized });
    this.form.addEventListener("input", ({ target }) => this.#input(target));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("turn").addEventListener("click", () => {
      this.#fields.turn(this.#quotes.current(Date.now())?.route.amountOut);
      this.#changed();
    });
    byId("use-market").addEventListener("click", () => {
      const quote = this.#quotes.latest(Date.now());
      if (quote) byId("limit-price").value = quote.route.price;
      this.#changed();
    });
    byId("again").addEventListener("click", () => this.#again());
    byId("show-placed").addEventListener("click", () => this.onShow(this.#intent?.orderId));
    byId("resend").addEventListener("click", () => this.#send(this.#elsewhere));
    byId("dismiss").addEventListener("click", () => {
      this.#intents.forget(this.#elsewhere);
      this.#draw();
    });
    new ResizeObserver(() => this.#drawRoute()).observe(byId("quotes"));
    this.#changed();
  }

  get #request() {
    return this.#fields.request(engineNow());
  }

  get #text() {
    return textOf(this.#request, this.#fields.expiry);
  }

  /** What was asked for with the ticket as it stands; null if that would be something new. */
  get #intent() {
    return this.#intents.find(this.#text);
  }

  /** An order that was sent from this ticket as it was before, without an answer. */
  get #elsewhere() {
    return this.#intents.unanswered.find((intent) => intent !== this.#intent) ?? null;
  }

  #input(target) {
    if (target.id === "accept-risk") return this.#draw();
    if (target.id === "token-in" || target.id === "token-out") this.#fields.tokenChanged(target.id);
    this.#changed();
  }

  #changed() {
    this.#clearError();
    byId("accept-risk").checked = false;
    this.#fields.shape();
    if (this.#enabled) this.#fields.save();
    const { tokenIn, tokenOut, amountIn } = this.#request;
    this.#quotes.want({ tokenIn, tokenOut, amountIn });
    this.#draw();
  }

  /** The list of tokens is another now. */
  listed() {
    this.#fields.listed();
    this.#changed();
  }

  /** Quotes and orders need a key. */
  setEnabled(enabled) {
    this.#enabled = enabled;
    this.#quotes.setEnabled(enabled);
    this.#draw();
  }

  /** Somebody else may be next at this tab. */
  forget() {
    this.#intents.clear();
    this.#fields.forget();
    this.#clearError();
    this.#draw();
  }

  /** The engine answers again. */
  recovered() {
    this.#quotes.ask();
  }

  // Showing

  #draw() {
    const now = Date.now();
    const request = this.#request;
    const quote = this.#quotes.latest(now);
    const fresh = this.#quotes.current(now);
    this.#drawFigures(request, quote);
    byId("ticket").classList.toggle("is-waiting", this.#quotes.wanted && !fresh);
    if (quote !== this.#drawn) this.#drawQuotes(quote);
    byId("market").classList.toggle("is-waiting", Boolean(quote) && !fresh);
    this.#drawNote(request, quote);
    this.tick(now);
  }

  #drawFigures(request, quote) {
    const told = ticketFigures(request, quote);
    setText(byId("amount-out-label"), told.outLabel);
    setText(byId("amount-out"), told.out);
    for (const [id, text] of [["amount-in", request.amountIn], ["amount-out", told.out]])
      setAttribute(byId(id), "data-size", text.length > LONG ? "small" : text.length > MEDIUM ? "medium" : null);
    setText(byId("price-label"), told.priceLabel);
    setText(byId("price"), told.price);
    setText(byId("minimum-label"), told.minimumLabel);
    setText(byId("minimum"), told.minimum);
    setText(byId("impact-label"), told.impactLabel);
    setText(byId("impact"), told.impact);
    setText(byId("fee"), told.fee);
  }

  #drawQuotes(quote) {
    this.#drawn = quote;
    const style = { atMost: QUOTES_SHOWN, brief: true };
    const table = quote && quotesTable(quote, quote.tokenOut, decimalsOf(quote.tokenOut), style);
    byId("quotes").replaceChildren(...(table ? [table] : []));
    setText(byId("quote-reason"), quote && !isLoss(quote) ? quote.reason : "");
    this.#drawRoute();
  }

  #drawRoute() {
    const place = byId("quote-route");
    place.replaceChildren(...(this.#drawn ? [routeDiagram(this.#drawn.route, Math.max(220, place.clientWidth))] : []));
  }

  /** The one place below the figures that says what to know before (and after) the button is pressed. */
  #drawNote(request, quote) {
    const intent = this.#intent;
    const state = this.#busySince === null ? (intent?.state ?? "new") : "sending";
    const refusal = this.#refusal;
    const told = state === "new" && !this.#error ? warnings(request, quote) : [];
    const danger = told.some(({ level }) => level === "danger");
    const placed = state === "placed";
    setText(byId("ticket-placed-text"), placed ? `Placed at ${timeOfDay(intent.at)}.` : "");
    byId("show-placed").hidden = byId("again").hidden = !placed;
    byId("ticket-warnings").replaceChildren(...told.map(({ level, text }) => h("li", { class: level }, text)));
    byId("accept").hidden = !danger;
    const elsewhere = state === "sending" ? null : this.#elsewhere;
    byId("ticket-elsewhere").hidden = elsewhere === null;
    if (elsewhere) {
      const sentAt = timeOfDay(elsewhere.sentAt);
      setText(byId("ticket-elsewhere-text"), `${inWords(elsewhere.request)}, sent at ${sentAt}: no answer.`);
    }
    const unclear = unreadable(request.amountIn) ?? unreadable(request.limitPrice ?? "");
    let said = "";
    if (!this.#enabled) said = "Enter a key to see quotes and to trade.";
    else if (state === "unanswered") said = NO_ANSWER;
    else if (state === "new" && (unclear || refusal)) said = unclear ?? refusal.message;
    else if (state === "new" && !told.length) said = hint(request, quote, this.#quotes.refusal);
    setText(byId("ticket-hint"), this.#error ? "" : said);
    const style = state === "unanswered" ? "caution" : unclear || refusal ? "error" : "soft";
    setAttribute(byId("ticket-hint"), "class", style);
    this.#drawButton(request, state, Boolean(refusal) && state === "new");
  }

  #drawButton(request, state, blocked) {
    const [source, target] = [tokenName(request.tokenIn), tokenName(request.tokenOut)];
    const what = isPositive(request.amountIn) ? `${amount(request.amountIn)} ${source}` : source;
    const fresh = request.type === "limit" ? `Place limit order for ${what}` : `Swap ${what} for ${target}`;
    const text = { new: fresh, sending: "Placing …", unanswered: "Send again", placed: "Placed" }[state];
    const button = byId("place");
    setText(button, text);
    button.disabled = !this.#enabled;
    button.classList.toggle("is-busy", state === "sending");
    // Not disabled: whoever tries it learns why nothing happens, and the focus stays where it is.
    button.classList.toggle("is-held", state === "sending" || state === "placed" || blocked);
  }

  /** Why a market order as it stands is not placed: the engine has no route for it now. */
  get #refusal() {
    return this.#request.type === "market" ? this.#quotes.refusal : null;
  }

  /** Let time go on: the age of the quotes, a limit's end, the wait for an answer. */
  tick(now) {
    const quote = this.#quotes.latest(now);
    if (!quote && this.#drawn) this.#draw();
    setText(byId("quote-state"), this.#quoteState(quote, now));
    const { error, until } = this.#error ?? {};
    if (until && until <= now) {
      this.#clearError();
      this.#draw();
    } else if (error) {
      const wait = until ? ` Next order in ${Math.ceil((until - now) / 1000)} s.` : "";
      setText(byId("ticket-error"), error.message + wait);
    }
    if (this.#busySince !== null && now - this.#busySince > SLOW_MS) {
      const waited = duration(Math.floor((now - this.#busySince) / 1000) * 1000).replace(".00", "");
      setText(byId("ticket-hint"), `No answer for ${waited}. However often it is sent, it is one order.`);
    }
  }

  #quoteState(quote, now) {
    if (!this.#enabled) return "";
    if (!this.#quotes.wanted) return "Enter an amount to see quotes";
    if (this.#quotes.trouble) return this.#quotes.trouble.message;
    if (this.#quotes.refusal) return "No quote";
    if (!quote) return "Asking …";
    const age = this.#quotes.age(now);
    return age < 1500 ? "just now" : `${Math.floor(age / 1000)} s ago`;
  }

  #clearError() {
    this.#error = null;
    setText(byId("ticket-error"), "");
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  #showError(error) {
    this.#error = { error, until: error.retryAfterMs ? Date.now() + error.retryAfterMs : null };
    const control = controlOf(error.field);
    if (!control) return;
    control.setAttribute("aria-invalid", "true");
    control.focus();
  }

  // Placing

  /** The person wants the same once more. The rest of a double click or of a held key is no wish to place it yet. */
  #again() {
    if (!this.#intents.again(this.#text)) return;
    this.#changed();
    byId("ticket-note").focus();
  }

  async #submit() {
    if (!this.#enabled || this.#busySince !== null) return;
    const known = this.#intent;
    if (known?.state === "placed") return this.#nudge();
    // What may have been placed already is not checked again: the only question is what became of it.
    if (known) return this.#send(known);
    this.#clearError();
    const [text, request] = [this.#text, this.#request];
    this.#busySince = Date.now();
    this.#draw();
    await this.#quotes.settle();
    this.#busySince = null;
    if (text !== this.#text || !this.#enabled) return this.#draw();
    if (this.#refusal) {
      this.#showError(this.#refusal);
      return this.#draw();
    }
    this.#draw();
    if (!byId("accept").hidden && !byId("accept-risk").checked) return byId("accept-risk").focus();
    await this.#send({ text, request });
  }

  /** Show where to go on from an order that was placed. */
  #nudge() {
    const place = byId("ticket-placed");
    place.classList.remove("is-new");
    requestAnimationFrame(() => place.classList.add("is-new"));
  }

  async #send({ text, request }) {
    if (this.#busySince !== null) return;
    const intent = this.#intents.begin(text, request, Date.now());
    if (!intent) return;
    this.#clearError();
    this.#busySince = Date.now();
    this.#draw();
    try {
      const accepted = await placeSurely(intent.request, intent.name, () => this.#intents.silent(intent));
      this.#intents.accepted(intent, accepted.orderId, Date.parse(accepted.createdAt));
      this.onPlaced(accepted, intent.request);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#notPlaced(intent, error);
    } finally {
      if (intent.state === "sending") this.#intents.silent(intent);
      this.#busySince = null;
      this.#draw();
    }
  }

  #notPlaced(intent, error) {
    if (error.status > 0 && error.status < 500) {
      this.#intents.refused(intent, { never: error.status === 422 || error.status === 413 });
      if (error.unauthorized) this.onUnauthorized();
      else this.#showError(error);
    }
  }
}

const inWords = ({ amountIn, tokenIn, tokenOut }) =>
  `${amount(amountIn)} ${tokenName(tokenIn)} for ${tokenName(tokenOut)}`;

/** Place an order; silence and unavailability are told to `onSilence`, and tried again under the same name. */
export async function placeSurely(request, name, onSilence = () => {}) {
  const who = key.get(); // with another's it would be another person's order
  for (let tries = 1; ; tries += 1) {
    try {
      return await api.place(request, name, who);
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status > 0 && error.status < 500)) throw error;
      onSilence();
      if (error.signedOut) throw error;
      if (tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 400 * tries));
    }
  }
}
