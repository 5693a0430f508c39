"use strict";
// Figures in words, as the server writes them (appliance/words.py).

const THIN = "\u202f";
const figures = {
  rate(bps) {
    if (bps < 999500) return `${(bps / 1e3).toFixed(0)}${THIN}kb/s`;
    return bps < 9.995e6 ? `${(bps / 1e6).toFixed(2)}${THIN}Mb/s` : `${(bps / 1e6).toFixed(1)}${THIN}Mb/s`;
  },
  milliseconds: (ms) => `${Math.abs(ms) < 10 ? ms.toFixed(1) : ms.toFixed(0)}${THIN}ms`,
  percent: (part) => part === 0 || part >= 10 ? `${part.toFixed(0)}${THIN}%` : part >= 0.01 ? `${part.toFixed(2)}${THIN}%` : `<${THIN}0.01${THIN}%`,
  count(number) {
    if (number < 1e7) return String(Math.round(number)).replace(/\B(?=(\d{3})+$)/g, THIN);
    return number < 1e9 ? `${(number / 1e6).toFixed(1)}${THIN}M` : `${(number / 1e9).toFixed(2)}${THIN}G`;
  },
  number: (value) => Number.isInteger(value) || value >= 100 ? figures.count(value) : value.toFixed(2),
  said(value, unit) {
    if (value === null || value === undefined) return "–";
    return { "b/s": figures.rate, ms: figures.milliseconds, "%": figures.percent, packets: figures.number }[unit](value);
  },
  /** What an axis says: as short as its steps allow. */
  step(value, unit, step) {
    const [scale, prefix] = unit !== "b/s" && unit !== "packets" ? [1, ""]
      : value >= 1e9 ? [1e9, "G"] : value >= 1e6 ? [1e6, "M"] : value >= 1e3 ? [1e3, "k"] : [1, ""];
    const digits = Math.min(3, Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9)));
    const written = (value / scale).toFixed(digits);
    if (unit === "packets") return written + (prefix && THIN + prefix);
    return value ? `${written}${THIN}${prefix}${unit}` : "0";
  },
  two: (number) => String(number).padStart(2, "0"),
  clock(at) {
    const then = new Date(at * 1000);
    return `${figures.two(then.getHours())}:${figures.two(then.getMinutes())}:${figures.two(then.getSeconds())}`;
  },
  /** A mark of the time axis, given the step from one to the next. */
  moment(at, step) {
    const then = new Date(at * 1000);
    const day = `${then.getDate()} ${then.toLocaleString("en", { month: "short" })}`;
    if (step >= 86400 || (then.getHours() === 0 && then.getMinutes() === 0 && then.getSeconds() === 0)) return day;
    return step >= 60 ? figures.clock(at).slice(0, 5) : figures.clock(at);
  },
};
