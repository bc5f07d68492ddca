// The choice between the light theme, the dark one, and the system's. theme.js puts it in force before the first paint.

import { keep, kept } from "./storage.js";

const CHOICES = [
  { name: null, label: "As the system", icon: "auto" },
  { name: "light", label: "Light", icon: "sun" },
  { name: "dark", label: "Dark", icon: "moon" },
];

/** The entries of a menu that chooses the theme. */
export function themeEntries() {
  const chosen = kept("theme");
  return CHOICES.map(({ name, label, icon }) => ({ label, icon, checked: name === chosen, run: () => choose(name) }));
}

function choose(name) {
  keep("theme", name);
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}
