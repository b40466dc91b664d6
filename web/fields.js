// The ticket's fields: read as a request, kept over a reload in the storage of this tab.

import { byId, h, setText } from "./dom.js";
import { scaled } from "./format.js";
import { decimalsOf, tokenName, tokens } from "./market.js";

const STORED = "order-engine.ticket";
const HOUR_MS = 3_600_000;
const EXPIRIES = { none: null, hour: HOUR_MS, day: 24 * HOUR_MS, week: 168 * HOUR_MS };
const TEXTS = ["amount-in", "token-in", "token-out", "slippage", "limit-price", "expiry"];
const CHOICES = ["type", "slippage-choice"];

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

/** The control that a field of the API belongs to, or null. */
export const controlOf = (field) => (Object.hasOwn(CONTROLS, field ?? "") ? byId(CONTROLS[field]) : null);

export class Fields {
  constructor(form) {
    this.form = form;
    this.listed();
    this.#restore();
    this.shape();
  }

  /** Offer the tokens that are listed. What is chosen stays where it still can be; the page itself offers two. */
  listed() {
    if (tokens.size < 2) return;
    const [source, target] = [byId("token-in"), byId("token-out")];
    const names = [...tokens.keys()];
    const [from, to] = [source.value, target.value];
    for (const select of [source, target])
      select.replaceChildren(...names.map((name) => h("option", { value: name }, tokenName(name))));
    source.value = tokens.has(from) ? from : names.find((name) => name !== to);
    target.value = tokens.has(to) && to !== source.value ? to : names.find((name) => name !== source.value);
  }

  #choice(name) {
    return new FormData(this.form).get(name);
  }

  get expiry() {
    return byId("expiry").value;
  }

  /** The order that the ticket asks for, at `now`. */
  request(now) {
    const limit = this.#choice("type") === "limit";
    const choice = this.#choice("slippage-choice");
    const rests = EXPIRIES[this.expiry];
    return {
      type: limit ? "limit" : "market",
      tokenIn: byId("token-in").value,
      tokenOut: byId("token-out").value,
      amountIn: byId("amount-in").value.trim(),
      slippage: choice === "own" ? byId("slippage").value.trim() : choice,
      ...(limit ? { limitPrice: byId("limit-price").value.trim() } : {}),
      ...(limit && rests ? { expiresAt: new Date(now + rests).toISOString() } : {}),
    };
  }

  /** The same token on both sides is no order: the other side gives way. A limit belongs to its pair. */
  tokenChanged(id) {
    const [source, target] = [byId("token-in"), byId("token-out")];
    if (source.value === target.value) {
      const other = id === "token-in" ? target : source;
      other.value = [...other.options].map(({ value }) => value).find((name) => name !== source.value);
    }
    byId("limit-price").value = "";
  }

  /** Turn the pair round; what would have been received (if that is known) is paid then. */
  turn(received) {
    const [source, target] = [byId("token-in"), byId("token-out")];
    [source.value, target.value] = [target.value, source.value];
    if (received) byId("amount-in").value = scaled(received, 1, 1, Math.min(4, decimalsOf(source.value))) || received;
    byId("limit-price").value = "";
  }

  /** Show the fields that belong to the kind of order. */
  shape() {
    const limit = this.#choice("type") === "limit";
    byId("limit-fields").hidden = !limit;
    byId("own-slippage").hidden = this.#choice("slippage-choice") !== "own";
    setText(byId("limit-unit"), `${byId("token-out").value} per ${byId("token-in").value}`);
  }

  save() {
    const texts = TEXTS.map((id) => [id, byId(id).value]);
    const choices = CHOICES.map((name) => [name, this.#choice(name)]);
    try {
      sessionStorage.setItem(STORED, JSON.stringify(Object.fromEntries([...texts, ...choices])));
    } catch {
      // Without storage the ticket begins anew after a reload.
    }
  }

  forget() {
    sessionStorage.removeItem(STORED);
  }

  #restore() {
    let stored;
    try {
      stored = JSON.parse(sessionStorage.getItem(STORED));
    } catch {
      return;
    }
    if (!stored) return;
    for (const id of TEXTS) {
      const control = byId(id);
      const value = String(stored[id] ?? "");
      // A choice that is no longer offered stays as it was.
      if (control.tagName !== "SELECT" || [...control.options].some((option) => option.value === value))
        control.value = value;
    }
    for (const name of CHOICES)
      for (const radio of this.form.elements[name]) radio.checked = radio.value === stored[name];
  }
}
