// The plots, each with a table of its values beside it. One moment is picked in all of them.

import { bytesPerSecond, clock, element, number, percent, seconds } from "./text.js";

const DASHES = [[], [7, 3], [2, 3], [10, 3, 2, 3], [4, 4]];
const WINDOW_S = 600;
const LEAST_WINDOW_S = 60;
const SECONDS_BELOW_S = 300; // of a shorter window the axis has seconds
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);

// What is plotted: each line is made of one sample and the limits.
const PLOTS = [
  {
    title: "Connections",
    unit: "connections",
    show: (value) => number(value),
    least: 5,
    lines: [["open", (sample) => sample.connections]],
  },
  {
    title: "Bytes per second",
    unit: "bytes per second",
    show: bytesPerSecond,
    least: 1024,
    steps: POWERS_OF_TWO,
    lines: [
      ["received", (sample) => sample.received_bytes_per_s],
      ["replied", (sample) => sample.replied_bytes_per_s],
    ],
  },
  {
    title: "Time to the reply",
    unit: "from received to handed to the socket",
    show: seconds,
    least: 1e-4,
    lines: [
      ["half of them take less", (sample) => sample.reply_p50_s],
      ["99 of 100 take less", (sample) => sample.reply_p99_s],
    ],
  },
  {
    title: "Iterations of the loop, and processing",
    unit: "99 of 100 take less",
    show: seconds,
    least: 1e-4,
    lines: [
      ["iteration of the event loop", (sample) => sample.loop_turn_p99_s],
      ["processing on the worker thread", (sample) => sample.processing_p99_s],
    ],
  },
  {
    title: "Ring and buffer pool",
    unit: "percent of their limits",
    show: percent,
    range: [0, 100],
    lines: [
      ["ring entries in use", (sample, limits) => part(sample.ring_entries, limits.ring)],
      ["pool reserved for connections", (sample, limits) => part(sample.pool_reserved_bytes, limits.pool)],
      ["pool in use", (sample, limits) => part(sample.pool_in_use_bytes, limits.pool)],
    ],
  },
  {
    title: "Connections whose reading is paused",
    unit: "connections, by what they wait for",
    show: (value) => number(value),
    least: 5,
    lines: [
      ["write: the peer takes no replies", (sample) => sample.paused_write],
      ["ring: all entries are in use", (sample) => sample.paused_ring],
      ["pool: the buffer pool is used up", (sample) => sample.paused_pool],
      ["quota: their own entries or bytes are in flight", (sample) => sample.paused_quota],
      ["handshake: other TLS handshakes go first", (sample) => sample.paused_handshake],
    ],
  },
];

const part = (value, limit) => (value == null || !limit ? null : (100 * value) / limit);

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function mark(number) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "line");
  const set = (what, values) =>
    Object.entries(values).forEach(([name, value]) => what.setAttribute(name, value));
  set(svg, { class: "mark", viewBox: "0 0 24 10", "aria-hidden": "true" });
  set(line, { class: `line-${number + 1}`, x1: 0, y1: 5, x2: 24, y2: 5 });
  if (DASHES[number].length) set(line, { "stroke-dasharray": DASHES[number].join(" ") });
  svg.append(line);
  return svg;
}

