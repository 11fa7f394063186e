// The turtle's commands and questions, as methods of every jQuery set.

/**
 * A command: one action for each element of the set, each in its own queue. A function as last argument, beyond those
 * that the command needs, is called when all are done, and never before the command has returned.
 */
function command(required, act) {
  return function (...args) {
    const last = args[args.length - 1];
    let done = null;
    if (args.length > required && typeof last === "function" && !last.helpname) done = args.pop();
    const instant = clock.inTick;
    let left = this.length + 1;
    let sync = true;
    const finish = () => {
      left -= 1;
      if (left > 0 || !done) return;
      if (sync) later(0, () => invoke(done, undefined, []));
      else invoke(done, undefined, []);
    };
    each(this, (element) => plan(element, () => act(element, args, finish, instant)));
    finish();
    sync = false;
    return this;
  };
}

/** A command that takes the time of one move and then changes the turtle. */
function move(required, change) {
  return command(required, (element, args, finish, instant) => {
    animate(element, moveTime(element, instant), () => change(body(element), args, element), finish);
  });
}

/** A command that takes no time of its own. */
function now_(required, change) {
  return command(required, (element, args, finish) => {
    change(body(element), args, element);
    finish();
  });
}

const number = (value, standard) => (value === undefined || value === null ? standard : parseFloat(value));

/** Where a thing is, as [x, y]: two numbers, a pair, an event or page position, an element; null for anything else. */
function place(args) {
  const [a, b] = args;
  if (isArray(a)) return [+a[0], +a[1]];
  if (a !== null && typeof a === "object" && isFinite_(a.pageX) && isFinite_(a.pageY)) {
    return [a.pageX - PAGE.width / 2, PAGE.height / 2 - a.pageY];
  }
  if ($.isNumeric(a) && $.isNumeric(b)) return [+a, +b];
  if (a === window_ || a === document_) return [0, 0];
  const element = elementsOf(a)[0];
  return element ? [body(element).x, body(element).y] : null;
}

function to(draws) {
  return move(1, (t, args) => {
    const target = place(args);
    if (!target) return;
    const limit = isArray(args[0]) || (args[0] !== null && typeof args[0] === "object") ? args[1] : undefined;
    let [dx, dy] = [target[0] - t.x, target[1] - t.y];
    const far = sqrt(dx * dx + dy * dy);
    if ($.isNumeric(limit) && far > +limit) [dx, dy] = [(dx * limit) / far, (dy * limit) / far];
    goTo(t, t.x + dx, t.y + dy, draws);
  });
}

function pair(args) {
  return isArray(args[0]) ? [+args[0][0] || 0, +args[0][1] || 0] : [+args[0] || 0, +args[1] || 0];
}

function scaleBy(motion) {
  return move(1, (t, [x, y]) => {
    const factor = +(y ?? x) || 1;
    t.size *= factor;
    if (motion) t.factor *= factor;
  });
}

const turning = (sign) => command(1, (element, [degrees, radius], finish, instant) => {
  const by = number(degrees, 90);
  const t = body(element);
  animate(element, moveTime(element, instant), () => {
    if ($.isNumeric(radius)) arc(t, sign * by, by < 0 ? -radius : +radius); // turning by less than nothing is going back
    else turn(t, sign * by);
  }, finish);
});

