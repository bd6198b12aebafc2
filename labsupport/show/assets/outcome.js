// Puts the reader's choice beside what the run says.
(function () {
  function stored(key) {
    try { return localStorage.getItem(key) || (window.coursePredictions || {})[key]; } catch (error) { return (window.coursePredictions || {})[key]; }
  }
  function tell() {
    document.querySelectorAll('[id="ID"]').forEach(function (root) {
      var choices = JSON.parse(root.dataset.choices), choice = stored('predict:' + root.dataset.name);
      var line = root.querySelector('.outcome-choice');
      line.hidden = choice == null;
      if (choice == null) return;
      var right = choice === root.dataset.right;
      var words = !choices.includes(choice) ? 'You looked without choosing.' : right ? 'You chose this.' : 'You chose “' + choice + '”.';
      if (line.textContent !== words) line.textContent = words;
      root.classList.toggle('outcome-right', right);
    });
  }
  document.addEventListener('course-predicted', tell);
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', tell); else tell();
})();