class Plot {
  constructor(what, place, pick) {
    this.what = what;
    this.pick = pick;
    this.data = [[], ...what.lines.map(() => [])];
    this.box = element("div", { className: "plot", tabIndex: 0 });
    this.box.setAttribute("role", "img");
    this.box.setAttribute("aria-describedby", "keys");
    this.head = element("th", { scope: "col" }, "now");
    this.cells = what.lines.map(() => [0, 1, 2].map(() => element("td")));
    const rows = what.lines.map(([name], index) => {
      const head = element("th", { scope: "row" }, mark(index), name);
      return element("tr", {}, head, ...this.cells[index]);
    });
    const heads = [element("th", { scope: "col" }, what.unit), this.head];
    heads.push(element("th", { scope: "col" }, "lowest"), element("th", { scope: "col" }, "highest"));
    const caption = `${what.title}: now, or at the picked moment, and within ten minutes`;
    place.append(
      element(
        "figure",
        {},
        element("figcaption", {}, what.title),
        this.box,
        element(
          "table",
          {},
          element("caption", { className: "hidden" }, caption),
          element("thead", {}, element("tr", {}, ...heads)),
          element("tbody", {}, ...rows),
        ),
      ),
    );
    this.box.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.fit()).observe(this.box);
    this.draw();
  }

  // Make the plot, also with the colours of another scheme.
  draw() {
    this.plot?.destroy();
    const { what } = this;
    const [text, grid] = [colour("--quiet"), { stroke: colour("--grid"), width: 1 }];
    const steps = what.steps ? { incrs: what.steps } : {};
    const axis = { stroke: text, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const top = (highest) => Math.max(what.least ?? 0, (highest ?? 0) * 1.08);
    const cursor = { y: false, drag: { x: false, y: false, setScale: false } };
    this.plot = new uPlot(
      {
        width: Math.max(200, this.box.clientWidth),
        height: this.box.clientHeight,
        legend: { show: false },
        cursor: { ...cursor, sync: { key: "moment", setSeries: false, scales: ["x", null] } },
        scales: {
          x: { time: true, range: () => [this.begin, this.end] },
          y: { range: (_, __, highest) => what.range ?? [0, top(highest)] },
        },
        axes: [
          { ...axis, size: 28, space: 75, values: (_, at) => at.map((one) => this.time(one)) },
          { ...axis, size: 76, space: 32, values: (_, at) => at.map(what.show), ...steps },
        ],
        series: [
          {},
          ...what.lines.map(([name], index) => ({
            label: name,
            stroke: colour(`--line-${index + 1}`),
            dash: DASHES[index],
            width: 2,
            points: { show: false },
          })),
        ],
        hooks: { setCursor: [(plot) => this.onCursor(plot)] },
      },
      this.data,
      this.box,
    );
  }

  get end() {
    return this.data[0].at(-1) ?? Date.now() / 1000;
  }

  get begin() {
    return Math.max(this.end - WINDOW_S, Math.min(this.end - LEAST_WINDOW_S, this.data[0][0] ?? Infinity));
  }

  time(seconds) {
    return clock(seconds).slice(0, this.end - this.begin < SECONDS_BELOW_S ? 8 : 5);
  }

  fit() {
    const width = this.box.clientWidth;
    if (width > 0) this.plot.setSize({ width, height: this.box.clientHeight });
  }

  show(times, samples, limits) {
    this.data = [
      times,
      ...this.what.lines.map(([, of]) => samples.map((one) => (one === null ? null : of(one, limits)))),
    ];
    this.plot.setData(this.data);
  }

  // Write the values of one sample, the last one without an index, into the table.
  tell(index, isPicked) {
    const { show, lines, title } = this.what;
    this.head.textContent = isPicked ? clock(this.data[0][index]) : "now";
    const said = lines.map(([name], line) => {
      const values = this.data[line + 1];
      const known = values.filter((value) => value != null);
      const [lowest, highest] = known.length ? [Math.min(...known), Math.max(...known)] : [];
      const texts = [values[index], lowest, highest].map(show);
      texts.forEach((text, column) => {
        const cell = this.cells[line][column];
        if (cell.textContent !== text) cell.textContent = text;
      });
      return `${name} ${texts[0]}`;
    });
    this.box.setAttribute("aria-label", `${title}, ${this.head.textContent}: ${said.join("; ")}`);
  }

  onCursor(plot) {
    const event = plot.cursor.event;
    if (event) this.pick(event.type === "mouseleave" ? null : (plot.cursor.idx ?? null));
  }

  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined && event.key !== "Escape") return;
    event.preventDefault();
    this.pick(step === undefined ? null : (index) => index + step);
  }

  mark(index) {
    const at = this.data[0][index];
    const left = index === null ? -10 : this.plot.valToPos(at, "x");
    this.plot.setCursor({ left, top: index === null ? -10 : 0 }, false, false);
  }
}

export class Plots {
  constructor(place) {
    this.picked = null; // the time of the sample that the tables show; null for the last one
    this.times = [];
    this.plots = PLOTS.map((what) => new Plot(what, place, (where) => this.pick(where)));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.plots.forEach((plot) => plot.draw());
    });
  }

  show(times, samples, limits) {
    this.times = times;
    this.plots.forEach((plot) => plot.show(times, samples, limits));
    this.tell();
  }

  // `where`: an index, a function from the present one to the next one, or null for now.
  pick(where) {
    const last = this.times.length - 1;
    if (typeof where === "function") {
      where = Math.min(last, Math.max(0, where(this.index() ?? last)));
    }
    this.picked = where === null || last < 0 ? null : this.times[where];
    this.tell();
  }

  index() {
    const index = this.picked === null ? -1 : this.times.indexOf(this.picked);
    return index < 0 ? null : index;
  }

  tell() {
    const index = this.index();
    this.plots.forEach((plot) => {
      plot.tell(index ?? this.times.length - 1, index !== null);
      plot.mark(index);
    });
  }
}
