// The HTTP API. The key lives in this tab's session storage and nowhere else.

import { learnTime } from "./clock.js";

export const UNREACHABLE = "The engine cannot be reached.";

const KEY = "order-engine.key";
const SIGNED_OUT = "signed_out";
const TIMEOUT_MS = 12_000;
const PAGE = 50;

/** What the API refused, as its problem details say; `status` 0 means that it could not be reached. */
export class ApiError extends Error {
  constructor(status, problem, retryAfterMs = null) {
    super(problem.detail ?? "The service gave an answer that this page does not understand.");
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.field = problem.field ?? null;
    this.retryAfterMs = retryAfterMs;
  }

  get unauthorized() {
    return this.status === 401 || (this.status === 403 && this.code !== "insufficient_scope");
  }

  /** Whether the key that asked is no longer the tab's: whatever the answer was, nobody is there to see it. */
  get signedOut() {
    return this.code === SIGNED_OUT;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function ask(method, path, { query, body, headers = {}, signal, who = null } = {}) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query ?? {})) if (value !== null) url.searchParams.set(name, value);
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let content;
  try {
    response = await fetch(url, {
      method,
      headers: {
        ...(who ? { authorization: `Bearer ${who}` } : {}),
        ...(body ? { "content-type": "application/json" } : {}),
        ...headers,
      },
      body: body ? JSON.stringify(body) : undefined,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      credentials: "omit",
    });
    // What came in part has not come: whether an order was accepted is not known then.
    content = await response.json().catch((error) => (response.ok ? Promise.reject(error) : {}));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, { code: "unreachable", detail: UNREACHABLE });
  }
  if (response.ok) return content;
  if (response.status === 401 || (response.status === 403 && !content.code)) {
    throw new ApiError(response.status, { code: "unauthorized", detail: "This key is unknown, expired or revoked." });
  }
  const wait = Number(response.headers.get("retry-after"));
  throw new ApiError(response.status, content, wait > 0 ? wait * 1000 : null);
}

/** Throw if `who` is not the key of this tab. */
function stillSignedIn(who) {
  if (!who || key.get() !== who) throw new ApiError(0, { code: SIGNED_OUT, detail: "Signed out." });
}

/**
 * Ask with the key of this tab. What comes when it is another's, or nobody's, is not for whoever sits there now.
 *
 * @param who the key with which this was begun, if that was some time ago
 */
async function call(method, path, { who = key.get(), ...options } = {}) {
  stillSignedIn(who);
  try {
    return await ask(method, path, { ...options, who });
  } finally {
    stillSignedIn(who);
  }
}

const order = (id) => `api/orders/${encodeURIComponent(id)}`;

export const api = {
  health: () => ask("GET", "health"),
  /** Place an order. The same `attempt` of the same key never makes a second order, so that it may be sent again. */
  place: (body, attempt, who) =>
    call("POST", "api/orders/execute", { body, headers: { "idempotency-key": attempt }, who }),
  read: (id) => call("GET", order(id)),
  cancel: (id) => call("DELETE", order(id)),
  /** A page of orders, newest first; of one status, or of all (null). */
  list: ({ cursor = null, status = null } = {}) =>
    call("GET", "api/orders", { query: { cursor, status, limit: PAGE } }),
  quote: async (tokenIn, tokenOut, amountIn, signal) => {
    const sent = Date.now();
    const quote = await call("GET", "api/quote", { query: { tokenIn, tokenOut, amountIn }, signal });
    learnTime(Date.parse(quote.at), sent, Date.now());
    return quote;
  },
  stats: () => call("GET", "api/stats"),
  tokens: () => call("GET", "api/tokens"),
  streamTicket: () => call("POST", "api/stream-tickets"),
};

/** A fresh name for one attempt to place an order. */
export function attemptName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
