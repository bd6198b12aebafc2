(function () {
  document.querySelectorAll('[id="ID"]').forEach(function (root) {
    if (root.dataset.ready) return;
    root.dataset.ready = '1';
    var frames = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    var input = root.querySelector('input'), output = root.querySelector('output'), image = root.querySelector('img');
    root.querySelector('.slider-row').style.display = 'flex';
    root.querySelector('.slider-hint').remove();
    input.addEventListener('input', function () {
      var frame = frames[+input.value];
      image.src = frame.src; image.alt = frame.alt; output.textContent = frame.text;
      input.setAttribute('aria-valuetext', frame.text);
    });
  });
})();
