// Turtles: pose, pen, one queue of animations for each, and the marks that they leave.
// Coordinates are Pencil Code's: the origin in the middle of the page, y up, headings clockwise from north in degrees.

const PAGE = { width: 800, height: 600 };
const marks = [];
const texts = [];
const total = { marks: 0, texts: 0, turtles: 0, sounds: 0 };
let standardSpeed = 1; // moves a second

function mark(...parts) {
  total.marks += 1;
  if (marks.length < limits.marks) marks[marks.length] = parts;
}

function say_(text) {
  total.texts += 1;
  if (texts.length < limits.texts) texts[texts.length] = short(text);
}

/** What an element has as a turtle; every element can be one. */
function body(element) {
  let t = turtleOf(element);
  if (!t) {
    t = {
      x: 0, y: 0, heading: 0, speed: null, size: 1, factor: 1, shown: true,
      colour: null, width: 1.62, down: true, path: null,
      frames: [], busy: false, running: false,
    };
    setTurtle(element, t);
  }
  return t;
}

function isIdle(t) {
  return !t.busy && t.frames.length === 0;
}

/** Do something when its turn comes: now, if nothing is under way. What it asks for itself comes before the rest. */
function plan(element, action) {
  spend();
  const t = body(element);
  if (isIdle(t)) {
    action();
    return;
  }
  if (!t.busy && t.running) {
    action();
    return;
  }
  if (t.frames.length === 0) t.frames[0] = { items: [], at: 0 };
  const top = t.frames[t.frames.length - 1].items;
  top[top.length] = action;
}

function proceed(element) {
  const t = body(element);
  if (t.running) return;
  while (!t.busy && t.frames.length > 0) {
    const top = t.frames[t.frames.length - 1];
    if (top.at >= top.items.length) {
      t.frames.length -= 1;
      continue;
    }
    const action = top.items[top.at];
    top.items[top.at++] = null;
    t.frames[t.frames.length] = { items: [], at: 0 };
    t.running = true;
    try {
      action();
    } catch (error) {
      fail(error);
    }
    t.running = false;
  }
}

/** Take `ms` of the turtle's time, then `apply`, then tell. */
function animate(element, ms, apply, tell) {
  plan(element, () => {
    const t = body(element);
    const end = () => {
      apply();
      if (tell) tell();
    };
    if (!(ms > 0)) {
      end();
      return;
    }
    hold(element, t, ms, end);
  });
}

/** Keep the queue waiting for `ms`; for null, until the function that is returned is called. */
function hold(element, t, ms, end) {
  t.busy = true;
  const release = () => {
    if (!t.busy) return;
    t.busy = false;
    try {
      end();
    } catch (error) {
      fail(error);
    }
    proceed(element);
  };
  if (ms !== null) later(ms, release);
  return release;
}

function moveTime(element, instant) {
  if (instant) return 0;
  const speed = body(element).speed === null ? standardSpeed : body(element).speed;
  return speed > 0 ? 1000 / speed : 0;
}

function settle(value) {
  return abs(value) < 1e-10 ? 0 : value;
}

function goTo(t, x, y, draws) {
  if (!isFinite_(x) || !isFinite_(y)) return;
  if (draws && t.down && t.colour !== null) {
    if (t.path) t.path[t.path.length] = [x, y];
    else if (x !== t.x || y !== t.y) mark("line", t.x, t.y, x, y, t.colour, t.width);
  } else if (t.path) {
    t.path[t.path.length] = null;
    t.path[t.path.length] = [x, y];
  }
  t.x = settle(x);
  t.y = settle(y);
}

function forward(t, distance) {
  const a = (t.heading * PI) / 180;
  goTo(t, t.x + distance * t.factor * sin(a), t.y + distance * t.factor * cos(a), true);
}

function sideways(t, right, ahead, draws) {
  const a = (t.heading * PI) / 180;
  const [x, y] = [right * t.factor, ahead * t.factor];
  goTo(t, t.x + x * cos(a) + y * sin(a), t.y - x * sin(a) + y * cos(a), draws);
}

function turn(t, degrees) {
  if (isFinite_(degrees)) t.heading = angle(t.heading + degrees);
}

/** A heading in (-180, 180], as Pencil Code tells it. */
function angle(degrees) {
  let a = degrees % 360;
  if (a > 180) a -= 360;
  if (a <= -180) a += 360;
  return settle(a);
}

/** Turn and move along a circle on the side of the turn, backwards for a negative radius, in steps of at most 10 degrees. */
function arc(t, degrees, radius) {
  if (!isFinite_(degrees) || !isFinite_(radius)) return;
  const r = (degrees < 0 ? -radius : radius) * t.factor; // to the right
  const steps = max(1, min(720, floor(abs(degrees) / 10) + 1));
  const start = (t.heading * PI) / 180;
  const [cx, cy] = [t.x + r * cos(start), t.y - r * sin(start)];
  for (let i = 1; i <= steps; i++) {
    const a = start + (degrees * i * PI) / 180 / steps;
    goTo(t, cx - r * cos(a), cy + r * sin(a), true);
  }
  t.heading = angle(t.heading + degrees);
}

/** The pen's or a dot's style: colour and number in either order, a text such as "red; lineWidth: 5", an object. */
function style(args) {
  const found = { colour: undefined, size: undefined };
  for (let i = 0; i < args.length; i++) {
    let value = args[i];
    if (typeof value === "function") value = value.helpname || value.name; // `pen tan`, where tan is also a function
    if (typeof value === "number" || (typeof value === "string" && value.trim() !== "" && !isNaN_(+value))) {
      if (found.size === undefined) found.size = +value;
    } else if (value !== undefined && found.colour === undefined) {
      found.colour = value;
    }
  }
  const c = found.colour;
  if (c !== null && typeof c === "object") {
    found.colour = c.strokeStyle || c.fillStyle || c.color || "black";
    if (found.size === undefined && c.lineWidth !== undefined) found.size = +c.lineWidth;
  } else if (typeof c === "string") {
    const width = /line-?width[: ]*([\d.]+)/i.exec(c);
    if (width && found.size === undefined) found.size = +width[1];
    found.colour = short(c.replace(/[;\s]+line.*$/is, "").trim());
  }
  return found;
}
const isNaN_ = Number.isNaN;

function setPen(t, args) {
  const { colour, size } = style(args);
  if (colour === true || colour === "down") t.down = true;
  else if (colour === false || colour === "up") t.down = false;
  else if (size === 0 || colour === null || colour === "none" || colour === "off") {
    t.colour = null;
    t.path = null;
  } else {
    t.down = true;
    t.path = colour === "path" ? [[t.x, t.y]] : null;
    t.colour = colour === undefined ? "black" : word(colour);
  }
  if (size > 0) t.width = size;
}

function fillPath(t, args) {
  const colour = style(args).colour;
  if (t.path && t.path.length > 1) {
    const points = [];
    for (let i = 0; i < t.path.length; i++) {
      if (t.path[i]) points[points.length] = t.path[i][0], points[points.length] = t.path[i][1];
    }
    mark("fill", points.length / 2, ...points.slice(0, 40), colour ? word(colour) : "none");
    t.path = [[t.x, t.y]];
  }
}

function blob(kind, t, args) {
  const { colour, size } = style(args);
  const chosen = colour || (t.colour !== null && !t.path ? t.colour : "black");
  mark(kind, t.x, t.y, (size === undefined ? 8.8 : size) * t.factor, word(chosen));
}
