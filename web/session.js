// The key: asked for in a dialog, kept in this tab until it is signed out or refused.

import { api, ApiError, key, UNREACHABLE } from "./api.js";
import { byId, setAttribute, setText } from "./dom.js";

const PROBE_MS = 2_000;
const KEY_FORM = /^[\x21-\x7e]{1,200}$/;

export class Session {
  #dialog = byId("key-dialog");

  /**
   * @param check resolves if the engine takes the key that is stored; an ApiError otherwise
   * @param onUnlock called when there is a key
   * @param onLock called when there is none any more
   * @param onSignOut called when the person has signed out
   */
  constructor({ check, onUnlock, onLock, onSignOut }) {
    Object.assign(this, { check, onUnlock, onLock, onSignOut });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(byId("key").value.trim());
    });
    byId("key").addEventListener("input", () => setText(byId("key-error"), ""));
    byId("key-later").addEventListener("click", () => this.#dialog.close());
    byId("key-button").addEventListener("click", () => {
      if (!key.get()) return this.#ask();
      this.#lock();
      this.onSignOut();
    });
  }

  /** Begin with the key of this tab, or ask for one. */
  start() {
    if (key.get()) return this.#unlock();
    this.#lock();
    this.#ask();
  }

  /** The engine takes the key no longer. */
  refused() {
    if (!key.get()) return;
    this.#lock();
    this.#ask("This key is unknown, expired or revoked.");
  }

  /** Take back that the engine cannot be reached once it can. */
  async #untilReached() {
    try {
      await api.health();
      if (byId("key-error").textContent === UNREACHABLE) setText(byId("key-error"), "");
    } catch {
      if (this.#dialog.open) setTimeout(() => this.#untilReached(), PROBE_MS);
    }
  }

  #ask(error = "") {
    setText(byId("key-error"), error);
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  async #use(value) {
    if (!KEY_FORM.test(value)) {
      setText(byId("key-error"), "A key is one word, such as oek_…");
      return;
    }
    setText(byId("key-error"), "");
    key.set(value);
    try {
      await this.check();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.signedOut) return;
      key.forget();
      setText(byId("key-error"), error.message);
      if (error.message === UNREACHABLE) setTimeout(() => this.#untilReached(), PROBE_MS);
      return;
    }
    byId("key").value = "";
    this.#dialog.close();
    this.#unlock();
  }

  #unlock() {
    setAttribute(document.body, "data-locked", null);
    setText(byId("key-button"), "Sign out");
    this.onUnlock();
  }

  #lock() {
    key.forget();
    setAttribute(document.body, "data-locked", "");
    setText(byId("key-button"), "Enter key");
    this.onLock();
  }
}
