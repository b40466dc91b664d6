// What the person has asked for. One intent, one order: the name under which the engine knows an order (its
// Idempotency-Key) belongs to the filled-in ticket until something in it changes or the person asks for another.
//
// The intents outlive a reload, in the storage of this tab. No network, no document, no clock of its own.

import { normalised } from "./format.js";

const STORED = "order-engine.intents";
const UNANSWERED_AT_MOST = 20;

/** The ticket as text: two tickets with the same text ask for the same order ("1.5" and "1.50" do). */
export function textOf(request, expiry) {
  return JSON.stringify([
    request.type,
    request.tokenIn,
    request.tokenOut,
    normalised(request.amountIn),
    normalised(request.slippage),
    request.type === "limit" ? normalised(request.limitPrice) : null,
    request.type === "limit" ? expiry : null,
  ]);
}

/**
 * The intents that matter still: those that the engine has not answered, and the one that it accepted last.
 *
 * An intent is `{text, name, request, state, sentAt, silent, orderId, at}`; `silent` once some try of it had no answer.
 * Its state is
 *   sending     it is on its way
 *   unanswered  it was sent and nothing is known; sent again under its name it still becomes one order
 *   placed      it was accepted, as `orderId` at `at`
 */
export class Intents {
  #storage;
  #newName;
  #list;

  /**
   * @param storage has getItem, setItem and removeItem, such as sessionStorage
   * @param newName makes a name that nobody else has
   */
  constructor(storage, newName) {
    this.#storage = storage;
    this.#newName = newName;
    this.#list = this.#restored();
  }

  /** The intent that stands for this text, or null: then it would be a new one. */
  find(text) {
    return this.#list.find((intent) => intent.text === text) ?? null;
  }

  /** Those without an answer, oldest first. */
  get unanswered() {
    return this.#list.filter(({ state }) => state === "unanswered");
  }

  /**
   * The intent to send now, or null if this text is on its way or was accepted.
   *
   * One that was not answered is sent again as it was, whatever `request` says; its moment of expiry included.
   */
  begin(text, request, now) {
    let intent = this.find(text);
    if (intent && intent.state !== "unanswered") return null;
    if (!intent) {
      intent = { text, name: this.#newName(), request, sentAt: now };
      this.#list.push(intent);
    }
    intent.state = "sending";
    this.#save();
    return intent;
  }

  /** The engine has accepted it. What was accepted before it is history: the same ticket would be a new order. */
  accepted(intent, orderId, at) {
    this.#list = this.#list.filter((other) => other.state !== "placed" || other === intent);
    Object.assign(intent, { state: "placed", orderId, at });
    this.#save();
  }

  /** It was sent, and nobody knows what became of it. */
  silent(intent) {
    Object.assign(intent, { state: "unanswered", silent: true });
    this.#save();
  }

  /**
   * The engine has refused it.
   *
   * @param never whether it never accepted it either. Otherwise (a limit of the rate, a key that has ended) an
   *   earlier try that was not answered may have become an order, so that the name has to be kept.
   */
  refused(intent, { never }) {
    if (never || !intent.silent) this.forget(intent);
    else this.silent(intent);
  }

  /** It matters no longer. */
  forget(intent) {
    this.#list = this.#list.filter((other) => other !== intent);
    this.#save();
  }

  /** The person wants what was placed once more. False if this text was not placed. */
  again(text) {
    const intent = this.find(text);
    if (intent?.state !== "placed") return false;
    this.forget(intent);
    return true;
  }

  clear() {
    this.#list = [];
    this.#save();
  }

  #save() {
    // Beyond what anybody leaves open, the oldest are forgotten.
    const open = this.#list.filter(({ state }) => state === "unanswered");
    const surplus = new Set(open.slice(0, Math.max(0, open.length - UNANSWERED_AT_MOST)));
    this.#list = this.#list.filter((intent) => !surplus.has(intent));
    try {
      if (this.#list.length) this.#storage.setItem(STORED, JSON.stringify(this.#list));
      else this.#storage.removeItem(STORED);
    } catch {
      // A full or forbidden storage costs the memory beyond a reload, nothing else.
    }
  }

  #restored() {
    try {
      const list = JSON.parse(this.#storage.getItem(STORED)) ?? [];
      // What was on its way when the page went is without an answer now.
      return list.map((intent) =>
        intent.state === "placed" ? intent : { ...intent, state: "unanswered", silent: true },
      );
    } catch {
      return [];
    }
  }
}
