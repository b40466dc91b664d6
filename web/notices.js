// What the page tells beside its panels: short notices, and the ends of orders for screen readers.

import { byId, debounced, h, setText } from "./dom.js";
import { amount, figure, venueName } from "./format.js";
import { pairName, tokenName } from "./market.js";

const SHOWN_AT_MOST = 3;
const SHOWN_MS = 5_000;
const BAD_SHOWN_MS = 9_000;

/** Show a notice for some seconds. */
export function notice(text, { bad = false } = {}) {
  const item = h("div", { class: bad ? "notice is-bad" : "notice" }, h("span", {}, text));
  const place = byId("notices");
  place.append(item);
  while (place.children.length > SHOWN_AT_MOST) place.firstElementChild.remove();
  setTimeout(() => item.remove(), bad ? BAD_SHOWN_MS : SHOWN_MS);
}

/** Says how orders ended; many at once in one sentence. */
export class Announcer {
  #ids = [];
  #say;

  /** @param factsOf gives what is known of an order by its id */
  constructor(factsOf) {
    this.#say = debounced(() => {
      const ended = this.#ids.splice(0).map(factsOf);
      setText(
        byId("announcer"),
        ended.length > 2 ? `${ended.length} orders have ended: ${summary(ended)}.` : ended.map(sentence).join(" "),
      );
    }, 600);
  }

  ended(id) {
    this.#ids.push(id);
    this.#say();
  }
}

const summary = (ended) =>
  [...new Set(ended.map(({ status }) => status))]
    .map((status) => `${ended.filter((order) => order.status === status).length} ${status}`)
    .join(", ");

function sentence(order) {
  // An order from elsewhere may have ended before it was described.
  const what = order.tokenIn ? `${amount(order.amountIn)} ${pairName(order)}` : "An order";
  if (order.status === "confirmed" && order.tokenIn)
    return `${what} confirmed: ${figure(order.amountOut)} ${tokenName(order.tokenOut)} on ${venueName(order.venue)}.`;
  return `${what} ${order.status}.${order.error ? ` ${order.error.message}` : ""}`;
}
