(function () {
  function keep(key, value) { try { localStorage.setItem(key, value); } catch (error) {} }
  function stored(key) { try { return localStorage.getItem(key); } catch (error) { return null; } }
  function start() {
    document.querySelectorAll('[id="ID"]').forEach(function (root) {
      if (root.dataset.ready) return;
      root.dataset.ready = '1';
      var key = 'predict:' + root.dataset.name, note = root.querySelector('.predict-note');
      var cell = root.closest('.cell'), answer = cell && cell.nextElementSibling, texts = [];
      for (var next = answer && answer.nextElementSibling; next && !next.matches('.cell, section'); next = next.nextElementSibling) texts.push(next);
      var shown = document.createElement('p');
      shown.className = 'predict-reminder';
      function apply(choice) {
        var done = choice !== null;
        root.classList.add('predict-on');
        root.classList.toggle('predict-done', done);
        texts.forEach(function (text) { text.classList.toggle('predict-folded', !done); });
        if (!done) return;
        var input = root.querySelector('input[value="' + choice + '"]');
        if (input) input.checked = true;
        var words = input ? 'You predicted “' + input.parentElement.textContent.trim() + '”.' : 'Shown without a prediction.';
        note.textContent = words + ' The result is below. Nothing you choose leaves this browser.';
        root.querySelector('button').hidden = true;
        root.querySelector('.predict-rule').textContent = '.jp-Cell:has([id="ID"]) + .jp-Cell .jp-OutputArea::before { content: ' +
          JSON.stringify(words) + '; font-style: italic; display: block; padding: .3em 0; }';
        var details = answer && answer.querySelector && answer.querySelector('details.hide');
        if (details) {
          details.open = true;
          shown.textContent = words;
          details.insertBefore(shown, details.querySelector('.cell_output'));
        }
      }
      root.addEventListener('change', function (event) { keep(key, event.target.value); apply(event.target.value); });
      root.querySelector('button').hidden = false;
      root.querySelector('button').addEventListener('click', function () { keep(key, 'skipped'); apply('skipped'); });
      apply(stored(key));
    });
  }
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start); else start();
})();
