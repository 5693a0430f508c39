"use strict";
// One plot: its lines as the table beside it lists them, in the colours and strokes of the style sheet.

const STEPS = Array.from({ length: 14 }, (_, power) => [1, 2, 5].map((step) => Number(`${step}e${power - 3}`))).flat(); // of an axis
const MOMENTS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 432000, 864000];
const HIDDEN = { stroke: "transparent", width: 0, points: { show: false } };

/** A colour of the style sheet, let through by `alpha`. */
function through(colour, alpha) {
  const [r, g, b] = colour.match(/[\d.]+/g);
  return `rgba(${r}, ${g}, ${b}, ${alpha})`;
}

/** Where nothing was told before and after it a point would be a line of no length. */
function alone(plot, series) {
  const values = plot.data[series];
  const found = [];
  values.forEach((value, at) => {
    if (value != null && values[at - 1] == null && values[at + 1] == null) found.push(at);
  });
  return found.length ? found : null;
}

/** Marks of what is recorded: a line where an alarm was raised, its sign on top of it, a bar while it lasted. */
function drawAlarms(plot, alarms) {
  const { ctx, bbox } = plot;
  const dots = devicePixelRatio;
  const style = getComputedStyle(document.documentElement);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const alarm of alarms) {
    const critical = alarm.severity === "critical";
    const from = Math.round(plot.valToPos(alarm.since, "x", true)) + 0.5 * (dots % 2); // a line of whole dots
    const to = alarm.until === null ? bbox.left + bbox.width : plot.valToPos(alarm.until, "x", true);
    if (to < bbox.left || from > bbox.left + bbox.width) continue;
    ctx.fillStyle = ctx.strokeStyle = style.getPropertyValue(critical ? "--bad" : "--warn").trim();
    ctx.globalAlpha = 0.55;
    ctx.fillRect(from, bbox.top, Math.max(dots, to - from), 3 * dots);
    ctx.globalAlpha = 1;
    ctx.lineWidth = dots;
    ctx.setLineDash(critical ? [] : [4 * dots, 3 * dots]);
    ctx.beginPath();
    ctx.moveTo(from, bbox.top);
    ctx.lineTo(from, bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.lineWidth = 2 * dots;
    ctx.beginPath();
    const [x, y, half] = [Math.max(from, bbox.left + 6 * dots), bbox.top + 9 * dots, 4 * dots];
    if (critical) {
      ctx.moveTo(x - half, y - half); ctx.lineTo(x + half, y + half);
      ctx.moveTo(x + half, y - half); ctx.lineTo(x - half, y + half);
      ctx.stroke();
    } else {
      ctx.moveTo(x, y - half); ctx.lineTo(x + half, y + half); ctx.lineTo(x - half, y + half);
      ctx.fill();
    }
  }
  ctx.restore();
}

class Plot {
  /** `now` is what is known; `zoom(since, until)` is called for a stretch that was marked. */
  constructor(section, now, zoom) {
    this.section = section;
    this.name = section.dataset.plot;
    this.unit = section.dataset.unit;
    this.canvas = section.querySelector(".canvas");
    this.rows = [...section.querySelectorAll("tbody tr")];
    this.now = now;
    this.zoom = zoom;
    this.make();
    new ResizeObserver(() => this.drawn.setSize(this.size())).observe(this.canvas);
    this.rows.forEach((row, place) => {
      row.onmouseenter = () => this.drawn.setSeries(1 + 3 * place, { focus: true });
      row.onmouseleave = () => this.drawn.setSeries(null, { focus: true });
    });
  }

  lineOf(row) {
    return this.now.lines.get(`${this.name} ${row.dataset.key}`);
  }

  size() {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  /** Anew, as the colours are now. */
  make() {
    this.drawn?.destroy();
    this.canvas.append(""); // no longer :empty, so that it has its height
    const style = getComputedStyle(this.section);
    const quiet = style.getPropertyValue("--quiet").trim();
    const grid = { stroke: style.getPropertyValue("--grid").trim(), width: 1 };
    const axis = { stroke: quiet, grid, ticks: { show: false }, font: `12px ${style.fontFamily}` };
    const series = [{}];
    const bands = [];
    const counts = this.unit === "packets";
    const paths = counts ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear();
    for (const row of this.rows) {
      const line = getComputedStyle(row.querySelector(".swatch line"));
      const dash = counts || line.strokeDasharray === "none" ? [] : line.strokeDasharray.match(/[\d.]+/g).map(Number);
      const points = { show: false, filter: alone, size: 4, fill: line.stroke };
      const width = Math.min(counts ? 2 : 9, parseFloat(line.strokeWidth)) - 0.6;
      bands.push({ series: [series.length + 2, series.length + 1], fill: through(line.stroke, 0.16) });
      series.push({ stroke: line.stroke, width, dash, paths, points }, { ...HIDDEN }, { ...HIDDEN });
    }
    this.drawn = new uPlot({
      ...this.size(), series, bands,
      padding: [10, 14, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.25 },
      cursor: { y: false, sync: { key: "metrics" }, drag: { x: true, y: false, setScale: false }, points: { size: 7 } },
      scales: { x: { range: () => [this.now.since, this.now.until - this.now.period] }, y: { range: (_, least, most) => [0, this.top(most)] } },
      axes: [
        { ...axis, size: 28, space: 64, incrs: MOMENTS, values: (_, marks, __, ___, step) => marks.map((at) => figures.moment(at, step)) },
        {
          ...axis, size: 68, space: 34, gap: 6, incrs: STEPS.filter((step) => this.unit !== "packets" || step >= 1),
          values: (_, marks, __, ___, step) => marks.map((value) => figures.step(value, this.unit, step)),
        },
      ],
      hooks: {
        draw: [(plot) => drawAlarms(plot, this.now.alarms)],
        setCursor: [(plot) => this.tell(plot.cursor.idx)],
        setSelect: [(plot) => this.select(plot)],
      },
    }, this.data(), this.canvas);
  }

  top(most) {
    const least = { "b/s": 1e5, ms: 1, "%": 0.1, packets: 4 }[this.unit];
    return Math.max(least, (most ?? 0) * 1.08);
  }

  data() {
    const { since, until, period } = this.now;
    const times = [];
    for (let at = since; at < until; at += period) times.push(at);
    const none = Array(times.length).fill(null);
    return [times, ...this.rows.flatMap((row) => {
      const line = this.lineOf(row);
      return line ? [line.values, line.least ?? none, line.most ?? none] : [none, none, none];
    })];
  }

  select(plot) {
    const { left, width } = plot.select;
    if (width < 8) return;
    const [since, until] = [left, left + width].map((x) => Math.round(plot.posToVal(x, "x")));
    this.zoom(since, Math.max(until, since + 10));
  }

  renew() {
    this.drawn.setData(this.data());
    this.tell(this.drawn.cursor.idx);
  }

  /** The figures of the table; the first column is that of the moment under the cursor, where there is one. */
  tell(at) {
    const under = at !== null && at !== undefined && this.drawn.cursor.left >= 0;
    const head = this.section.querySelector("[data-last]");
    head.textContent = under ? figures.clock(this.now.since + at * this.now.period) : "Last";
    head.classList.toggle("at", under);
    for (const row of this.rows) {
      const line = this.lineOf(row);
      if (!line) continue;
      const summed = { ...line.summary, ...(under && { last: line.values[at] }) };
      for (const cell of row.querySelectorAll("td")) {
        const said = figures.said(summed[cell.dataset.figure], this.unit);
        if (cell.textContent !== said) cell.textContent = said;
      }
    }
  }
}
