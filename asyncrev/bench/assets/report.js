// The plots of the report. `DATA` is in the page.
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DASHES = [[], [7, 3], [2, 3]];

const time = (us) => {
  if (us == null) return "–";
  if (us >= 1e6) return `${Number((us / 1e6).toPrecision(3))} s`;
  return us >= 1000 ? `${Number((us / 1000).toPrecision(3))} ms` : `${Number(us.toPrecision(3))} µs`;
};
const rate = (value) =>
  value == null ? "–" : value >= 1e6 ? `${value / 1e6} M` : value >= 1e4 ? `${Number((value / 1e3).toPrecision(4))} k` : String(Math.round(value));
const percent = (nines) => `${Number((100 - 100 / nines).toPrecision(6))} %`;
const seconds = (value) => (value == null ? "–" : `${Number(value.toPrecision(4))} s`);

const PLOTS = {
  rate: { x: seconds, y: rate, from: 0, lines: ["messages per second"] },
  latency: { x: seconds, y: time, log: true, lines: ["p50", "p99", "max"] },
  percentiles: { x: percent, y: time, log: true, logX: true, lines: ["latency"] },
};
const DECADES = (from, to) => {
  const found = [];
  for (let at = 10 ** Math.floor(Math.log10(from)); at <= to * 1.001; at *= 10) if (at >= from * 0.999) found.push(at);
  return found;
};

// With few decades the axis has their 2 and 5, too.
function logSplits(from, to) {
  const found = [];
  const steps = to / from > 300 ? [1] : [1, 2, 5];
  for (let decade = 10 ** Math.floor(Math.log10(from)); decade <= to; decade *= 10)
    for (const step of steps) {
      const at = decade * step;
      if (at >= from * 0.999 && at <= to * 1.001) found.push(at);
    }
  return found;
}

class Plot {
  constructor(name) {
    this.what = PLOTS[name];
    this.data = DATA[name];
    this.box = document.getElementById(name);
    this.draw();
    new ResizeObserver(() => this.fit()).observe(this.box);
  }

  size() {
    const style = getComputedStyle(this.box);
    return { width: this.box.clientWidth || 300, height: parseFloat(style.height) };
  }

  draw() {
    this.plot?.destroy();
    const { what, data } = this;
    const text = colour("--quiet");
    const grid = { stroke: colour("--grid"), width: 1 };
    const axis = { stroke: text, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const values = (show) => (_, splits) => splits.map((one) => (one == null ? "" : show(one)));
    const known = data.slice(1).flat().filter((one) => one > 0);
    const scales = { x: { time: false }, y: {} };
    if (what.log) {
      const [low, high] = [Math.min(...known, 1e12), Math.max(...known, 1)];
      scales.y = { distr: 3, range: [Math.min(low, high) / 1.3, high * 1.3] };
    } else scales.y = { range: (_, low, high) => [what.from ?? low, (high || 1) * 1.1] };
    if (what.logX) scales.x = { time: false, distr: 3, range: [1, Math.max(10, ...data[0]) * 1.05] };
    const x = { ...axis, values: values(what.x), space: 55 };
    if (what.logX) x.splits = (_, __, from, to) => DECADES(from, to);
    const y = { ...axis, values: values(what.y), size: 68 };
    if (what.log) {
      y.splits = (_, __, from, to) => logSplits(from, to);
      y.filter = (_, splits) => splits; // else only powers of ten have their values beside them
    }
    this.plot = new uPlot(
      {
        ...this.size(),
        scales,
        axes: [x, y],
        legend: { live: true },
        cursor: { y: false, drag: { x: false, y: false, setScale: false } },
        series: [
          { label: what.logX ? "percentile" : "time", value: (_, one) => (one == null ? "–" : what.x(one)) },
          ...what.lines.map((label, index) => ({
            label,
            stroke: colour(`--line-${index + 1}`),
            dash: DASHES[index],
            width: 2,
            points: { show: data[0].length < 40 && !what.logX, size: 5 },
            value: (_, one) => what.y(one),
          })),
        ],
      },
      data,
      this.box,
    );
    // The legend is below the canvas, and part of the box.
    this.box.style.height = "auto";
  }

  fit() {
    const width = this.box.clientWidth;
    if (this.plot && Math.abs(width - this.plot.width) > 1) this.plot.setSize({ width, height: this.plot.height });
  }
}

const plots = Object.keys(PLOTS).filter((name) => DATA[name][0].length).map((name) => new Plot(name));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const one of plots) {
    one.box.style.height = "";
    one.draw();
  }
});
document.documentElement.dataset.plots = String(plots.length);
