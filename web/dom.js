// Building the page. Text goes in as text nodes only: nothing here, or anywhere else, parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element with attributes, listeners (`on`) and children; strings become text. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Replace an element's text, touching the document only if it differs. */
export function setText(node, text) {
  const value = String(text ?? "");
  if (node.textContent !== value) node.textContent = value;
}

/** Set or (with null) remove an attribute, touching the document only if it differs. */
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** The element with this id, which index.html is known to have. */
export const byId = (id) => document.getElementById(id);

/** Call `work` once, `ms` after the last of several calls. */
export function debounced(work, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
}

let queued = new Set();

/** Do `work` before the next paint, once, however often it is asked for (at once while the page is hidden). */
export function beforePaint(work) {
  if (queued.has(work)) return;
  queued.add(work);
  if (queued.size > 1) return;
  const run = () => {
    const now = queued;
    queued = new Set();
    for (const job of now) job();
  };
  if (document.hidden) setTimeout(run, 0);
  else requestAnimationFrame(run);
}
