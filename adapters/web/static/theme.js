// Sets the chosen theme before the first paint; a classic script, because modules run after it. appearance.js changes it.
"use strict";

(() => {
  let chosen = null;
  try {
    chosen = JSON.parse(localStorage.getItem("hearth.theme"));
  } catch {
    // A browser that keeps nothing for this page has the system's theme.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
