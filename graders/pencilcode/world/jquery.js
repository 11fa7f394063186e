// What novices use of jQuery, on elements that only remember.

const plainName = (name) => ("" + name).replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());

function each(set, action) {
  for (let i = 0; i < set.length; i++) if (set[i] instanceof Element_) action(set[i], i);
  return set;
}

/** Getter with one argument, setter with two or an object; for attributes, properties, styles and data. */
function property(get, set) {
  return function (name, value) {
    if (name !== null && typeof name === "object" && !isArray(name)) {
      for (const key of Object.keys(name)) each(this, (element) => set(element, key, name[key]));
      return this;
    }
    if (arguments.length < 2) return this.length ? get(this[0], name) : undefined;
    return each(this, (element, i) => {
      set(element, name, typeof value === "function" ? value.call(element, i, get(element, name)) : value);
    });
  };
}

function content(get, set) {
  return function (value) {
    if (value === undefined) return this.length ? get(this[0]) : undefined;
    return each(this, (element, i) => {
      set(element, typeof value === "function" ? value.call(element, i, get(element)) : value);
    });
  };
}

function styleOf(element, name) {
  const key = plainName(name);
  const t = body(element);
  if (key === "turtleRotation") return t.heading + "deg";
  if (key === "turtlePosition") return t.x + "px " + -t.y + "px";
  if (key === "turtleSpeed") return t.speed === null ? standardSpeed : t.speed;
  if (Object.hasOwn(element.style, key)) return element.style[key];
  return key === "width" || key === "height" ? element[key] + "px" : "";
}

function setStyle(element, name, value) {
  const key = plainName(name);
  if (value === null || value === undefined) return;
  if (key === "turtleSpeed") body(element).speed = +value;
  if ((key === "width" || key === "height") && isFinite_(parseFloat(value))) element[key] = parseFloat(value);
  element.style[key] = typeof value === "number" ? short(value) + (/opacity|zIndex|weight|scale|speed/i.test(key) ? "" : "px") : short(value);
}

function show(element, shown) {
  body(element).shown = shown;
}

function insert(set, things) {
  if (!set.length) return;
  for (const thing of things) {
    if (typeof thing === "string" || typeof thing === "number") {
      set[0].innerHTML = short(set[0].innerHTML + thing);
      say_(thing);
      for (const element of parseHtml("" + thing)) attach(element, set[0]);
    } else for (const element of elementsOf(thing)) attach(element, set[0]);
  }
}

const methods = {
  css: property(styleOf, setStyle),
  attr: property((element, name) => getAttribute(element, "" + name) ?? undefined, (element, name, value) => setAttribute(element, "" + name, value)),
  prop: property((element, name) => element[name], (element, name, value) => { element[name] = value; }),
  data: property((element, name) => element.data_[name], (element, name, value) => { element.data_[name] = value; }),
  text: content((element) => element.textContent, (element, value) => { element.innerHTML = short(value); say_(value); }),
  html: content((element) => element.innerHTML, (element, value) => { element.innerHTML = short(value); say_(value); }),
  val: content((element) => element.value, (element, value) => { element.value = short(value); }),
  width: content((element) => element.width, (element, value) => setStyle(element, "width", value)),
  height: content((element) => element.height, (element, value) => setStyle(element, "height", value)),
  append(...things) { insert(this, things); return this; },
  prepend(...things) { insert(this, things); return this; },
  after(...things) { insert(setOf(body_), things); return this; },
  before(...things) { insert(setOf(body_), things); return this; },
  appendTo(parent) { insert($(parent), [this]); return this; },
  prependTo(parent) { insert($(parent), [this]); return this; },
  insertAfter() { insert(setOf(body_), [this]); return this; },
  insertBefore() { insert(setOf(body_), [this]); return this; },
  replaceWith(...things) { insert(setOf(body_), things); return this.remove(); },
  remove() { return each(this, (element) => { show(element, false); detach(element); }); },
  detach() { return each(this, detach); },
  empty() { return each(this, (element) => { element.innerHTML = ""; for (const child of [...element.children]) detach(child); }); },
  addClass(name) { return each(this, (element) => ("" + name).split(" ").forEach((one) => classes(element).add(one))); },
  removeClass(name) { return each(this, (element) => classes(element).remove(name)); },
  toggleClass(name) { return each(this, (element) => classes(element).toggle(name)); },
  hasClass(name) { return elementsOf(this).some((element) => classes(element).contains(name)); },
  removeAttr(name) { return each(this, (element) => element.removeAttribute(name)); },
  each(action) {
    for (let i = 0; i < this.length; i++) if (action.call(this[i], i, this[i]) === false) break;
    return this;
  },
  map(action) { return new Set_(elementsOf(this).map((element, i) => action.call(element, i, element))); },
  get(i) { return i === undefined ? elementsOf(this) : this[i < 0 ? this.length + i : i]; },
  eq(i) { return new Set_(elementsOf([this[i < 0 ? this.length + i : i]])); },
  first() { return this.eq(0); },
  last() { return this.eq(-1); },
  slice(from, to) { return new Set_(elementsOf(this).slice(from, to)); },
  toArray() { return elementsOf(this); },
  add(thing) { return new Set_([...new Set([...elementsOf(this), ...elementsOf(thing)])]); },
  index(thing) { return thing === undefined ? attached.indexOf(this[0]) : elementsOf(this).indexOf(elementsOf(thing)[0]); },
  filter(test) { return chosen(this, test, true); },
  not(test) { return chosen(this, test, false); },
  is(test) {
    if (test === ":visible") return elementsOf(this).some((element) => body(element).shown);
    return chosen(this, test, true).length > 0;
  },
  find(selector) {
    const within = (element) => elementsOf(this).some((top) => { for (let e = element.parentNode; e; e = e.parentNode) if (e === top) return true; return false; });
    return new Set_(select(selector).filter(within));
  },
  children() { return new Set_(elementsOf(this).flatMap((element) => element.children)); },
  parent() { return new Set_(elementsOf(this).map((element) => element.parentNode).filter((element) => element)); },
  closest() { return this.parent(); },
  next() { return beside(this, 1); },
  prev() { return beside(this, -1); },
  siblings() { return new Set_(elementsOf(this).flatMap((element) => (element.parentNode ? element.parentNode.children : []).filter((other) => other !== element))); },
  end() { return this; },
  clone() { return new Set_(elementsOf(this).map(copyOf)); },
  offset() { return this.length ? { left: PAGE.width / 2 + body(this[0]).x, top: PAGE.height / 2 - body(this[0]).y } : undefined; },
  position() { return this.offset(); },
  outerWidth() { return this.width(); },
  outerHeight() { return this.height(); },
  scrollTop() { return this; },
  animate(style_, ms, tell, more) {
    const end = [ms, tell, more].find((value) => typeof value === "function");
    const time = typeof ms === "number" ? ms : 400;
    return each(this, (element) => animate(element, time, () => {
      for (const name of Object.keys(style_ || {})) setStyle(element, name, style_[name]);
    }, end && (() => invoke(end, element, []))));
  },
  delay(ms) { return each(this, (element) => animate(element, +ms || 0, () => undefined)); },
  queue(action) {
    if (typeof action !== "function") return [];
    return each(this, (element) => plan(element, () => {
      const release = hold(element, body(element), null, () => undefined);
      invoke(action, element, [release]);
    }));
  },
  dequeue() { return this; },
  stop() { return each(this, (element) => { body(element).frames.length = 0; }); },
  finish() { return this.stop(); },
  fadeIn(...args) { return fade(this, args, true); },
  fadeOut(...args) { return fade(this, args, false); },
  fadeTo(ms, opacity, ...args) { return fade(this, [ms, ...args], true); },
  fadeToggle(...args) { return fade(this, args, true); },
  slideUp(...args) { return fade(this, args, false); },
  slideDown(...args) { return fade(this, args, true); },
  slideToggle(...args) { return fade(this, args, true); },
  promise() { const set = this; return { done(action) { whenIdle(elementsOf(set), () => invoke(action, set, [set])); return this; } }; },
};
for (const name of ("on off one bind unbind live delegate trigger triggerHandler click dblclick mousedown mouseup mousemove " +
  "mouseover mouseout mouseenter mouseleave hover keydown keyup keypress change input focus blur submit scroll resize " +
  "load ready error contextmenu select wrap unwrap wrapAll draggable").split(" ")) {
  methods[name] = function () { return this; };
}
Object.assign($.fn, methods);

