// The run: compile, run the body, let the clock go, say what came of it. And what IcedCoffeeScript's `await` needs.

class Deferrals {
  constructor(next) {
    this.next = next;
    this.left = 1;
    this.ret = null;
  }
  defer(options) {
    this.left += 1;
    let over = false;
    return (...values) => {
      if (over) return;
      over = true;
      if (options && options.assign_fn) options.assign_fn.apply(null, values);
      this._fulfill();
    };
  }
  _fulfill() {
    this.left -= 1;
    if (this.left > 0 || !this.next) return;
    const next = this.next;
    this.next = null;
    // A long loop over what is done at once would use up the stack.
    if (++hops % 200 === 0) later(0, () => next(this.ret));
    else next(this.ret);
  }
}
let hops = 0;

class Rendezvous {
  constructor() {
    this.finished = [];
    this.waiting = [];
    this.last = 0;
  }
  id(number, multiple) {
    return { defer: (options) => this.one(number, options, multiple) };
  }
  defer(options) {
    return this.one(this.last++, options, false);
  }
  one(number, options, multiple) {
    let over = false;
    return (...values) => {
      if (over && !multiple) return;
      over = true;
      if (options && options.assign_fn) options.assign_fn.apply(null, values);
      const waiter = this.waiting.shift();
      if (waiter) waiter(number);
      else this.finished.push(number);
    };
  }
  wait(tell) {
    if (this.finished.length) tell(this.finished.shift());
    else this.waiting.push(tell);
  }
}
const iced = { Deferrals, Rendezvous, findDeferral: () => null, trampoline: (action) => action() };

const end = 1000 * settings.seconds;
let stepwise = false;
furnish();

/** Run the body of a program; true when something may still happen. */
function begin(source) {
  let program;
  try {
    program = Compile(source);
  } catch (error) {
    record.kind = "compile";
    record.error = short(error.message);
    return false;
  }
  // Promises run between turns only: where they may occur, the clock is let go on one callback at a time.
  stepwise = /\b(Promise|async|then|await)\b/.test(source);
  invoke(program, window_, []);
  return true;
}

/** Let time go on; true when there is more to come. */
function proceedInTime() {
  if (stepwise) return advance(end);
  while (advance(end));
  return false;
}

function list(items) {
  let text = "";
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    const shown = typeof item === "number" ? shownNumber(item) : isArray(item) ? list(item) : quote("" + item);
    text += (i ? "," : "") + shown;
  }
  return "[" + text + "]";
}

function shownNumber(value) {
  return isFinite_(value) ? "" + round(value * 1000) / 1000 : "null";
}

/** What is known of the run, as JSON made of plain numbers and texts only. */
function report() {
  const t = body(mainTurtle);
  return '{"kind":' + quote(record.kind) + ',"error":' + quote(record.error) + ',"stopped":' + quote(record.stopped) +
    ',"waiting":' + (record.waiting ? "true" : "false") + ',"time":' + shownNumber(clock.now) +
    ',"pose":' + list([t.x, t.y, t.heading]) + ',"pen":' + quote("" + (t.colour ?? "none")) +
    ',"visible":' + (t.shown ? "true" : "false") +
    ',"totals":' + list([total.marks, total.texts, total.turtles, total.sounds]) +
    ',"marks":' + list(marks) + ',"texts":' + list(texts) + "}";
}

/** The one function that the outside calls: first with a program, then without, until the answer is not "more". */
return function (source) {
  const more = source === undefined ? proceedInTime() : begin(source);
  return more ? "more" : report();
};
