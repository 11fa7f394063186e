// The names that a Pencil Code program finds: the turtle's commands, input and output, events, chance, colours, a browser's.

function newTurtle(tag, className) {
  const element = new Element_(tag);
  element.className = className;
  element.width = 20;
  element.height = 24;
  attach(element, body_);
  total.turtles += 1;
  spend();
  return element;
}

function hatch(args, from) {
  const count = args.find((value) => typeof value === "number");
  const made = [];
  for (let i = 0; i < min(count === undefined ? 1 : count, 10000); i++) {
    made[i] = newTurtle("img", "turtle");
    if (from) Object.assign(body(made[i]), { x: body(from).x, y: body(from).y, heading: body(from).heading });
  }
  return new Set_(made);
}

const mainTurtle = newTurtle("img", "turtle");
const turtle = setOf(mainTurtle);
mainTurtle.id = "turtle";
total.turtles = 1;

function Turtle() { return setOf(newTurtle("img", "turtle")); }
function Webcam() { return setOf(newTurtle("video", "turtle")); }
function Piano() { return setOf(newTurtle("canvas", "turtle")); }
function Pencil() { const made = setOf(newTurtle("div", "turtle")); body(made[0]).shown = false; body(made[0]).speed = Infinity; return made; }
function Sprite(options) {
  const element = newTurtle("canvas", "turtle");
  const given = options !== null && typeof options === "object" ? options : {};
  element.width = +given.width || 256;
  element.height = +given.height || 256;
  return setOf(element);
}
for (const made of [Turtle, Webcam, Piano, Pencil, Sprite]) made.prototype = $.fn;

function shownThing(tag, text, told = true) {
  const element = new Element_(tag);
  element.innerHTML = short(text);
  plan(mainTurtle, () => {
    attach(element, body_);
    if (told) say_(element.innerHTML);
  });
  return setOf(element);
}

const printed = (tag) => (...args) => {
  const html = args.map((value) => "" + value).join(" ");
  const inner = /^\s*<(\w+)/.exec(html);
  return shownThing(inner ? inner[1] : tag, html);
};
const later_ = (act) => (...args) => { plan(mainTurtle, () => act(...args)); };

let answered = 0;
/** Ask for input: the next answer, when there is one, comes after a second; otherwise the program waits, which is no error. */
function ask(convert) {
  return (...args) => {
    const tell = args.find((value) => typeof value === "function");
    const prompt = typeof args[0] === "function" || args[0] === undefined ? "" : args[0];
    const box = shownThing("label", prompt, prompt !== "");
    plan(mainTurtle, () => {
      if (answered >= settings.answers.length) {
        record.waiting = true;
        return;
      }
      const value = convert(settings.answers[answered++]);
      later(1000, () => { if (tell) invoke(tell, box, [value]); });
    });
    return box;
  };
}
const looksNumeric = (text) => text.trim() !== "" && isFinite_(+text);
const readings = {
  read: ask((text) => (looksNumeric(text) ? +text : text)),
  readnum: ask((text) => parseFloat(text)),
  readstr: ask((text) => text),
  listen: ask((text) => text),
};

function table(rows, columns, ...styles) {
  const contents = isArray(rows) ? rows : null;
  const height = contents ? contents.length : min(+rows || 0, 1000);
  const element = new Element_("table");
  element.cells = [];
  for (let row = 0; row < height; row++) {
    const width = contents ? (isArray(contents[row]) ? contents[row].length : 1) : min(+columns || 0, 1000);
    for (let column = 0; column < width; column++) {
      spend();
      const cell = new Element_("td");
      Object.assign(cell, { row, column, parentNode: element, parentElement: element, width: 35, height: 35 });
      if (contents) cell.innerHTML = short(isArray(contents[row]) ? contents[row][column] : contents[row]);
      element.cells[element.cells.length] = element.children[element.children.length] = cell;
    }
  }
  plan(mainTurtle, () => {
    attach(element, body_);
    for (const cell of element.cells) attached[attached.length] = cell;
  });
  const style_ = contents ? columns : styles[0];
  if (style_ && typeof style_ === "object") new Set_(element.cells).css(style_);
  return setOf(element);
}

function menu(choices) {
  record.waiting = true;
  return shownThing("div", (isArray(choices) ? choices : Object.keys(choices || {})).join(" "));
}

function random(a, b) {
  if (typeof a === "number") {
    const low = ceil(a);
    return typeof b === "number" ? floor(chance() * (ceil(b) - low) + low) : floor(chance() * low);
  }
  if (a === true) return chance() >= 0.5;
  if (a !== null && typeof a === "object" && a.length && a.slice) return a[floor(chance() * a.length)];
  if (a === "normal") return sqrt(-2 * Math.log(1 - chance())) * cos(2 * PI * chance());
  if (a === "position") return { pageX: floor(chance() * (PAGE.width + 1)), pageY: floor(chance() * (PAGE.height + 1)) };
  if (a === "color") return `hsl(${floor(chance() * 360)},100%,50%)`;
  if (a === "gray") return `hsl(0,0%,${floor(chance() * 100)}%)`;
  return chance();
}

let ticking = 0;
const loops = [];
/** Call a function `rate` times a second, as far as whole milliseconds allow; motion in it takes no time. */
function repeat(rate, action) {
  const loop = { action, over: false };
  const pause = max(4, floor(1000 / rate));
  const again_ = () => {
    if (loop.over) return;
    later(pause, again_);
    clock.inTick = true;
    current = loop;
    try {
      invoke(action, window_, []);
    } finally {
      clock.inTick = false;
      current = null;
    }
  };
  later(pause, again_);
  return loop;
}
let current = null;

