// Folds what answers a prediction, from its cell to its outcome's, and remembers the reader's choice in this browser.
// The same on the site (cells and paragraphs of a section) and in JupyterLab (cells that come and go while scrolling).
(function () {
  var MOST_CELLS = 8, CELLS = '.cell, .jp-Cell', memory = window.coursePredictions = window.coursePredictions || {};
  function keep(key, value) { memory[key] = value; try { localStorage.setItem(key, value); } catch (error) {} }
  function stored(key) { try { return localStorage.getItem(key) || memory[key]; } catch (error) { return memory[key]; } }
  function isHeading(element) {
    return element.matches('section') || (element.matches('.jp-MarkdownCell') && element.querySelector('h1, h2, h3, h4'));
  }
  function between(cell, name) {  // what stands from the prediction's cell to its outcome's, or to the section's end
    var found = [], cells = 0;
    for (var next = cell.nextElementSibling; next && !isHeading(next); next = next.nextElementSibling) {
      if (next.matches(CELLS) && ++cells > MOST_CELLS) break;
      found.push(next);
      if (next.querySelector('.outcome[data-name="' + name + '"]')) break;
    }
    return found;
  }
  function start() {
    document.querySelectorAll('[id="ID"]').forEach(function (root) {
      if (root.dataset.ready) return;
      root.dataset.ready = '1';
      var name = root.dataset.name, key = 'predict:' + name, button = root.querySelector('button');
      var note = root.querySelector('.predict-note'), cell = root.closest(CELLS), folded = [], told;
      function apply() {
        if (!root.isConnected) return;  // JupyterLab takes far cells out of the page, and cells that were run again
        var choice = stored(key), done = choice != null;
        var input = Array.from(root.querySelectorAll('input')).find(function (each) { return each.value === choice; });
        if (input) input.checked = true;
        button.hidden = done;
        var said = !done ? 'What follows is folded until you choose.' : input ? 'The result is below.' : 'Shown without a prediction.';
        if (note.textContent !== said) note.textContent = said;
        var now = done || !cell ? [] : between(cell, name);
        folded.concat(now).forEach(function (element) { element.classList.toggle('predict-folded', now.includes(element)); });
        folded = now;
        // Told once for each change: what it writes would wake the observer below, and that would tell again.
        if (told !== choice) document.dispatchEvent(new CustomEvent('course-predicted', { detail: name }));
        told = choice;
      }
      function followed() {  // a link into the fold opens it
        var target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
        if (target && target.closest('.predict-folded') && folded.includes(target.closest('.predict-folded'))) {
          keep(key, 'skipped');
          apply();
          target.scrollIntoView();
        }
      }
      root.addEventListener('change', function (event) { keep(key, event.target.value); apply(); });
      button.addEventListener('click', function () { keep(key, 'skipped'); apply(); });
      window.addEventListener('hashchange', followed);
      if (cell && cell.parentElement && cell.matches('.jp-Cell')) {
        new MutationObserver(function () { if (stored(key) == null) apply(); })
          .observe(cell.parentElement, { childList: true, subtree: true });
      }
      apply();
      followed();
    });
  }
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start); else start();
})();
