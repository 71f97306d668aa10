// Formulas first, then every slide is made to fit, then reveal.js takes over. Nothing is loaded from elsewhere.
window.MathJax = {
  tex: { inlineMath: [['\\(', '\\)']], displayMath: [['\\[', '\\]']] },
  svg: { fontCache: 'local' },
  options: { enableMenu: false },
  startup: { ready: () => { MathJax.startup.defaultReady(); MathJax.startup.promise.then(begin, begin); } },
};

// Large letters if there is room; else first the pictures give way, then the letters: no slide is taller or wider than 1280 × 720.
function fit(section) {
  const body = section.querySelector('.body');
  if (!body) return;
  const shown = section.style.cssText;
  section.style.cssText = 'display:flex !important; visibility:hidden';
  const fits = () => section.scrollHeight <= section.clientHeight && body.scrollHeight <= body.clientHeight + 1
    && body.scrollWidth <= body.clientWidth + 1;
  let room = 520, scale = 1.24;
  const set = () => { section.style.setProperty('--room', room + 'px'); section.style.setProperty('--scale', scale); };
  for (set(); !fits() && scale > 1; set()) scale -= .04;
  let zoom = 1;
  for (const child of body.children) {   // what is too wide shrinks alone
    const share = body.clientWidth / child.scrollWidth;
    if (share < 1) child.style.zoom = zoom = Math.max(.25, share * .99);
  }
  for (; !fits() && room > 280; set()) room -= 20;
  for (; !fits() && scale > .5; set()) { scale -= .04; room = 280 * Math.max(scale, .8); }
  for (; !fits() && room > 80; set()) room -= 20;
  section.style.cssText = shown;
  set();
  section.dataset.scale = (scale * zoom).toFixed(2);
}

function begin() {
  Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, hash: true, controls: true, progress: true,
    display: 'flex', slideNumber: 'c/t', transition: 'none', plugins: [RevealNotes],
  }).then(() => {
    document.querySelectorAll('.slides > section').forEach(fit);
    Reveal.sync();
    Reveal.layout();
    document.documentElement.dataset.ready = 'yes';
  });
}