const commands = {
  fd: move(1, (t, [distance]) => forward(t, number(distance, 100))),
  bk: move(1, (t, [distance]) => forward(t, -number(distance, 100))),
  rt: turning(1),
  lt: turning(-1),
  slide: move(1, (t, args) => sideways(t, ...pair(args), true)),
  jump: move(1, (t, args) => sideways(t, ...pair(args), false)),
  movexy: move(1, (t, args) => { const [x, y] = pair(args); goTo(t, t.x + x, t.y + y, true); }),
  jumpxy: move(1, (t, args) => { const [x, y] = pair(args); goTo(t, t.x + x, t.y + y, false); }),
  moveto: to(true),
  jumpto: to(false),
  turnto: move(1, (t, args) => {
    if ($.isNumeric(args[0]) && !$.isNumeric(args[1])) t.heading = angle(+args[0]);
    else {
      const target = place(args);
      if (target && (target[0] !== t.x || target[1] !== t.y)) t.heading = angle((atan2(target[0] - t.x, target[1] - t.y) * 180) / PI);
    }
  }),
  home: now_(0, (t) => { Object.assign(t, { x: 0, y: 0, heading: 0, size: 1, factor: 1 }); if (t.path) t.path = [[0, 0]]; }),
  pen: command(1, (element, args, finish, instant) => {
    const t = body(element);
    setPen(t, args);
    animate(element, t.shown ? moveTime(element, instant) : 0, () => undefined, finish);
  }),
  fill: now_(0, (t, args) => fillPath(t, args)),
  dot: move(0, (t, args) => blob("dot", t, args)),
  box: move(0, (t, args) => blob("box", t, args)),
  arrow: move(0, (t, args) => blob("arrow", t, args)),
  mirror: now_(1, () => undefined),
  twist: now_(1, () => undefined),
  reload: now_(0, () => undefined),
  clip: now_(1, () => undefined),
  saveimg: now_(1, () => undefined),
  drawon: now_(1, () => undefined),
  scale: scaleBy(true),
  grow: scaleBy(false),
  st: now_(0, (t) => { t.shown = true; }),
  ht: now_(0, (t) => { t.shown = false; }),
  show: now_(0, (t) => { t.shown = true; }),
  hide: now_(0, (t) => { t.shown = false; }),
  toggle: now_(0, (t) => { t.shown = !t.shown; }),
  speed: now_(1, (t, [speed]) => { t.speed = +speed; }),
  wear: move(1, () => undefined),
  label: now_(1, (t, [text]) => { if (text !== undefined) { say_(text); mark("label", t.x, t.y, word(text)); } }),
  say: command(1, (element, [text], finish) => {
    say_(text);
    total.sounds += 1;
    animate(element, 100 + 60 * short(text).length, () => undefined, finish);
  }),
  play: command(1, (element, args, finish) => {
    total.sounds += 1;
    const notes = args.find((value) => typeof value === "string") || "";
    animate(element, 500 * (notes.match(/[A-Ga-gzx]/g) || []).length, () => undefined, finish);
  }),
  pause: command(1, (element, [seconds], finish, instant) => {
    const t = body(element);
    const wait = seconds && typeof seconds.done === "function" ? seconds.done : typeof seconds === "function" ? seconds : null;
    if (wait) {
      const release = hold(element, t, null, finish);
      invoke(wait, seconds, [release]);
    } else animate(element, seconds === undefined ? moveTime(element, instant) : 1000 * +seconds, () => undefined, finish);
  }),
};
const pen = (value) => function (...args) { return this.pen(value, ...args.filter((one) => typeof one === "function")); };

