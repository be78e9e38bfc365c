/** Building and changing the document. Text goes in as text only: names and messages are data. */

const SVG = "http://www.w3.org/2000/svg";

/** Make an element with attributes and children; children that are no nodes become text, null is left out. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(made, name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Set an attribute, or take it away with null. What is set already is left alone, so that nothing is redrawn. */
export function setAttribute(target, name, value) {
  if (value === null || value === false) target.removeAttribute(name);
  else if (target.getAttribute(name) !== String(value)) target.setAttribute(name, value);
}

/** Set a text; one that stands there already is left alone, so that a selection survives. */
export function setText(target, text) {
  if (target.textContent !== String(text)) target.textContent = text;
}

/**
 * Make a container's children those of a list, keeping the elements of items that are there already.
 *
 * @param container whose children are all made here.
 * @param items what shall be shown, in order.
 * @param keyOf says which item an element belongs to; no two items may have the same key.
 * @param make builds the element of a new item.
 * @param update brings an element up to date with its item.
 */
export function showList(container, items, keyOf, make, update) {
  const old = new Map(Array.from(container.children, (child) => [child.dataset.key, child]));
  let next = container.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = old.get(key);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = key;
    }
    old.delete(key);
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else container.insertBefore(child, next);
  }
  for (const left of old.values()) left.remove();
}

/** Show pairs of term and value in a `dl`; a pair whose value is null is left out. */
export function showPairs(list, pairs) {
  showList(
    list,
    pairs.filter(([, value]) => value !== null),
    ([term]) => term,
    ([term]) => element("div", {}, element("dt", {}, term), element("dd")),
    (pair, [, value]) => setText(pair.lastElementChild, value),
  );
}

/** A shape of index.html: good, warning, error, info. */
export function shape(name) {
  return svg("svg", { class: "shape", "aria-hidden": "true" }, svg("use", { href: `#shape-${name}` }));
}
