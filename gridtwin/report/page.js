"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const style = read("figure-style");
  const darkMode = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  // Colours of ink and grid follow the colour scheme; those of data do not.
  const swap = (value) => {
    let text = JSON.stringify(value);
    if (darkMode.matches && !printing)
      for (const [light, dark] of Object.entries(style.dark)) text = text.replaceAll(`"${light}"`, `"${dark}"`);
    return JSON.parse(text);
  };

  const draw = (plot) => {
    const view = swap(plot.views[plot.chosen]);
    view.layout.template = swap(style.template);
    Plotly.react(plot.node, view.data, view.layout, style.config);
    plot.drawn = true;
  };

  const button = (plot, position, redraw) => {
    const node = document.createElement("button");
    node.type = "button";
    node.textContent = plot.views[position].name;
    node.setAttribute("aria-pressed", String(position === plot.chosen));
    node.addEventListener("click", () => redraw(position));
    return node;
  };

  const chooser = (plot) => {
    const bar = plot.node.previousElementSibling;
    if (plot.views.length < 2) return;
    const redraw = (position) => {
      plot.chosen = position;
      [...bar.querySelectorAll("button")].forEach((node, i) => node.setAttribute("aria-pressed", String(i === position)));
      draw(plot);
    };
    if (plot.views.length <= 5) return plot.views.forEach((_, position) => bar.append(button(plot, position, redraw)));
    const select = document.createElement("select");
    select.setAttribute("aria-label", plot.node.getAttribute("aria-label"));
    plot.views.forEach((view, position) => select.add(new Option(view.name, position, position === plot.chosen, position === plot.chosen)));
    select.addEventListener("change", () => redraw(Number(select.value)));
    bar.append(select);
  };

  const plots = [...document.querySelectorAll(".plot")].map((node) => {
    const views = read(node.dataset.figure);
    const plot = { node, views, chosen: 0, drawn: false };
    node.style.minHeight = `${views[0].layout.height}px`;
    chooser(plot);
    return plot;
  });

  // A figure is drawn when it comes near the screen, so that a long page opens at once.
  const watcher = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      watcher.unobserve(entry.target);
      draw(plots.find((plot) => plot.node === entry.target));
    }),
    { rootMargin: "600px" },
  );
  plots.forEach((plot) => watcher.observe(plot.node));
  const drawAll = () => plots.forEach(draw);
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });
  darkMode.addEventListener("change", () => plots.filter((plot) => plot.drawn).forEach(draw));

  const key = (row, column) => {
    const raw = row.cells[column].dataset.value;
    const value = Number(raw);
    return raw === "" ? null : Number.isNaN(value) ? raw : value;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  const sort = (header) => {
    const table = header.closest("table"), column = header.cellIndex;
    const direction = header.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    table.querySelectorAll("th").forEach((node) => node.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => sign * compare(key(a, column), key(b, column)));
    table.tBodies[0].append(...rows);
  };
  document.querySelectorAll("table.sortable th").forEach((header) => {
    header.addEventListener("click", () => sort(header));
    header.addEventListener("keydown", (event) => event.key === "Enter" && sort(header));
  });
})();
