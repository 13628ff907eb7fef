"""The page's style and script, kept in Python so that a wheel needs no data files for them."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #ffffff; --ink: #17202a; --muted: #667485; --rule: #e3e8ee;
  --accent: #2563eb; --second: #b45309; --good: #15803d; --bad: #c2410c; --warn: #a16207;
  --band: rgba(37,99,235,.10); }
@media (prefers-color-scheme: dark) { :root { --bg: #0f141a; --card: #171e26; --ink: #e6ebf1; --muted: #93a1b1;
  --rule: #2a3440; --accent: #6ea8fe; --second: #f0a848; --good: #4ade80; --bad: #fb8c5a; --warn: #facc15;
  --band: rgba(110,168,254,.14); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 20px 64px; }
header { margin-bottom: 20px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 6px; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 4px; letter-spacing: -.005em; }
p { margin: 0 0 10px; max-width: 74ch; } .lead, .note, figcaption { color: var(--muted); }
code { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: 2px 11px; border-radius: 99px; font-weight: 600; font-size: .85rem;
  border: 1px solid currentColor; white-space: nowrap; }
.passed, .failed, .undecided, .notrun { white-space: nowrap; }
.passed { color: var(--good); } .failed { color: var(--bad); } .undecided, .notrun { color: var(--warn); }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin: 18px 0 22px; }
.tile, section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; }
.tile { padding: 13px 15px; } .tile b { display: block; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; }
.tile span { color: var(--muted); font-size: .85rem; } .tile .what { text-transform: uppercase; letter-spacing: .05em;
  font-size: .72rem; font-weight: 600; }
section { padding: 18px 20px 14px; margin-bottom: 16px; }
figure { margin: 0; } .plot { width: 100%; min-height: 120px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; } td.n, th.n { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; } tr:last-child td { border-bottom: 0; }
td code { overflow-wrap: break-word; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; font-size: .9rem; } a { color: var(--accent); }
footer { color: var(--muted); font-size: .85rem; }
@media (max-width: 640px) { main { padding: 18px 12px 40px; } section { padding: 14px 12px 10px; }
  h1 { font-size: 1.4rem; }
  .cards { grid-template-columns: 1fr 1fr; gap: 8px; } .tile b { font-size: 1.2rem; }
  table.stack thead { display: none; }
  table.stack tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--rule); }
  table.stack td, table.stack td.n { display: block; text-align: left; white-space: normal; border: 0; padding: 1px 0; }
  table.stack td:empty { display: none; }
  table.stack td[data-label]::before { content: attr(data-label) ": "; color: var(--muted); } }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } nav { display: none; } }
"""

SCRIPT: Final = """
(function () {
  "use strict";
  var figures = JSON.parse(document.getElementById("figures").textContent);
  var dark = window.matchMedia("(prefers-color-scheme: dark)");
  function colours() {
    var style = getComputedStyle(document.documentElement), found = {};
    ["accent", "second", "good", "bad", "muted", "band", "ink", "rule", "card"].forEach(function (name) {
      found["$" + name] = style.getPropertyValue("--" + name).trim();
    });
    return found;
  }
  function painted(value, known) {
    if (typeof value === "string") { return Object.prototype.hasOwnProperty.call(known, value) ? known[value] : value; }
    if (Array.isArray(value)) { return value.map(function (one) { return painted(one, known); }); }
    if (value && typeof value === "object") {
      var copy = {};
      Object.keys(value).forEach(function (key) { copy[key] = painted(value[key], known); });
      return copy;
    }
    return value;
  }
  function draw() {
    var known = colours(), narrow = window.innerWidth < 640;
    Object.keys(figures).forEach(function (id) {
      var figure = painted(figures[id], known), layout = figure.layout;
      layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
      layout.font = { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 13, color: known.$ink };
      layout.hoverlabel.bgcolor = known.$card;
      layout.hoverlabel.bordercolor = known.$rule;
      ["xaxis", "yaxis"].forEach(function (axis) {
        layout[axis].gridcolor = known.$rule;
        layout[axis].zerolinecolor = known.$muted;
        layout[axis].fixedrange = narrow;  // on a phone a swipe scrolls the page
      });
      if (narrow) { layout.height = Math.min(layout.height, Math.max(320, layout.height * 0.9)); }
      document.getElementById(id).style.height = layout.height + "px";
      Plotly.react(id, figure.data, layout, { displaylogo: false, responsive: true, displayModeBar: false });
    });
  }
  draw();
  dark.addEventListener("change", draw);
})();
"""
