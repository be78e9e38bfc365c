// The contrast of every text, line and shape that a page shows; see page_inspection.py.
(() => {
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => ({
    r: top.r * top.a + below.r * (1 - top.a),
    g: top.g * top.a + below.g * (1 - top.a),
    b: top.b * top.a + below.b * (1 - top.a),
    a: 1,
  });
  const ancestors = function* (element) {
    for (; element; element = element.parentElement) yield element;
  };
  const grey = (colour, element) => {
    if (![...ancestors(element)].some((one) => getComputedStyle(one).filter.includes("grayscale"))) return colour;
    const level = 0.2126 * colour.r + 0.7152 * colour.g + 0.0722 * colour.b;
    return { r: level, g: level, b: level, a: 1 };
  };
  const background = (element) => {
    const layers = [];
    for (const one of ancestors(element)) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour.a > 0) layers.push(colour);
      if (colour.a === 1) break;
    }
    return layers.reduceRight((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const light = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ({ r, g, b }) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const ratio = (one, other) => {
    const [dark, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  const measured = (element, colour, what) => {
    const below = background(element);
    return { what, ratio: ratio(grey(over(colour, below), element), grey(below, element)) };
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !seen(element) || element.closest(".unseen, noscript")) continue;
    const style = getComputedStyle(element);
    const colour = channels(element.closest("svg") ? style.fill : style.color);
    const flag = element.previousElementSibling;
    if (flag?.localName === "rect") texts.push({ what: text, ratio: ratio(channels(getComputedStyle(flag).fill), colour) });
    else texts.push(measured(element, colour, text));
  }
  for (const field of document.querySelectorAll("input[type=password]")) {
    if (seen(field)) texts.push(measured(field, channels(getComputedStyle(field).color), "the token's field"));
  }
  const lines = [];
  for (const line of document.querySelectorAll(".line, .base, .cursor line, .dot, button, input[type=password]")) {
    if (!seen(line)) continue;
    const style = getComputedStyle(line);
    const drawn = line.closest("svg") ? style.stroke : style.borderTopColor;
    lines.push(measured(line.parentElement, channels(drawn), line.className.baseVal ?? line.outerHTML.slice(0, 60)));
  }
  for (const shape of document.querySelectorAll(".shape")) {
    if (seen(shape)) lines.push(measured(shape, channels(getComputedStyle(shape).color), "shape"));
  }
  return { texts, lines };
})()
