/* One network of the front at a time: its blocks, where its milliseconds go, the command that builds it. */
(function () {
  "use strict";
  var holder = document.getElementById("networks");
  if (!holder) { return; }
  var known = JSON.parse(holder.textContent), networks = known.networks, places = {};
  var plot = document.getElementById("front"), list = document.getElementById("pick-network");
  var shown = document.getElementById("pick-shown");
  networks.forEach(function (network, place) { places[network.name] = place; });

  function element(tag, name, text) {
    var made = document.createElement(tag);
    if (name) { made.className = name; }
    if (text !== undefined) { made.textContent = text; }
    return made;
  }

  function written(ms, most) {  // as many digits behind the point for all as the largest needs
    var digits = most > 0 ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(most)))) : 0;
    return ms.toFixed(digits) + " ms";
  }

  function bar(what, ms, most, total) {
    var row = element("li"), track = element("span", "track"), filled = element("span", "bar");
    filled.style.width = (most > 0 ? 100 * ms / most : 0) + "%";
    track.appendChild(filled);
    row.appendChild(element("span", "what", what));
    row.appendChild(track);
    var share = total > 0 ? ", " + Math.round(100 * ms / total) + " %" : "";
    row.appendChild(element("span", "ms", written(ms, most) + share));
    return row;
  }

  function bars(network) {
    var rows = network.blocks.map(function (kind, number) {
      return [(number + 1) + ". " + known.kinds[kind][0], known.kinds[kind][1]];
    });
    if (known.fixed_ms > 0) { rows.push(["fixed part", known.fixed_ms]); }
    var times = rows.map(function (row) { return row[1]; });
    var most = Math.max.apply(null, times), total = times.reduce(function (sum, ms) { return sum + ms; }, 0);
    var listed = element("ol", "bars");
    listed.setAttribute("aria-label", "milliseconds of each block");
    rows.forEach(function (row) { listed.appendChild(bar(row[0], row[1], most, total)); });
    return listed;
  }

  function command(text) {
    var line = element("div", "command"), copy = element("button", "", "copy");
    line.appendChild(element("code", "", text));
    if (navigator.clipboard) {
      copy.type = "button";
      copy.addEventListener("click", function () {
        navigator.clipboard.writeText(text).then(function () { copy.textContent = "copied"; });
      });
      line.appendChild(copy);
    }
    return line;
  }

  function ring(network) {
    var traces = pocketnas.figures.front.data, last = traces[traces.length - 1];
    last.x = [network.latency_ms];
    last.y = [network.accuracy];
    last.text = [network.name];
    pocketnas.draw("front");
  }

  function show(place) {
    var network = networks[place];
    shown.textContent = "";
    var name = element("p");
    name.appendChild(element("code", "", network.name));
    shown.appendChild(name);
    shown.appendChild(element("p", "figures", network.figures));
    shown.appendChild(bars(network));
    var built = "The run built this one; its files are in winner/ and exports/.";
    shown.appendChild(element("p", "", network.command ? "This command builds it:" : built));
    if (network.command) { shown.appendChild(command(network.command)); }
    list.value = String(place);
    if (list.value !== String(place)) { offer(place); list.value = String(place); }
    ring(network);
  }

  function offer(place) {
    var other = document.getElementById("pick-other");
    if (!other) {
      other = element("option");
      other.id = "pick-other";
      list.insertBefore(other, list.firstChild);
    }
    other.value = String(place);
    other.textContent = networks[place].title;
  }

  list.addEventListener("change", function () { show(Number(list.value)); });
  plot.on("plotly_click", function (event) {
    var place = places[event.points[0].text];
    if (place !== undefined) { show(place); }
  });
  show(Number(list.value));
})();
