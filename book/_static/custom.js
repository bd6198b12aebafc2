// Small mends of the theme: links to a page's source download it instead of showing it as text; the folds of the sidebar
// have names; what scrolls sideways can be reached by keyboard. And the ledger of claims can be narrowed down.
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
  document.addEventListener("course-predicted", reach);
  narrowLedger();
});

// Two lists, chapter and verdict, above the ledger's cards; without scripts all cards are there.
function narrowLedger() {
  const place = document.querySelector(".ledger-filters");
  if (!place) return;
  const cards = [...document.querySelectorAll(".claim-card")];
  const kinds = { chapter: "Chapter", verdict: "Verdict" };
  const valueOf = (card, kind) => [...card.classList].find((name) => name.startsWith(`${kind}-`)).slice(kind.length + 1);
  const count = document.createElement("p");
  count.setAttribute("role", "status");
  const choices = Object.entries(kinds).map(([kind, title]) => {
    const label = document.createElement("label");
    const select = document.createElement("select");
    select.append(new Option("all", ""));
    for (const value of new Set(cards.map((card) => valueOf(card, kind)))) {
      select.append(new Option(value.replaceAll("-", " ").replaceAll("_", " "), value));
    }
    select.addEventListener("change", narrow);
    label.append(`${title} `, select);
    place.append(label);
    return [kind, select];
  });
  place.append(count);
  function narrow() {
    for (const card of cards) {
      card.hidden = choices.some(([kind, select]) => select.value && select.value !== valueOf(card, kind));
    }
    for (const section of new Set(cards.map((card) => card.parentElement))) {
      section.hidden = [...section.querySelectorAll(".claim-card")].every((card) => card.hidden);
    }
    count.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length} claims`;
  }
  narrow();
}
