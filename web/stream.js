// The socket that follows all of the user's orders: connects with a fresh ticket, says honestly how it stands,
// notices a silent death, and comes back with growing pauses. What was missed meanwhile is asked for by number.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const PING_EVERY_MS = 20_000;
const ANSWER_WITHIN_MS = 8_000;
// The form of frames that this page reads; a newer one it would only guess at.
const FORM = 1;

/** The pause before the n-th try in a row (from 0), jittered so that many pages do not return at once. */
export function pause(tries, random = Math.random) {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(tries, 10));
  return full / 2 + (full / 2) * random();
}

export class Stream {
  #open;
  #onFrame;
  #onState;
  #socket = null;
  #tries = 0;
  #timer = 0;
  #pulse = 0;
  #running = false;
  #generation = 0;

  /**
   * @param open resolves to the address of a socket; an error with `unauthorized` ends the stream
   * @param onFrame called with every frame, parsed
   * @param onState called with {name, until, tries}; the name is connecting, connected, waiting, offline, stopped,
   *   refused or outdated, `until` the time of the next try (milliseconds since the epoch)
   */
  constructor({ open, onFrame, onState }) {
    this.#open = open;
    this.#onFrame = onFrame;
    this.#onState = onState;
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("offline", () => this.#check());
    document.addEventListener("visibilitychange", () => !document.hidden && this.#check());
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#tries = 0;
    this.#connect();
  }

  stop() {
    this.#running = false;
    this.#drop();
    this.#onState({ name: "stopped" });
  }

  /** Try at once instead of waiting out the pause. */
  retryNow() {
    if (this.#running && !this.#socket) {
      clearTimeout(this.#timer);
      this.#connect();
    }
  }

  /** Something may have happened to the connection: ask it, or come back at once. */
  #check() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#ping();
    else this.retryNow();
  }

  /** Send a message; false if there is no open socket. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #drop() {
    this.#generation += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  async #connect() {
    this.#drop();
    const generation = this.#generation;
    const current = () => this.#running && generation === this.#generation;
    this.#onState({ name: "connecting", tries: this.#tries });
    let url;
    try {
      url = await this.#open();
    } catch (error) {
      if (!current()) return;
      if (error.unauthorized) {
        this.#running = false;
        this.#onState({ name: "refused" });
      } else this.#lost();
      return;
    }
    if (!current()) return;
    const socket = new WebSocket(url);
    this.#socket = socket;
    let subscribed = false;
    this.#expectAnswer();
    socket.addEventListener("open", () => {
      if (!current()) return;
      this.send({ action: "subscribe" });
    });
    socket.addEventListener("message", ({ data }) => {
      if (!current()) return;
      const frame = this.#parse(data);
      if (frame?.schema > FORM) {
        this.stop();
        this.#onState({ name: "outdated" });
        return;
      }
      if (frame?.type === "subscribed") {
        subscribed = true;
        this.#tries = 0;
        this.#onState({ name: "connected" });
      }
      // Until the subscription is confirmed the socket is on probation: only its progress buys it time.
      if (subscribed) this.#alive();
      else if (frame?.type === "snapshot") this.#expectAnswer();
      if (frame) this.#onFrame(frame);
    });
    socket.addEventListener("close", () => current() && this.#lost());
  }

  #parse(data) {
    try {
      const frame = JSON.parse(data);
      return typeof frame === "object" ? frame : null;
    } catch {
      return null;
    }
  }

  #alive() {
    clearTimeout(this.#pulse);
    this.#pulse = setTimeout(() => this.#ping(), PING_EVERY_MS);
  }

  #ping() {
    this.send({ action: "ping" });
    this.#expectAnswer();
  }

  #expectAnswer() {
    clearTimeout(this.#pulse);
    const generation = this.#generation;
    this.#pulse = setTimeout(() => this.#running && generation === this.#generation && this.#lost(), ANSWER_WITHIN_MS);
  }

  #lost() {
    this.#drop();
    const wait = pause(this.#tries);
    this.#tries += 1;
    this.#onState({ name: navigator.onLine ? "waiting" : "offline", until: Date.now() + wait });
    this.#timer = setTimeout(() => this.#connect(), wait);
  }
}
