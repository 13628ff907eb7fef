/* Draws the page's plots in the colours of the light or dark style, and again when that changes. */
var pocketnas = (function () {
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

  function draw(id) {
    var known = colours(), narrow = window.innerWidth < 640;
    var figure = painted(figures[id], known), layout = figure.layout;
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font = { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 13, color: known.$ink };
    layout.hoverlabel.bgcolor = known.$card;
    layout.hoverlabel.bordercolor = known.$rule;
    Object.keys(layout).filter(function (key) { return /^[xy]axis\d*$/.test(key); }).forEach(function (axis) {
      layout[axis].gridcolor = known.$rule;
      layout[axis].zerolinecolor = known.$muted;
      layout[axis].fixedrange = narrow;  // on a phone a swipe scrolls the page
    });
    if (narrow) { layout.height = Math.min(layout.height, Math.max(320, layout.height * 0.9)); }
    document.getElementById(id).style.height = layout.height + "px";
    Plotly.react(id, figure.data, layout, { displaylogo: false, responsive: true, displayModeBar: false });
  }

  function drawAll() { Object.keys(figures).forEach(draw); }

  drawAll();
  dark.addEventListener("change", drawAll);
  return { figures: figures, draw: draw };
})();
