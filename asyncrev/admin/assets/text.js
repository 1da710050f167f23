// Numbers, times and elements: what the page is made of. Nothing is ever parsed as HTML.

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function number(value, digits = 0) {
  return value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits });
}

export function bytes(value) {
  if (value == null) return "–";
  let unit = 0;
  while (value >= 1023.5 && unit < BINARY.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number(value, unit && value < 99.95 ? 1 : 0)} ${BINARY[unit]}`;
}

export const bytesPerSecond = (value) => (value == null ? "–" : `${bytes(value)}/s`);

export function percent(value) {
  if (value == null) return "–";
  return value > 0 && value < 0.1 ? "< 0.1 %" : `${number(value, value < 9.95 ? 1 : 0)} %`;
}

export function seconds(value) {
  if (value == null) return "–";
  if (value < 0.9995e-3) return `${number(value * 1e6, value < 9.95e-6 ? 1 : 0)} µs`;
  return value < 0.9995 ? `${number(value * 1e3, value < 9.95e-3 ? 1 : 0)} ms` : `${number(value, 1)} s`;
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export function duration(seconds) {
  if (seconds == null || seconds < 0) return "–";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

// element("td", { className: "text" }, "words", otherElement)
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A table of texts; the first cell of each row is its header. A cell may be an element, or
// { text, className }.
export function table(caption, heads, rows) {
  const cell = (name, what, properties) => {
    const isPlain = typeof what === "string" || what instanceof Node;
    const made = element(name, properties, isPlain ? what : what.text);
    if (!isPlain) made.className = what.className;
    return made;
  };
  const row = ([first, ...others]) =>
    element("tr", {}, cell("th", first, { scope: "row" }), ...others.map((one) => cell("td", one)));
  return element(
    "table",
    {},
    element("caption", { className: "hidden" }, caption),
    element(
      "thead",
      {},
      element("tr", {}, ...heads.map((head) => cell("th", head, { scope: "col" }))),
    ),
    element("tbody", {}, ...rows.map(row)),
  );
}
