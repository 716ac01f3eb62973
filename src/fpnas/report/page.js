"use strict";
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const colours = () => {
    const text = dark.matches ? "#ececec" : "#1b1b1b", grid = dark.matches ? "#444" : "#ddd";
    return { text, axis: { gridcolor: grid, zerolinecolor: grid, automargin: true } };
  };
  const layout = (chart) => {
    const { text, axis } = colours();
    const own = chart.layout;
    const merged = { margin: { l: 50, r: 20, t: 10, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text }, legend: { orientation: "h", y: -0.25 }, hovermode: "x unified", hoverlabel: { bgcolor: dark.matches ? "#222" : "#fff" }, ...own };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) if (own[name] || name !== "yaxis2") merged[name] = { ...axis, ...own[name] };
    if (merged.yaxis2) Object.assign(merged.yaxis2, { showgrid: false, tickmode: "auto" });
    return merged;
  };
  const draw = () => {
    for (const [id, chart] of Object.entries(charts)) {
      const place = document.getElementById(id);
      if (place) Plotly.react(place, chart.traces, layout(chart), { responsive: true, displayModeBar: false, staticPlot: false });
    }
  };
  draw();
  dark.addEventListener("change", draw);
  for (const slider of document.querySelectorAll("input[data-map]")) {
    const chart = charts[slider.dataset.map], frames = JSON.parse(document.getElementById(slider.dataset.frames).textContent);
    const label = document.getElementById(slider.dataset.label);
    const show = () => {
      const frame = frames[slider.value];
      chart.traces[0].z = frame.z;
      label.textContent = "after epoch " + frame.epoch;
      slider.setAttribute("aria-valuetext", label.textContent);
      Plotly.restyle(slider.dataset.map, { z: [frame.z] });
    };
    slider.addEventListener("input", show);
    show();
  }
  for (const table of document.querySelectorAll("table[data-sorted]")) {
    const body = table.tBodies[0];
    table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
      const head = button.closest("th"), up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => { const cell = row.cells[column], number = cell.dataset.value; return number === undefined ? cell.textContent : Number(number); };
      [...body.rows].sort((a, b) => { const [x, y] = [value(a), value(b)]; return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1); }).forEach((row) => body.append(row));
    }));
    const filter = document.getElementById(table.dataset.sorted);
    filter.addEventListener("input", () => { for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase()); });
  }
  if (document.body.dataset.live) {
    const seen = document.body.dataset.live;
    const ask = async () => {
      try {
        const answer = await fetch("state", { cache: "no-store" });
        if (answer.ok && (await answer.text()) !== seen) location.reload();
      } catch { /* the server is gone for now: what was seen stays */ }
      setTimeout(ask, 1000);
    };
    setTimeout(ask, 1000);
  }
})();
