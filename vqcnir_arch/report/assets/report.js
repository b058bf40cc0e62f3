"use strict";

// Charts: drawn by plotly.js in the colours of the page, again when the reader changes between light and dark.
function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const layout = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": ink };
  for (const axis of ["xaxis", "yaxis"]) {
    for (const part of ["gridcolor", "linecolor", "zerolinecolor"]) layout[`${axis}.${part}`] = line;
  }
  return layout;
}

const charts = [...document.querySelectorAll(".chart")];
for (const chart of charts) {
  const figure = JSON.parse(chart.querySelector("script").textContent);
  const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
  Plotly.newPlot(chart, figure.data, figure.layout, config).then(() => Plotly.relayout(chart, theme()));
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) Plotly.relayout(chart, theme());
});

// Pictures: the slider takes the two chosen versions; one zoom and one centre for all versions of a picture.
const NEAR_DIVIDER = 30; // pixels, in which a pointer means the divider

for (const picture of document.querySelectorAll(".picture")) {
  const slider = picture.querySelector("img-comparison-slider");
  const versions = [...picture.querySelectorAll(".versions img")];
  for (const select of picture.querySelectorAll("select")) {
    const image = slider.querySelector(`[slot=${select.dataset.side}] img`);
    const show = () => {
      image.src = versions[select.selectedIndex].src;
      image.alt = select.value;
    };
    select.addEventListener("change", show);
    show();
  }

  let [zoom, x, y] = [1, 0.5, 0.5]; // the centre as a share of width and height
  const update = () => {
    const half = 0.5 / zoom;
    x = Math.min(1 - half, Math.max(half, x));
    y = Math.min(1 - half, Math.max(half, y));
    picture.style.setProperty("--zoom", zoom);
    picture.style.setProperty("--dx", `${(0.5 - x * zoom) * 100}%`);
    picture.style.setProperty("--dy", `${(0.5 - y * zoom) * 100}%`);
    picture.classList.toggle("zoomed", zoom > 1);
    slider.handle = String(zoom > 1); // then only the handle moves the divider, and dragging moves the image
    for (const button of picture.querySelectorAll("[data-zoom]")) {
      button.setAttribute("aria-pressed", Number(button.dataset.zoom) === zoom);
    }
  };
  for (const button of picture.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      zoom = Number(button.dataset.zoom);
      update();
    });
  }
  for (const view of picture.querySelectorAll(".view")) {
    view.addEventListener("dblclick", (event) => {
      const box = view.getBoundingClientRect();
      x += ((event.clientX - box.left) / box.width - 0.5) / zoom;
      y += ((event.clientY - box.top) / box.height - 0.5) / zoom;
      zoom = zoom < 8 ? zoom * 2 : 1;
      update();
    });
    let last = null;
    view.addEventListener("pointerdown", (event) => {
      const box = view.getBoundingClientRect();
      const divider = box.left + (slider.value / 100) * box.width;
      const onDivider = slider.contains(view) && Math.abs(event.clientX - divider) < NEAR_DIVIDER;
      if (zoom === 1 || onDivider) return;
      last = event;
      view.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    view.addEventListener("pointermove", (event) => {
      if (last === null) return;
      const box = view.getBoundingClientRect();
      x -= (event.clientX - last.clientX) / box.width / zoom;
      y -= (event.clientY - last.clientY) / box.height / zoom;
      last = event;
      update();
    });
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => (last = null));
  }
}
