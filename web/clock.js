// The engine's time: the page compares an order's steps with now, and a visitor's clock may be wrong.

const CERTAIN_MS = 500;

let offset = 0;

/** Now by the engine's clock, as far as it is known: milliseconds since the epoch. */
export const engineNow = () => Date.now() + offset;

/**
 * The engine said that it was `at`, in an answer to what was `sent` and `received` by this machine's clock.
 *
 * Only what cannot be the network's doing moves the clock, so that a right one stays as it is.
 */
export function learnTime(at, sent, received) {
  const found = at - (sent + received) / 2;
  if (!Number.isFinite(found)) return;
  const unsure = (received - sent) / 2 + CERTAIN_MS;
  if (Math.abs(found - offset) > unsure) offset = Math.abs(found) > unsure ? found : 0;
}