const questions = {
  pu: pen(false), pd: pen(true), pe: pen("erase"), pf: pen("path"),
  tone() { total.sounds += 1; return this; },
  silence() { return this; },
  getxy() { return this.length ? [body(this[0]).x, body(this[0]).y] : undefined; },
  pagexy() {
    if (!this.length) return undefined;
    const t = body(this[0]);
    return { pageX: PAGE.width / 2 + t.x, pageY: PAGE.height / 2 - t.y };
  },
  direction(...args) {
    if (!this.length) return undefined;
    const t = body(this[0]);
    const target = args.length ? place(args) : null;
    return target ? angle((atan2(target[0] - t.x, target[1] - t.y) * 180) / PI) : t.heading;
  },
  bearing(...args) { return this.direction(...args); },
  distance(...args) {
    const target = place(args);
    if (!this.length || !target) return NaN;
    const t = body(this[0]);
    return sqrt((target[0] - t.x) ** 2 + (target[1] - t.y) ** 2);
  },
  shown() { return this.is(":visible"); },
  hidden() { return !this.is(":visible"); },
  touches(...args) {
    return elementsOf(this).some((element) => {
      const t = body(element);
      if (!t.shown) return false;
      if (typeof args[0] === "string" && !/^[#.]/.test(args[0])) return onColour(t, args[0]);
      if (args[0] && args[0].length && typeof args[0] !== "string" && !isArray(args[0])) {
        return elementsOf(args[0]).some((other) => other !== element && body(other).shown && near(t, body(other), 12 * (t.size + body(other).size)));
      }
      const target = place(args);
      return !!target && near(t, { x: target[0], y: target[1] }, 12 * t.size);
    });
  },
  inside(thing) {
    const t = this.length ? body(this[0]) : null;
    if (!t || !t.shown) return false;
    if (thing === window_ || thing === document_ || thing === undefined) return abs(t.x) <= PAGE.width / 2 && abs(t.y) <= PAGE.height / 2;
    return elementsOf(thing).some((other) => near(t, body(other), max(other.width, other.height) / 2));
  },
  enclosedby(thing) { return this.inside(thing); },
  within(distance, ...args) { return ranged(this, distance, args, true); },
  notwithin(distance, ...args) { return ranged(this, distance, args, false); },
  nearest(...args) {
    const target = place(args);
    if (!target) return setOf();
    const far = (element) => (body(element).x - target[0]) ** 2 + (body(element).y - target[1]) ** 2;
    const least = min(...elementsOf(this).map(far));
    return new Set_(elementsOf(this).filter((element) => far(element) <= least));
  },
  cell(row, column) {
    const cells = this.length ? elementsOf(this).flatMap((element) => element.cells || []) : attached.flatMap((element) => element.cells || []);
    return new Set_(cells.filter((cell) => (row === undefined || cell.row === row) && (column === undefined || cell.column === column)));
  },
  plan(action) {
    return each(this, (element, i) => plan(element, () => invoke(action, setOf(element), [i, element])));
  },
  direct(action) { return this.plan(action); },
  done(action) { whenIdle(elementsOf(this), () => invoke(action, this, [])); return this; },
  copy() { const copies = new Set_(elementsOf(this).map(copyOf)); elementsOf(copies).forEach((one) => attach(one, body_)); total.turtles += copies.length; return copies; },
  hatch(...args) { return hatch(args, this.length ? this[0] : null); },
  canvas() { return this.length ? this[0] : undefined; },
  imagedata() { return pixels(PAGE.width, PAGE.height); },
  sizexy() { return this.length ? [this[0].width, this[0].height] : undefined; },
};

function near(a, b, distance) {
  return (a.x - b.x) ** 2 + (a.y - b.y) ** 2 <= distance * distance;
}

function ranged(set, distance, args, wanted) {
  const target = place(args);
  const far = distance === "touch" ? 20 : +distance;
  return new Set_(elementsOf(set).filter((element) => !!target && near(body(element), { x: target[0], y: target[1] }, far) === wanted));
}

/** Whether something of that colour (or any, for "ink") was drawn under the turtle: the last mark there counts. */
function onColour(t, colour) {
  let found = null;
  for (let i = 0; i < marks.length; i++) {
    const m = marks[i];
    if (m[0] === "line" && toLine(t, m) <= m[6] / 2 + 8) found = m[5];
    else if ((m[0] === "dot" || m[0] === "box") && (t.x - m[1]) ** 2 + (t.y - m[2]) ** 2 <= (m[3] / 2 + 8) ** 2) found = m[4];
  }
  return found !== null && found !== "erase" && (colour === "ink" || found === colour);
}

function toLine(t, [, x0, y0, x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const along = max(0, min(1, ((t.x - x0) * dx + (t.y - y0) * dy) / (dx * dx + dy * dy || 1)));
  return sqrt((t.x - x0 - along * dx) ** 2 + (t.y - y0 - along * dy) ** 2);
}

Object.assign($.fn, commands, questions);
$.fn.move = $.fn.slide;
