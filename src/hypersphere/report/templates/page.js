"use strict";
(() => {
  const page = document.documentElement;
  const stored = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll(".plot")];
  // buttons by name: the default set offers to send the figure to a server
  const flat = [["toImage", "resetScale2d"]];
  const deep = [["toImage", "resetCameraDefault3d"]];
  const config = { responsive: true, displaylogo: false, plotlyServerURL: "" };
  const errors = [];

  // what went wrong stands on the element of the page, where a test finds it
  const report = (message) => {
    errors.push(String(message));
    page.dataset.errors = errors.join(" | ");
  };
  window.addEventListener("error", (event) => report(event.message));
  window.addEventListener("unhandledrejection", (event) => report(event.reason));

  const printing = () => page.classList.contains("printing");
  const template = () => (dark.matches && !printing() ? stored.dark : stored.light);
  const visible = (plot) => plot.offsetParent !== null;
  const drawn = () => plots.filter((plot) => plot.dataset.drawn && !plot.classList.contains("failed"));

  async function draw(plot) {
    if (plot.dataset.drawn) return;
    plot.dataset.drawn = "yes";
    const figure = stored.figures[Number(plot.dataset.figure)];
    const layout = { ...figure.layout, autosize: true, template: template() };
    if (layout.scene) {
      // a globe wider than the screen of a phone would be cut off
      layout.height = Math.min(layout.height, Math.max(280, plot.clientWidth));
      plot.style.height = `${layout.height}px`;
    }
    const bar = { displayModeBar: plot.closest(".small") ? false : "hover", modeBarButtons: layout.scene ? deep : flat };
    try {
      await Plotly.newPlot(plot, figure.data, layout, { ...config, ...bar });
    } catch (error) {
      plot.classList.add("failed");
      plot.textContent = `This figure could not be drawn: ${error.message}`;
      report(error.message);
    }
  }

  // a figure that a menu hides is drawn when it is chosen
  for (const choice of document.querySelectorAll(".choice")) {
    const options = [...choice.querySelectorAll(".option")];
    choice.querySelector("select").addEventListener("change", (event) => {
      options.forEach((option, number) => { option.hidden = number !== event.target.selectedIndex; });
      const plot = options[event.target.selectedIndex].querySelector(".plot");
      if (plot.dataset.drawn) Plotly.Plots.resize(plot);
      else draw(plot);
    });
  }

  const restyle = (more) => drawn().filter(visible).forEach((plot) => Plotly.relayout(plot, { template: template(), ...more(plot) }));
  dark.addEventListener("change", () => restyle(() => ({})));
  // paper is white and has a width of its own, the one that the class sets
  window.addEventListener("beforeprint", () => {
    page.classList.add("printing");
    restyle((plot) => ({ width: plot.clientWidth }));
  });
  window.addEventListener("afterprint", () => {
    page.classList.remove("printing");
    restyle(() => ({ width: null, autosize: true }));
  });

  (async () => {
    for (const plot of plots.filter(visible)) {
      await draw(plot);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    page.dataset.drawn = drawn().length;
  })();
})();
