"use strict";
(() => {
  // Apart for the colour-blind and from the card behind them, 3:1 and more, in both schemes.
  const PALETTES = {
    light: { lines: ["#0072B2", "#D55E00", "#004D40", "#C0609A", "#3F1D6B", "#7D7D6A"], text: "#1b1b1b", grid: "#dcdcd8", back: "#f6f6f4", cells: ["#ffffff", "#3d94d6"], inCells: "#1b1b1b" },
    dark: { lines: ["#56B4E9", "#E07020", "#B4E8C0", "#C890C0", "#F7E36B", "#8C9C8C"], text: "#ececec", grid: "#444", back: "#222", cells: ["#2c2c2c", "#2274ad"], inCells: "#ffffff" },
  };
  const LEGEND_ROW = 20, UNDER_AXIS = 50, SCALE = 50;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let charts = {};

  function legendRows(traces, width) {
    const names = traces.filter((trace) => trace.showlegend !== false && trace.type !== "heatmap").map((trace) => trace.name);
    if (names.length < 2) return [0, 0];
    const entry = Math.min(Math.max(...names.map((name) => name.length)) * 7, width - 80);
    const columns = Math.max(1, Math.floor((width - 20) / (entry + 45)));
    return [Math.ceil(names.length / columns), entry];
  }

  function layoutOf(chart, width, palette) {
    const own = chart.layout, [rows, entry] = legendRows(chart.traces, width);
    const above = own.xaxis?.side === "top", heat = chart.traces[0].type === "heatmap";
    const axis = { gridcolor: palette.grid, zerolinecolor: palette.grid, automargin: true };
    const layout = {
      margin: { l: 55, r: 15, t: above ? 50 : 22, b: (above ? 0 : UNDER_AXIS) + (heat ? SCALE : rows * LEGEND_ROW) }, height: chart.height + rows * LEGEND_ROW,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: palette.text, size: 12 }, colorway: palette.lines,
      showlegend: rows > 0, legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, entrywidth: entry },
      hovermode: "x unified", hoverlabel: { bgcolor: palette.back, font: { color: palette.text } },
      // A finger that moves over a chart moves the page.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      ...own,
    };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) if (own[name] || name !== "yaxis2") layout[name] = { ...axis, ...own[name] };
    return layout;
  }

  function draw(id) {
    const place = document.getElementById(id), chart = charts[id];
    const palette = dark.matches ? PALETTES.dark : PALETTES.light;
    const layout = layoutOf(chart, place.clientWidth, palette);
    place.style.height = layout.height + "px";
    chart.traces.forEach((trace) => {
      if (trace.type === "heatmap") {
        trace.colorscale = palette.cells.map((colour, place) => [place, colour]);
        trace.textfont = { color: palette.inCells };
      }
      const colour = palette.lines[trace.meta?.colour];
      if (colour) { trace.line = { ...trace.line, color: colour }; trace.marker = { ...trace.marker, color: colour }; }
    });
    Plotly.react(place, chart.traces, { ...layout, width: place.clientWidth }, { displayModeBar: false });
  }

  const drawAll = () => Object.keys(charts).forEach(draw);

  function slide(slider) {
    const chart = charts[slider.dataset.map], frames = JSON.parse(document.getElementById(slider.dataset.frames).textContent);
    const label = document.getElementById(slider.dataset.label);
    const show = () => {
      const frame = frames[slider.value];
      chart.traces[0].z = frame.z;
      label.textContent = `After epoch ${frame.epoch} of ${frames[frames.length - 1].epoch}`;
      slider.setAttribute("aria-valuetext", label.textContent);
      draw(slider.dataset.map);
    };
    slider.addEventListener("input", show);
    show();
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const value = (row, column) => {
      const cell = row.cells[column];
      return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
    };
    const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
    table.querySelectorAll("thead th").forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      // Runs without the figure come last either way.
      const known = [...body.rows].filter((row) => value(row, column) !== ""), unknown = [...body.rows].filter((row) => value(row, column) === "");
      known.sort((a, b) => compare(value(a, column), value(b, column)) * (up ? 1 : -1));
      body.append(...known, ...unknown);
    }));
    const filter = document.getElementById(table.dataset.sorted), said = document.getElementById("filtered");
    const apply = () => {
      const shown = new Set();
      for (const row of body.rows) {
        row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase());
        if (!row.hidden) shown.add(Number(row.dataset.run));
      }
      said.textContent = shown.size === body.rows.length ? `${shown.size} runs` : `${shown.size} of ${body.rows.length} runs, in the curves too`;
      for (const [id, chart] of Object.entries(charts)) {
        const ours = chart.traces.filter((trace) => trace.meta?.run !== undefined);
        ours.forEach((trace) => { trace.visible = shown.has(trace.meta.run); });
        if (ours.length) draw(id);
      }
    };
    filter.addEventListener("input", apply);
  }

  function begin() {
    charts = JSON.parse(document.getElementById("charts").textContent);
    drawAll();
    document.querySelectorAll("input[data-map]").forEach(slide);
    document.querySelectorAll("table[data-sorted]").forEach(sortable);
  }

  // What was set by hand before the content changed: the filter, the sorting, what is open, an epoch that is not the last.
  function kept(main) {
    const filter = main.querySelector("#filter"), slider = main.querySelector("input[data-map]"), sorted = main.querySelector("[aria-sort]");
    const opened = [...main.querySelectorAll("details")].map((details) => details.open), focus = document.activeElement?.id;
    const column = sorted && [...sorted.parentNode.children].indexOf(sorted), down = sorted?.getAttribute("aria-sort") === "descending";
    return () => {
      const now = document.querySelector("main"), change = (control, value) => { control.value = value; control.dispatchEvent(new Event("input")); };
      if (filter?.value) change(now.querySelector("#filter"), filter.value);
      const newer = now.querySelector("input[data-map]");
      if (slider && newer && slider.value !== slider.max) change(newer, slider.value);
      if (sorted) for (let clicks = 0; clicks < 1 + down; clicks++) now.querySelectorAll("thead th button")[column].click();
      const details = [...now.querySelectorAll("details")];
      if (details.length === opened.length) details.forEach((each, number) => { each.open = opened[number]; });
      if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    };
  }

  async function follow() {
    const main = document.querySelector("main"), status = document.getElementById("live");
    try {
      const answer = await fetch("state", { cache: "no-store" });
      if (answer.ok && (await answer.text()) !== main.dataset.live) {
        const page = await fetch("./", { cache: "no-store" });
        if (page.ok) {
          const restore = kept(main);
          main.replaceWith(new DOMParser().parseFromString(await page.text(), "text/html").querySelector("main"));
          begin();
          restore();
          status.textContent = `Live: new at ${new Date().toLocaleTimeString()}.`;
        }
      }
      status.classList.remove("lost");
    } catch {
      // What was seen stays.
      if (!status.classList.contains("lost")) status.textContent = "The server does not answer; this is what it showed last.";
      status.classList.add("lost");
    }
    setTimeout(follow, 1000);
  }

  begin();
  dark.addEventListener("change", drawAll);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(drawAll, 100); });
  if (document.querySelector("main").dataset.live) setTimeout(follow, 1000);
})();
