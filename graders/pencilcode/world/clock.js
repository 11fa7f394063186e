// The virtual clock: timers, dates and chance that are the same on every machine, and the limits that end a run.
// What the rest of the world needs of JavaScript itself is kept here, before a program can replace it.

const quote = JSON.stringify;
const parse = JSON.parse;
const Compile = Function;
const { sin, cos, atan2, sqrt, ceil, floor, round, abs, min, max, PI } = Math;
const RealDate = Date;
const isArray = Array.isArray;
const isFinite_ = Number.isFinite;
const EPOCH = 1577836800000; // 2020-01-01 00:00 UTC, when every program starts

const limits = { commands: 500000, callbacks: 200000, marks: 2000, texts: 200, characters: 500 };
const record = { error: "", kind: "", stopped: "", commands: 0, callbacks: 0, waiting: false };

/** Thrown into a program that has reached a limit; what it does with it changes nothing. */
class Halt extends Error {}

function halt(reason) {
  record.stopped = record.stopped || reason;
  throw new Halt(reason);
}

function spend() {
  if (record.stopped) throw new Halt(record.stopped);
  if (++record.commands > limits.commands) halt("more commands than a browser would show in minutes");
}

/** The first error of a program is the one that counts; the rest of the page goes on, as in a browser. */
function fail(error) {
  if (error instanceof Halt || record.kind) return;
  record.kind = "Error";
  try {
    if (error instanceof Error) {
      record.kind = short(error.name) || "Error";
      record.error = short(error.message);
    } else {
      record.error = short("" + error);
    }
  } catch {
    record.error = "an error that cannot be shown";
  }
}

function short(value) {
  let text = typeof value === "string" ? value : "" + value;
  return text.length > limits.characters ? text.slice(0, limits.characters) : text;
}

/** A colour, or a text that goes with a mark. */
function word(value) {
  return short(value).slice(0, 60);
}

function invoke(callback, self, args) {
  try {
    return Reflect_apply(callback, self, args || []);
  } catch (error) {
    fail(error);
  }
  return undefined;
}
const Reflect_apply = Reflect.apply;

// A heap of what is to happen, by time and then by the order of asking.
const agenda = [];
const cancelled = new Set();
const [addTo, isIn, dropFrom] = ["add", "has", "delete"].map((name) => {
  const method = Set.prototype[name];
  return (set, value) => Reflect_apply(method, set, [value]);
});
const clock = { now: 0, last: 0, inTick: false };

function before(a, b) {
  return a.time !== b.time ? a.time < b.time : a.number < b.number;
}

function later(ms, callback) {
  const entry = { time: clock.now + max(0, ms), number: ++clock.last, callback };
  let at = agenda.length;
  agenda[at] = entry;
  while (at > 0) {
    const up = (at - 1) >> 1;
    if (!before(entry, agenda[up])) break;
    agenda[at] = agenda[up];
    agenda[up] = entry;
    at = up;
  }
  return entry.number;
}

function soonest() {
  const first = agenda[0];
  const entry = agenda[agenda.length - 1];
  agenda.length -= 1;
  if (agenda.length === 0) return first;
  let at = 0;
  for (;;) {
    let down = 2 * at + 1;
    if (down >= agenda.length) break;
    if (down + 1 < agenda.length && before(agenda[down + 1], agenda[down])) down += 1;
    if (!before(agenda[down], entry)) break;
    agenda[at] = agenda[down];
    at = down;
  }
  agenda[at] = entry;
  return first;
}

/** Let the next thing happen; false when nothing does before the end. */
function advance(end) {
  while (agenda.length > 0 && !record.stopped) {
    if (agenda[0].time > end) break;
    const entry = soonest();
    if (isIn(cancelled, entry.number)) {
      dropFrom(cancelled, entry.number);
      continue;
    }
    if (++record.callbacks > limits.callbacks) {
      record.stopped = "more callbacks than a browser would answer";
      return false;
    }
    clock.now = entry.time;
    invoke(entry.callback, undefined, []);
    return true;
  }
  return false;
}

/** setTimeout and setInterval; a text is compiled, as in a browser. */
function timer(repeat) {
  return function (callback, ms, ...args) {
    const action = typeof callback === "function" ? callback : Compile("" + callback);
    const least = repeat ? 4 : 1;
    const delay = max(least, +ms || 0);
    let number = 0;
    const fire = () => {
      if (repeat) again(number, delay, fire);
      invoke(action, window_, args);
    };
    number = later(delay, fire);
    return number;
  };
}

function again(number, delay, callback) {
  later(delay, callback);
  // An interval keeps the number that it was given.
  for (let at = agenda.length - 1; at >= 0; at--) {
    if (agenda[at].number === clock.last) {
      agenda[at].number = number;
      break;
    }
  }
}

function cancel(number) {
  if (typeof number === "number" && number <= clock.last) addTo(cancelled, number);
}

let seed = settings.seed >>> 0;
function chance() {
  // mulberry32 (public domain, T. Ettinger): 32 bits of state, good enough to draw with
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math_imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math_imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const Math_imul = Math.imul;

function VirtualDate(...parts) {
  const values = parts.length ? parts : [EPOCH + clock.now];
  const made = Reflect.construct(RealDate, values, new.target || RealDate);
  return new.target ? made : made.toString();
}
VirtualDate.prototype = RealDate.prototype;
VirtualDate.now = () => floor(EPOCH + clock.now);
VirtualDate.parse = RealDate.parse;
VirtualDate.UTC = RealDate.UTC;
RealDate.prototype.constructor = VirtualDate;
