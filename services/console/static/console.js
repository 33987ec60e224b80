// Times in the reader's zone, countdowns, "choose all", and when the page is no longer live. It works without all that.
"use strict";
(() => {
  const pad = (number) => String(number).padStart(2, "0");

  const local = (time) => {
    const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
    const clock = `${pad(time.getHours())}:${pad(time.getMinutes())}:${pad(time.getSeconds())}`;
    return new Date().toDateString() === time.toDateString() ? clock : `${day} ${clock}`;
  };

  const left = (seconds) => {
    if (seconds < 1) return "now";
    const days = Math.floor(seconds / 86400);
    const hours = Math.floor((seconds % 86400) / 3600);
    const minutes = Math.floor((seconds % 3600) / 60);
    if (days) return `in ${days}d${hours ? `${hours}h` : ""}`;
    if (hours) return `in ${hours}h${minutes ? `${minutes}m` : ""}`;
    const rest = Math.floor(seconds % 60);
    return minutes ? `in ${minutes}m${pad(rest)}s` : `in ${rest}s`;
  };

  const tick = () => {
    for (const each of document.querySelectorAll("time[data-until]")) {
      const due = new Date(each.dateTime);
      each.textContent = left((due - Date.now()) / 1000);
      each.title = local(due);
    }
  };

  const localise = (root) => {
    for (const each of root.querySelectorAll("time[data-local]")) {
      each.title = each.title || each.textContent.trim();
      each.textContent = local(new Date(each.dateTime));
    }
    tick();
  };

  // A date field has no zone, and the server takes UTC: who reads times of their own zone writes them, too.
  const written = (time) => new Date(time - time.getTimezoneOffset() * 60000).toISOString().slice(0, 16);

  const localiseForm = (form) => {
    const dates = [...form.querySelectorAll("input[type=datetime-local]")];
    for (const date of dates.filter((one) => one.value)) date.value = written(new Date(`${date.value}Z`));
    for (const zone of form.querySelectorAll("[data-zone]")) zone.hidden = true;
    form.addEventListener("formdata", ({ formData }) => {
      for (const date of dates.filter((one) => one.value)) {
        formData.set(date.name, new Date(date.value).toISOString().slice(0, 16));
      }
    });
  };

  const count = (form) => {
    const ticks = [...form.querySelectorAll("tbody input[type=checkbox]")];
    const chosen = ticks.filter((one) => one.checked).length;
    const all = form.querySelector("[data-all]");
    const words = form.querySelector("[data-chosen]");
    if (all) {
      all.checked = chosen > 0 && chosen === ticks.length;
      all.indeterminate = chosen > 0 && chosen < ticks.length;
    }
    if (words) words.textContent = chosen ? `${chosen} chosen` : "";
  };

  document.addEventListener("change", ({ target }) => {
    if (target.type !== "checkbox" || !target.form) return;
    if ("all" in target.dataset) {
      for (const one of target.form.querySelectorAll("tbody input[type=checkbox]")) one.checked = target.checked;
    }
    count(target.form);
  });

  // Figures that nobody renews look like those of now.
  const stale = (is) => {
    document.getElementById("stale").hidden = !is;
  };
  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, () => stale(true));
  }
  document.addEventListener("htmx:afterSwap", () => stale(false));

  document.addEventListener("htmx:load", ({ detail }) => localise(detail.elt));
  document.addEventListener("DOMContentLoaded", () => {
    localise(document);
    document.querySelectorAll("form").forEach(localiseForm);
  });
  setInterval(tick, 1000);

  // htmx is read once something is painted. Not before `load`: it would wait for a DOMContentLoaded that has been.
  const readHtmx = () => {
    const script = document.createElement("script");
    script.src = "/static/htmx.min.js";
    document.head.append(script);
  };
  addEventListener("load", () => requestAnimationFrame(() => setTimeout(readHtmx)));
})();
