// A page without a browser: elements that remember what they are told, and a small jQuery over them.

const attached = []; // every element on the page, in order

class Element_ {
  #turtle = null; // what an element has as a turtle, out of a program's reach
  static turtleOf(element) { return element.#turtle; }
  static setTurtle(element, turtle) { element.#turtle = turtle; }
  constructor(tag) {
    this.tagName = this.nodeName = short(tag).toUpperCase();
    this.nodeType = 1;
    this.id = "";
    this.className = "";
    this.style = {};
    this.attributes = {};
    this.dataset = {};
    this.children = this.childNodes = [];
    this.parentNode = this.parentElement = null;
    this.innerHTML = "";
    this.value = "";
    this.width = 300;
    this.height = 150;
    this.data_ = {};
  }
  get textContent() { return this.innerHTML.replace(/<[^>]*>/g, ""); }
  set textContent(text) { this.innerHTML = "" + text; }
  get innerText() { return this.textContent; }
  set innerText(text) { this.innerHTML = "" + text; }
  get firstChild() { return this.children[0] || null; }
  get classList() { return classes(this); }
  get offsetWidth() { return this.width; }
  get offsetHeight() { return this.height; }
  get clientWidth() { return this.width; }
  get clientHeight() { return this.height; }
  appendChild(child) { attach(child, this); return child; }
  insertBefore(child) { attach(child, this); return child; }
  removeChild(child) { detach(child); return child; }
  remove() { detach(this); }
  cloneNode() { return copyOf(this); }
  setAttribute(name, value) { setAttribute(this, "" + name, value); }
  getAttribute(name) { return getAttribute(this, "" + name); }
  removeAttribute(name) { delete this.attributes[name]; }
  hasAttribute(name) { return getAttribute(this, "" + name) !== null; }
  addEventListener() {}
  removeEventListener() {}
  dispatchEvent() { return true; }
  querySelector(selector) { return select(selector)[0] || null; }
  querySelectorAll(selector) { return select(selector); }
  getElementsByTagName(tag) { return select(tag); }
  getBoundingClientRect() { return { left: 0, top: 0, right: this.width, bottom: this.height, width: this.width, height: this.height }; }
  getContext() { return context(this); }
  toDataURL() { return "data:,"; }
  focus() {}
  blur() {}
  click() {}
  scrollIntoView() {}
  play() { total.sounds += 1; }
  pause() {}
  load() {}
}

const { turtleOf, setTurtle } = Element_;
delete Element_.turtleOf;
delete Element_.setTurtle;

function attach(child, parent) {
  if (!(child instanceof Element_)) return;
  detach(child);
  spend();
  child.parentNode = child.parentElement = parent;
  parent.children[parent.children.length] = child;
  attached[attached.length] = child;
}

function detach(child) {
  const parent = child.parentNode;
  if (!parent) return;
  take(parent.children, child);
  take(attached, child);
  child.parentNode = child.parentElement = null;
}

function take(list, item) {
  const at = list.indexOf(item);
  if (at >= 0) list.splice(at, 1);
}

function copyOf(element) {
  const copy = new Element_(element.tagName);
  Object.assign(copy, { className: element.className, innerHTML: element.innerHTML, value: element.value });
  Object.assign(copy.style, element.style);
  const t = turtleOf(element);
  if (t) setTurtle(copy, { ...t, frames: [], busy: false, running: false, path: null });
  return copy;
}

function setAttribute(element, name, value) {
  if (name === "id") element.id = "" + value;
  else if (name === "class") element.className = "" + value;
  else if (name === "value") element.value = "" + value;
  else element.attributes[name] = "" + value;
}

function getAttribute(element, name) {
  if (name === "id") return element.id || null;
  if (name === "class") return element.className || null;
  return Object.hasOwn(element.attributes, name) ? element.attributes[name] : null;
}

function classes(element) {
  const names = () => element.className.split(/\s+/).filter((name) => name);
  return {
    add: (name) => { if (!names().includes(name)) element.className = [...names(), name].join(" "); },
    remove: (name) => { element.className = names().filter((other) => other !== name).join(" "); },
    toggle: (name) => { names().includes(name) ? classes(element).remove(name) : classes(element).add(name); },
    contains: (name) => names().includes(name),
  };
}

/** A drawing context that takes everything and draws nothing but marks. */
function context(canvas) {
  const nothing = () => undefined;
  const made = {
    canvas, fillStyle: "#000000", strokeStyle: "#000000", lineWidth: 1, font: "10px sans-serif",
    getImageData: (x, y, w, h) => pixels(w, h),
    createImageData: (w, h) => pixels(w, h),
    measureText: (text) => ({ width: 6 * ("" + text).length }),
    createLinearGradient: () => ({ addColorStop: nothing }),
    createRadialGradient: () => ({ addColorStop: nothing }),
    createPattern: () => ({}),
    isPointInPath: () => false,
    fillRect: (x, y, w, h) => { spend(); mark("rect", +x, +y, +w, +h, word(made.fillStyle)); },
    strokeRect: (x, y, w, h) => { spend(); mark("rect", +x, +y, +w, +h, word(made.strokeStyle)); },
    fillText: (text) => { spend(); say_(text); },
    strokeText: (text) => { spend(); say_(text); },
    fill: () => { spend(); mark("canvas", word(made.fillStyle)); },
    stroke: () => { spend(); mark("canvas", word(made.strokeStyle)); },
  };
  for (const name of ("save restore beginPath closePath moveTo lineTo arc arcTo rect ellipse clip clearRect drawImage " +
    "quadraticCurveTo bezierCurveTo translate rotate scale transform setTransform setLineDash putImageData").split(" ")) {
    made[name] = spendOnly;
  }
  return made;
}

function spendOnly() { spend(); }

function pixels(w, h) {
  const [width, height] = [min(max(1, w | 0), PAGE.width), min(max(1, h | 0), PAGE.height)];
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
}

const documentElement = new Element_("html");
const body_ = new Element_("body");
const head_ = new Element_("head");
attach(head_, documentElement);
attach(body_, documentElement);
body_.width = PAGE.width;
body_.height = PAGE.height;

/** Elements by a selector: its last simple part counts, lists and #id, .class, tag are known, pseudo-classes ignored. */
function select(selector) {
  const found = [];
  for (const part of ("" + selector).split(",")) {
    const simple = part.trim().split(/[\s>+~]+/).pop().replace(/::?[\w-]+(\([^)]*\))?/g, "");
    const id = /#([\w-]+)/.exec(simple);
    const tag = /^[\w*]+/.exec(simple);
    const wanted = [...simple.matchAll(/\.([\w-]+)/g)].map((match) => match[1]);
    if (!id && !tag && !wanted.length) continue;
    for (const element of [documentElement, ...attached]) {
      const fits = (!id || element.id === id[1]) && (!tag || tag[0] === "*" || element.tagName === tag[0].toUpperCase()) &&
        wanted.every((name) => classes(element).contains(name));
      if (fits && !found.includes(element)) found[found.length] = element;
    }
  }
  return found;
}

/** A jQuery set. `$` is its maker; methods are on `$.fn`. */
function Set_(elements) {
  this.length = elements.length;
  for (let i = 0; i < elements.length; i++) this[i] = elements[i];
}

function setOf(...elements) { return new Set_(elements); }

function elementsOf(thing) {
  if (thing === undefined || thing === null) return [];
  if (thing instanceof Set_ || isArray(thing)) {
    const all = [];
    for (let i = 0; i < thing.length; i++) {
      if (thing[i] instanceof Element_) all[all.length] = thing[i];
      else if (thing[i] instanceof Set_) all.push(...elementsOf(thing[i]));
    }
    return all;
  }
  if (thing instanceof Element_) return [thing];
  if (thing === window_) return [documentElement];
  if (thing === document_) return [documentElement];
  return typeof thing === "string" ? select(thing) : [];
}

function $(thing, attributes) {
  if (typeof thing === "function") {
    later(0, () => Reflect_apply(thing, document_, [$]));
    return setOf(documentElement);
  }
  if (typeof thing === "string" && /^\s*</.test(thing)) return setOf(...parseHtml(thing, attributes));
  return new Set_(elementsOf(thing));
}

/** The outermost elements of a piece of HTML, with what is inside as text. */
function parseHtml(html, attributes) {
  const match = /^\s*<\s*([\w-]+)([^>]*)>([\s\S]*)$/.exec(html);
  if (!match) return [];
  const element = new Element_(match[1]);
  for (const [, name, , a, b, c] of match[2].matchAll(/([\w-]+)\s*=\s*("([^"]*)"|'([^']*)'|([^\s>]+))/g)) {
    setAttribute(element, name, a ?? b ?? c ?? "");
  }
  element.innerHTML = match[3].replace(new RegExp(`</${match[1]}>\\s*$`, "i"), "");
  for (const inner of element.innerHTML.matchAll(/<\s*(\w+)([^>]*)>/g)) {
    const child = new Element_(inner[1]);
    const id = /\bid\s*=\s*["']?([\w-]+)/.exec(inner[2]);
    const kind = /\bclass\s*=\s*["']?([\w -]+)/.exec(inner[2]);
    if (id) child.id = id[1];
    if (kind) child.className = kind[1];
    child.parentNode = child.parentElement = element;
    element.children[element.children.length] = child;
  }
  if (attributes && typeof attributes === "object") {
    for (const name of Object.keys(attributes)) {
      const value = attributes[name];
      if (typeof $.fn[name] === "function") $.fn[name].call(setOf(element), value);
      else setAttribute(element, name, value);
    }
  }
  return [element];
}

$.fn = $.prototype = Set_.prototype;
$.fn.constructor = $;
