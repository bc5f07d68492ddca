// The one place where HTML becomes elements: Markdown that the server has rendered and cleaned. Where the browser knows
// Trusted Types, the policy below is the only one that the page's Content-Security-Policy lets make HTML.

import { el, icon } from "./dom.js";
import { copy } from "./clipboard.js";

const policy = globalThis.trustedTypes?.createPolicy("hearth", { createHTML: (html) => html });

/** What each element shows now: its blocks as the server wrote them. */
const shown = new WeakMap();

/**
 * Show a message's HTML. Blocks that have not changed stay as they are, so an answer that grows keeps selections and
 * scroll positions, and costs what its last block costs.
 * @param {HTMLElement} target
 * @param {string} html as the server has cleaned it
 */
export function showServerHtml(target, html) {
  const template = document.createElement("template");
  template.innerHTML = policy ? policy.createHTML(html) : html;
  const blocks = [...template.content.childNodes].filter(
    (node) => node.nodeType === Node.ELEMENT_NODE || node.textContent.trim(),
  );
  const sources = blocks.map((block) => block.outerHTML ?? block.textContent);
  const known = shown.get(target) ?? [];
  let same = 0;
  while (same < known.length && known[same] === sources[same]) same += 1;
  if (same < blocks.length && same === known.length - 1 && grown(target.children[same], blocks[same])) same += 1;
  while (target.children.length > same) target.lastElementChild.remove();
  for (const block of blocks.slice(same)) target.append(decorated(block));
  shown.set(target, sources);
}

/** Take a block's new words over into the element that shows it, if both are of one kind. */
function grown(element, block) {
  const pre = element.querySelector(":scope > pre");
  if (pre && block.nodeName === "PRE" && languageOf(block) === element.dataset.language) {
    pre.firstElementChild.textContent = block.textContent;
    return true;
  }
  if (element.nodeName !== block.nodeName || !["P", "UL", "OL"].includes(block.nodeName)) return false;
  element.replaceChildren(...block.childNodes);
  decorateInside(element);
  return true;
}

function decorated(block) {
  if (block.nodeType !== Node.ELEMENT_NODE) return el("p", {}, block);
  if (block.nodeName === "PRE") return codeBlock(block);
  if (block.nodeName === "TABLE") return scrolling(block);
  decorateInside(block);
  return block;
}

function decorateInside(block) {
  for (const pre of block.querySelectorAll("pre")) pre.replaceWith(codeBlock(pre.cloneNode(true)));
  for (const table of block.querySelectorAll("table")) table.replaceWith(scrolling(table.cloneNode(true)));
}

/** A code block with its language and a button that copies it. */
function codeBlock(pre) {
  const language = languageOf(pre);
  if (!pre.firstElementChild) pre.replaceChildren(el("code", {}, pre.textContent));
  pre.tabIndex = 0; // a keyboard scrolls it sideways
  pre.setAttribute("aria-label", language ? `Code in ${language}` : "Code");
  pre.setAttribute("role", "group");
  const label = el("span", {}, "Copy");
  const button = el(
    "button",
    {
      type: "button",
      "aria-label": "Copy the code",
      onclick: () => copy(pre.textContent.replace(/\n$/, ""), button, label),
    },
    icon("copy"),
    label,
  );
  return el(
    "div",
    { class: "code", "data-language": language },
    el("div", { class: "code-bar" }, el("span", {}, language || "text"), button),
    pre,
  );
}

function languageOf(pre) {
  const names = [...(pre.querySelector("code")?.classList ?? [])];
  return (names.find((name) => name.startsWith("language-")) ?? "").slice("language-".length);
}

function scrolling(table) {
  return el("div", { class: "table", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}
