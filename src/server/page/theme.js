// Before the page is drawn, so that it does not flash in the other colours.
"use strict";
{
  let theme = null;
  try { theme = localStorage.getItem("dicast-theme"); } catch { /* Storage is off: as the system. */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
