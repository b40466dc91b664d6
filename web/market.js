// What is traded, and where: the venues as the server writes them into the page, the tokens as the API lists them.

const STORED = "order-engine.tokens";
// Of a token that is not listed (any more), as many as most have at most.
const DECIMALS = 9;

/** The venues by name, in the engine's order: {title, light, dark}. */
export const venues = new Map();

/** The tokens by what they are called in orders, their symbol or else their mint: {decimals}. */
export const tokens = new Map();

/** The decimals of a token's amounts. */
export const decimalsOf = (name) => tokens.get(name)?.decimals ?? DECIMALS;

/** A token for reading: its symbol, or the ends of its mint. */
export const tokenName = (name) => (name?.length > 20 ? `${name.slice(0, 4)}…${name.slice(-4)}` : name);

/** "SOL to USDC". */
export const pairName = ({ tokenIn, tokenOut }) => `${tokenName(tokenIn)} to ${tokenName(tokenOut)}`;

export function learnVenues(list) {
  for (const { name, ...profile } of list) venues.set(name, profile);
}

/** Take the list of `GET /api/tokens`. Whether it says anything new. */
export function learnTokens(list) {
  const before = JSON.stringify([...tokens]);
  tokens.clear();
  for (const { symbol, mint, decimals } of list) tokens.set(symbol ?? mint, { decimals });
  return JSON.stringify([...tokens]) !== before;
}

/** Keep the tokens for a reload of this tab. */
export function keepTokens(list) {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(list));
  } catch {
    // Without storage they are asked for again.
  }
}

/** Take what was kept, if anything was. */
export function recallTokens() {
  try {
    learnTokens(JSON.parse(sessionStorage.getItem(STORED)) ?? []);
  } catch {
    // It will be asked for.
  }
}

export const forgetTokens = () => sessionStorage.removeItem(STORED);

/** The venues' colours: each element with a venue's class has its colour in --venue. */
export function colourVenues() {
  const colour = ({ light, dark }) => `light-dark(${light}, ${dark})`;
  const rules = [...venues].map(([name, venue]) => `.${CSS.escape(name)} { --venue: ${colour(venue)}; }`);
  const [first, second = first] = [...venues.values()].map(colour);
  if (first) rules.push(`:root { --first-venue: ${first}; --second-venue: ${second}; }`);
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules.join("\n"));
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}