function rateAndAction(args, standard) {
  const action = args.find((value) => typeof value === "function");
  return [typeof args[0] === "number" ? args[0] : standard, action];
}

function forever(...args) {
  const [rate, action] = rateAndAction(args, 30);
  if (!action || !(rate > 0)) return;
  plan(mainTurtle, () => { loops[loops.length] = repeat(rate, action); });
}

function stop(action) {
  if (action === undefined && current) current.over = true;
  else for (const loop of loops) if (action === undefined || loop.action === action) loop.over = true;
}

function tick(...args) {
  const [rate, action] = rateAndAction(args, 1);
  plan(mainTurtle, () => {
    if (ticking) ticking.over = true;
    ticking = action && rate > 0 ? repeat(rate, action) : 0;
  });
}

const part = (value) => max(0, min(255, floor(value)));
const percent = (value) => (value * 100).toFixed(0) + "%";
const colourFunctions = {
  rgb: (r, g, b) => `rgb(${part(r)},${part(g)},${part(b)})`,
  rgba: (r, g, b, a) => `rgba(${part(r)},${part(g)},${part(b)},${a})`,
  hsl: (h, s, l) => `hsl(${h},${percent(s)},${percent(l)})`,
  hsla: (h, s, l, a) => `hsla(${h},${percent(s)},${percent(l)},${a})`,
};

const degrees = (value) => (value * PI) / 180;
const mathFunctions = {
  sind: (x) => sin(degrees(x)), cosd: (x) => cos(degrees(x)), tand: (x) => Math.tan(degrees(x)),
  asind: (x) => (Math.asin(x) * 180) / PI, acosd: (x) => (Math.acos(x) * 180) / PI,
  atand: (y, x = 1) => (atan2(y, x) * 180) / PI, atan: (y, x = 1) => atan2(y, x), ln: Math.log, PI, E: Math.E,
};
for (const name of "abs acos asin atan2 cos sin tan ceil floor round exp log10 pow sqrt max min".split(" ")) mathFunctions[name] = Math[name];

const messages = { sent: {}, waiting: {} };
function deliver(name) {
  const [sent, waiting] = [messages.sent[name] || [], messages.waiting[name] || []];
  while (sent.length && waiting.length) {
    const [args, receiver] = [sent.shift(), waiting.shift()];
    later(0, () => invoke(receiver, undefined, args));
  }
}
const onEvent = () => undefined;
const pressed = () => false;
pressed.list = () => [];

const pageFunctions = {
  ...readings, ...colourFunctions, ...mathFunctions,
  table, menu, random, forever, stop, tick, hatch: (...args) => hatch(args, null), Turtle, Webcam, Piano, Pencil, Sprite, pressed,
  speed: (value) => { if (value !== undefined) plan(mainTurtle, () => { standardSpeed = +value; body(mainTurtle).speed = null; }); return standardSpeed; },
  write: printed("div"), print: printed("div"), printpage: printed("div"), append: printed("span"), type: printed("pre"), typeline: printed("pre"),
  typebox: (...args) => printed("div")(args.find((value) => value !== undefined) ?? ""),
  button: (label, action) => shownThing("button", typeof label === "function" ? "\u25ce" : label),
  img: (url) => setOf(newTurtle("img", "turtle")),
  see: (...args) => { for (const value of args) say_(value); },
  debug: (...args) => { for (const value of args) say_(value); },
  log: (...args) => { if (args.length === 1 && typeof args[0] === "number") return Math.log(args[0]); for (const value of args) say_(value); return undefined; },
  cs: later_(() => { marks.length = 0; }), cg: later_(() => { marks.length = 0; }), ct: later_(() => undefined),
  done: (action) => { whenIdle(attached.filter((element) => element.className === "turtle"), () => { if (action) invoke(action, undefined, []); }); },
  sync(...args) { synchronise(args); },
  remove(...args) {
    for (const element of args.length ? elementsOf(args) : elementsOf(turtle)) plan(element, () => { show(element, false); detach(element); });
  },
  canvas: () => mainTurtle, sizexy: () => [PAGE.width, PAGE.height], defaultspeed: (value) => pageFunctions.speed(value),
  loadscript: () => { record.waiting = true; }, load: () => { record.waiting = true; }, save: () => { record.waiting = true; },
  recolor: () => { record.waiting = true; },
  send: (name, ...args) => { (messages.sent[name] ||= []).push(args); deliver(name); },
  recv: (name, receiver) => { (messages.waiting[name] ||= []).push(receiver); deliver(name); },
  interrupt: () => { throw new Error("interrupt() called"); },
  help: () => undefined,
};
for (const name of "click dblclick mouseup mousedown mousemove mouseover mouseout keydown keyup keypress".split(" ")) pageFunctions[name] = onEvent;

/** Each waits until all have come so far. */
function synchronise(args) {
  const elements = elementsOf(args);
  const released = [];
  for (const element of elements) {
    plan(element, () => {
      released[released.length] = hold(element, body(element), null, () => undefined);
      if (released.length === elements.length) for (const release of released) later(0, release);
    });
  }
}

function named(name, action) {
  Object.defineProperty(action, "name", { value: name, configurable: true });
  action.helpname = name; // so that a command given as an argument is not taken for a callback
  return action;
}
