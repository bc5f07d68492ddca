// Text fields that are as high as their text, up to the style sheet's max-height.

/** Make a text field grow with its text; call the function that it returns after changing the text by script. */
export function grow(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
    area.style.overflowY = area.scrollHeight > area.clientHeight + 1 ? "auto" : "hidden";
  };
  area.addEventListener("input", fit);
  fit();
  return fit;
}
