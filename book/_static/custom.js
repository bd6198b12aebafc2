// Three small mends of the theme: links to a page's source download it instead of showing it as text; the folds of the
// sidebar have names; what scrolls sideways can be reached by keyboard.
document.addEventListener("DOMContentLoaded", () => {
  for (const link of document.querySelectorAll(".btn-download-source-button")) {
    link.setAttribute("download", "");
    link.removeAttribute("target");
  }
  for (const fold of document.querySelectorAll(".bd-links summary")) {
    const page = fold.closest("li").querySelector("a");
    fold.setAttribute("aria-label", `Pages under ${page ? page.textContent.trim() : "this one"}`);
  }
  const reach = () => {
    const boxes = "pre, div.math, p, li, .cell_output .output, .pst-scrollable-table-container";
    for (const box of document.querySelectorAll(`.bd-article :is(${boxes})`)) {
      const scrolls = ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (scrolls && box.scrollWidth > box.clientWidth) box.setAttribute("tabindex", "0");
    }
  };
  window.addEventListener("load", reach);
  window.addEventListener("resize", reach);
});
