// The demonstration: some market orders side by side, one run at a time.

import { attemptName } from "./api.js";
import { byId, setText } from "./dom.js";
import { tokens } from "./market.js";
import { notice } from "./notices.js";
import { placeSurely } from "./ticket.js";

const AT_MOST = 100;
// A run whose orders do not end, because no worker is there, does not keep the next one waiting for ever.
const PATIENCE_MS = 30_000;

const ORDERS = [
  { tokenIn: "SOL", tokenOut: "USDC", amountIn: "1.5" },
  { tokenIn: "USDC", tokenOut: "SOL", amountIn: "420" },
  { tokenIn: "SOL", tokenOut: "USDC", amountIn: "60" },
  { tokenIn: "SOL", tokenOut: "USDT", amountIn: "3" },
  { tokenIn: "USDC", tokenOut: "USDT", amountIn: "250" },
];

export class Demo {
  #running = null; // the ids of the orders that have not ended; null between two runs
  #timer = 0;
  #enabled = false;

  /**
   * @param onPlaced called with each accepted order and its request; says whether it is still under way
   * @param onRefused called with the first refusal of a run
   */
  constructor({ onPlaced, onRefused }) {
    Object.assign(this, { onPlaced, onRefused });
    byId("demo").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#run();
    });
  }

  setEnabled(enabled) {
    this.#enabled = enabled;
    if (!enabled) this.#end();
    this.#draw();
  }

  /** An order has ended, of this run or any other. */
  ended(id) {
    if (!this.#running?.delete(id)) return;
    if (this.#running.size === 0) this.#end();
    this.#draw();
  }

  #end() {
    clearTimeout(this.#timer);
    this.#running = null;
  }

  #draw() {
    byId("demo-run").disabled = !this.#enabled || this.#running !== null;
    setText(byId("demo-run"), this.#running?.size ? `${this.#running.size} under way` : "Run orders");
  }

  async #run() {
    if (!this.#enabled || this.#running !== null) return;
    const count = Math.min(AT_MOST, Math.max(1, Math.round(Number(byId("demo-count").value)) || 1));
    byId("demo-count").value = String(count);
    const running = (this.#running = new Set());
    this.#draw();
    const listed = ORDERS.filter(({ tokenIn, tokenOut }) => tokens.has(tokenIn) && tokens.has(tokenOut));
    const orders = listed.length ? listed : ORDERS;
    const requests = Array.from({ length: count }, (_, at) => ({
      type: "market",
      slippage: "0.5",
      ...orders[at % orders.length],
    }));
    const results = await Promise.allSettled(requests.map((request) => this.#place(request, running)));
    if (this.#running !== running) return;
    const refusals = results.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
    if (running.size) {
      notice(`${count - refusals.length} orders accepted`);
      this.#timer = setTimeout(() => {
        this.#end();
        this.#draw();
      }, PATIENCE_MS);
    } else this.#end();
    this.#draw();
    if (refusals.length) this.onRefused(refusals[0]);
  }

  async #place(request, running) {
    const accepted = await placeSurely(request, attemptName());
    if (this.onPlaced(accepted, request)) running.add(accepted.orderId);
  }
}
