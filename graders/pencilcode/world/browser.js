// What a browser puts into every page, and how all the names get where a program finds them.

const COLOURS = ("aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown " +
  "burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod " +
  "darkgray darkgrey darkgreen darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen " +
  "darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue " +
  "firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray grey green greenyellow honeydew " +
  "hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan " +
  "lightgoldenrodyellow lightgray lightgrey lightgreen lightpink lightsalmon lightseagreen lightskyblue lightslategray " +
  "lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid " +
  "mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream " +
  "mistyrose moccasin navajowhite navy oldlace olive olivedrab orange orangered orchid palegoldenrod palegreen " +
  "paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple rebeccapurple red rosybrown royalblue " +
  "saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray slategrey snow springgreen " +
  "steelblue teal thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen transparent").split(" ");
const WORDS = ["none", "erase", "path", "up", "down", "color", "position", "normal", "touch"];

const window_ = globalThis;
const document_ = new Element_("#document");
Object.assign(document_, {
  nodeType: 9, body: body_, head: head_, documentElement, title: "", cookie: "", readyState: "complete", hidden: false,
  referrer: "", URL: "about:blank", domain: "",
  getElementById: (id) => select("#" + id)[0] || null,
  getElementsByClassName: (name) => select("." + name),
  createElement: (tag) => new Element_(tag),
  createTextNode: (text) => Object.assign(new Element_("span"), { innerHTML: short(text) }),
  write: (...args) => say_(args.join("")), writeln: (...args) => say_(args.join("")),
  hasFocus: () => true, execCommand: () => false,
});

const location_ = {
  href: "about:blank", protocol: "https:", host: "", hostname: "", port: "", pathname: "/", search: "", hash: "", origin: "null",
  reload() {}, assign() {}, replace() {}, toString: () => "about:blank",
};

function storage() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get("" + key) ?? null,
    setItem: (key, value) => { kept.set("" + key, short(value)); },
    removeItem: (key) => { kept.delete("" + key); },
    clear: () => kept.clear(),
    key: (i) => [...kept.keys()][i] ?? null,
    get length() { return kept.size; },
  };
}

function prompt_(text) {
  if (text !== undefined) say_(text);
  return answered < settings.answers.length ? settings.answers[answered++] : null;
}

const nothing = () => undefined;
const consoleNames = "log info warn error debug dir table group groupEnd time timeEnd assert trace clear count".split(" ");
const windowNames = {
  setTimeout: timer(false), setInterval: timer(true), clearTimeout: cancel, clearInterval: cancel,
  requestAnimationFrame: (action) => later(1000 / 60, () => invoke(action, window_, [clock.now])), cancelAnimationFrame: cancel,
  queueMicrotask: (action) => { later(0, () => invoke(action, undefined, [])); },
  alert: (text) => say_(text), confirm: (text) => { say_(text); return true; }, prompt: prompt_,
  document: document_, location: location_, history: { back: nothing, forward: nothing, go: nothing, pushState: nothing, replaceState: nothing, length: 1 },
  navigator: { userAgent: "Mozilla/5.0", language: "en-US", platform: "", onLine: true, appName: "Netscape", vendor: "" },
  screen: { ...PAGE, availWidth: PAGE.width, availHeight: PAGE.height },
  localStorage: storage(), sessionStorage: storage(),
  console: Object.fromEntries(consoleNames.map((name) => [name, nothing])),
  performance: { now: () => clock.now, timing: {} },
  innerWidth: PAGE.width, innerHeight: PAGE.height, outerWidth: PAGE.width, outerHeight: PAGE.height, devicePixelRatio: 1,
  scrollX: 0, scrollY: 0, pageXOffset: 0, pageYOffset: 0, screenX: 0, screenY: 0, scrollTo: nothing, scrollBy: nothing,
  name: "", status: "", length: 0, closed: false, frames: window_, parent: window_, top: window_, self: window_, window: window_,
  event: undefined, opener: null, origin: "null", external: {}, screenLeft: 0, screenTop: 0,
  addEventListener: nothing, removeEventListener: nothing, dispatchEvent: () => true, getComputedStyle: (element) => element.style || {},
  open: () => null, close: nothing, print: undefined, focus: nothing, blur: nothing, moveTo: nothing, resizeTo: nothing, find: () => false,
  getSelection: () => ({ toString: () => "" }), matchMedia: () => ({ matches: false, addListener: nothing }),
  fetch: () => { record.waiting = true; return new Promise(nothing); },
  atob: (text) => "" + text, btoa: (text) => "" + text,
  Image: function () { return new Element_("img"); },
  Audio: function () { return new Element_("audio"); },
  Event: function (type) { return { type }; },
  XMLHttpRequest: function () { record.waiting = true; return { open: nothing, send: nothing, setRequestHeader: nothing, addEventListener: nothing, readyState: 0, status: 0, responseText: "" }; },
  WebSocket: function () { record.waiting = true; return { send: nothing, close: nothing }; },
  HTMLElement: Element_, Element: Element_, Node: Element_, Date: VirtualDate, $, jQuery: $, Set: Set,
};

/** An event before the first one: an object without a place. */
function noEvent() {
  return { isTrusted: false, preventDefault: nothing, stopPropagation: nothing };
}

function put(name, value) {
  Object.defineProperty(window_, name, { value, writable: true, enumerable: false, configurable: true });
}

function furnish() {
  // What tells real time, what waits for it, and what shows the garbage collector at work.
  for (const name of ["Intl", "Temporal", "Atomics", "SharedArrayBuffer", "WebAssembly", "WeakRef", "FinalizationRegistry", "ShadowRealm", "d8", "gc"]) delete window_[name];
  delete Error.captureStackTrace;
  delete Error.stackTraceLimit;
  for (const name of ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]) {
    RealDate.prototype[name] = function () { return this.toString(); };
  }
  Math.random = chance;
  for (const name of Object.keys(windowNames)) put(name, windowNames[name]);
  for (const name of [...COLOURS, ...WORDS]) put(name, name);
  for (const name of [...Object.keys(commands), ...Object.keys(questions), "move", "css", "fadeIn", "fadeOut", "fadeTo", "fadeToggle", "animate", "finish", "promise"]) {
    put(name, named(name, (...args) => Reflect_apply($.fn[name], turtle, args)));
  }
  for (const name of Object.keys(pageFunctions)) {
    const value = pageFunctions[name];
    put(name, typeof value === "function" && !/^[A-Z]/.test(name) && name !== "pressed" ? named(name, (...args) => value(...args)) : value);
  }
  put("pressed", pressed);
  put("turtle", turtle);
  for (const name of ["click", "mouseup", "mousedown", "mousemove", "keydown", "keypress", "keyup"]) put("last" + name, noEvent());
  put("lastmouse", noEvent());
  put("tan", named("tan", Math.tan)); // a colour too: commands take a function by its name
  put("iced", iced);
  $.turtle = (() => undefined);
}