function chosen(set, test, wanted) {
  const known = typeof test === "function" ? null : new Set(elementsOf(test));
  return new Set_(elementsOf(set).filter((element, i) => (known ? known.has(element) : !!test.call(element, i, element)) === wanted));
}

function beside(set, step) {
  return new Set_(elementsOf(set).map((element) => {
    const row = element.parentNode ? element.parentNode.children : [];
    return row[row.indexOf(element) + step];
  }).filter((element) => element));
}

function fade(set, args, shown) {
  const end = args.find((value) => typeof value === "function");
  const ms = typeof args[0] === "number" ? args[0] : args[0] === "slow" ? 600 : 400;
  return each(set, (element) => animate(element, ms, () => show(element, shown), end && (() => invoke(end, element, []))));
}

/** Call when no element has anything left to do, never at once. */
function whenIdle(elements, action) {
  const look = () => {
    const busy = elements.find((element) => turtleOf(element) && !isIdle(turtleOf(element)));
    if (!busy) action();
    else plan(busy, () => later(0, look));
  };
  later(0, look);
}

Object.assign($, {
  each(things, action) {
    if (things && typeof things.length === "number") for (let i = 0; i < things.length; i++) action.call(things[i], i, things[i]);
    else for (const key of Object.keys(things || {})) action.call(things[key], key, things[key]);
    return things;
  },
  map: (things, action) => [...things].map((value, i) => action(value, i)),
  extend(...args) { const deep = args[0] === true ? 1 : 0; return Object.assign(args[deep] || {}, ...args.slice(deep + 1)); },
  inArray: (value, list) => list.indexOf(value),
  isArray,
  isFunction: (value) => typeof value === "function",
  isNumeric: (value) => !isNaN_(parseFloat(value)) && isFinite_(+value),
  isPlainObject: (value) => Object.prototype.toString.call(value) === "[object Object]",
  trim: (text) => ("" + (text ?? "")).trim(),
  noop() {},
  now: () => VirtualDate.now(),
  Event: function (type, more) { return Object.assign({ type, preventDefault() {}, stopPropagation() {} }, more); },
  fx: { speeds: {} },
});
/** Nothing comes from the network; nothing fails because of it. */
for (const name of ["ajax", "get", "post", "getJSON", "getScript"]) $[name] = () => { record.waiting = true; return unanswered(); };
function unanswered() {
  const promise = {};
  for (const name of ["done", "fail", "always", "then", "success", "error", "complete", "catch"]) promise[name] = () => promise;
  return promise;
}
