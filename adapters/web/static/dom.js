// Making and finding elements. Words always become text nodes; what the server has rendered goes through serverhtml.js.

/** The element with this id; the page is written so that it is there. */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * A new element. Attributes that are false, null or undefined are left out; `onclick` and the like are listeners.
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string)} children
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A new SVG element with these attributes. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

/** One of the symbols at the end of index.html. */
export function icon(name) {
  return svg("svg", { "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));
}

/** A button that shows an icon alone; `label` is its name for everybody else. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el(
    "button",
    { class: "icon-button", type: "button", "aria-label": label, title: label, onclick, ...attributes },
    icon(name),
  );
}

/** Copy the template with this id. */
export function copyOf(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/** Show words in an element, or hide it where there are none. */
export function showWords(element, words) {
  element.textContent = words || "";
  element.hidden = !words;
}

/** Whether the page is narrow: the side bar is a drawer. The same width as in layout.css. */
export function isNarrow() {
  return matchMedia("(max-width: 52rem)").matches;
}
