// A page opened from disk may not read other pages, so there the search shows titles only, without a complaint in the console.
if (location.protocol === 'file:' && typeof DOCUMENTATION_OPTIONS !== 'undefined') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// On paper a fold cannot be opened: what a prediction gave and the answers to questions are printed; solutions, hints, checks and imports only where the reader has opened them.
addEventListener('beforeprint', () => document.querySelectorAll('.bd-article details:not(.solution, .hint, .check, .setup, [open])').forEach(fold => { fold.open = true; fold.dataset.print = ''; }));
addEventListener('afterprint', () => document.querySelectorAll('details[data-print]').forEach(fold => { fold.open = false; delete fold.dataset.print; }));
/* What the reader has done: kept in this browser alone, in the form that `lessonlib progress --import` reads (see the module `review`).
   Nothing is sent anywhere. A browser that keeps nothing (a private window) shows the pages all the same. */
(() => {
  const KEY = 'lessonlib-progress', DAYS = [1, 2, 4, 8, 16];
  const empty = () => ({version: 1, right: {}, cards: {}, reached: {}, place: {}});
  const day = (time = new Date()) => [time.getFullYear(), time.getMonth() + 1, time.getDate()].map(n => String(n).padStart(2, '0')).join('-');
  const later = (from, days) => { const time = new Date(from + 'T12:00:00'); time.setDate(time.getDate() + days); return day(time); };
  const isTable = part => part !== null && typeof part === 'object' && !Array.isArray(part);
  const isDay = word => /^\d{4}-\d\d-\d\d$/.test(word);
  const isName = word => /^[\w.-]{1,80}(#[0-9a-f]{8})?$/.test(word);

  function fit(data) {   // the same rules as `_fault` there: a record, or null
    if (!isTable(data) || data.version !== 1) return null;
    const parts = {...empty(), ...data};
    if (![parts.right, parts.cards, parts.reached, parts.place].every(isTable)) return null;
    const cards = Object.values(parts.cards);
    const good = cards.every(card => isTable(card) && Object.keys(card).sort().join() === 'box,last,times' && Number.isInteger(card.box)
      && card.box >= 1 && card.box <= 5 && Number.isInteger(card.times) && card.times >= 1 && isDay(card.last))
      && [...Object.values(parts.right), ...Object.values(parts.reached)].every(isDay)
      && [parts.right, parts.cards, parts.reached].every(part => Object.keys(part).every(isName))
      && (!Object.keys(parts.place).length || isName(parts.place.lesson) && typeof parts.place.when === 'string');
    return good ? {version: 1, right: parts.right, cards: parts.cards, reached: parts.reached, place: parts.place} : null;
  }

  function load() { try { return fit(JSON.parse(localStorage.getItem(KEY))) || empty(); } catch { return empty(); } }
  function change(what) {   // read again: the course may be open twice
    const record = load();
    what(record);
    try { localStorage.setItem(KEY, JSON.stringify(record)); } catch { /* nothing is kept here */ }
    return record;
  }

  function merge(ours, theirs) {   // the same rules as `Record.merge`
    const both = empty();
    for (const part of ['right', 'reached']) for (const from of [ours, theirs]) for (const [key, since] of Object.entries(from[part]))
      if (!both[part][key] || since < both[part][key]) both[part][key] = since;
    const rank = card => [card.last, String(card.times).padStart(9, '0'), 9 - card.box].join();
    for (const from of [ours, theirs]) for (const [key, card] of Object.entries(from.cards))
      if (!both.cards[key] || rank(card) > rank(both.cards[key])) both.cards[key] = card;
    const when = place => [place.when || '', place.lesson || ''].join();
    both.place = when(ours.place) >= when(theirs.place) ? ours.place : theirs.place;
    return both;
  }

  function make(kind, words, more = {}) { return Object.assign(document.createElement(kind), {textContent: words, ...more}); }

  function question(fold, refresh) {
    const name = fold.dataset.question, row = make('p', '', {className: 'knew'}), answered = make('span', ' ');
    const before = load().cards[name], today = day();
    const rests = before && before.last <= today && later(before.last, DAYS[before.box - 1]) > today;
    answered.setAttribute('role', 'status');
    const say = card => { answered.textContent = ` It comes back on ${later(card.last, DAYS[card.box - 1])}.`; };
    if (rests) say(before);
    else for (const [words, knew] of [['I knew it', true], ['I did not know it', false]]) {
      const button = make('button', words, {type: 'button'});
      button.setAttribute('aria-pressed', 'false');
      button.addEventListener('click', () => {   // a second press corrects the first
        const box = before ? before.box : 0;
        const card = {box: knew ? Math.min(box + 1, 5) : 1, last: today, times: (before ? before.times : 0) + 1};
        change(record => { record.cards[name] = card; });
        row.querySelectorAll('button').forEach(other => other.setAttribute('aria-pressed', String(other === button)));
        say(card);
        refresh();
      });
      row.append(button, ' ');
    }
    row.append(answered);
    fold.append(row);
  }

  function solved(cell, refresh) {
    const label = make('label', '', {className: 'solved'}), box = make('input', '', {type: 'checkbox'}), name = cell.dataset.check;
    box.checked = name in load().right;
    box.addEventListener('change', () => {
      change(record => { if (box.checked) record.right[name] ||= day(); else delete record.right[name]; });
      refresh();
    });
    label.append(box, ' I have solved this');
    cell.append(label);
  }

  function lesson(bar) {
    const stem = bar.dataset.lesson, mine = make('span', '', {className: 'mine'});
    const checks = [...document.querySelectorAll('[data-check]')], folds = [...document.querySelectorAll('details[data-question]')];
    change(record => {
      record.reached[stem] ||= day();
      const now = new Date();
      record.place = {lesson: stem, when: `${day(now)}T${now.toTimeString().slice(0, 8)}`};
    });
    function refresh() {
      const record = load(), of = (done, all, words) => all.length ? [`${done.length} of ${all.length} ${words}`] : [];
      mine.textContent = 'Yours: ' + [...of(checks.filter(cell => cell.dataset.check in record.right), checks, 'exercises'),
        ...of(folds.filter(fold => fold.dataset.question in record.cards), folds, 'questions')].join(', ');
    }
    checks.forEach(cell => solved(cell, refresh));
    folds.forEach(fold => question(fold, refresh));
    if (checks.length + folds.length) { refresh(); bar.append(mine); }
  }

  function home(place) {   // on the first page: where you were, and the record as a file
    function show(words = '') {
      const record = load(), there = record.place.lesson;
      const entry = there && [...document.querySelectorAll('a')].find(link => link.getAttribute('href') === `${there}.html`);
      place.replaceChildren();
      if (entry) {
        const title = make('a', entry.textContent.trim(), {href: `${there}.html`});
        place.append('Go on where you were: ', title, '. ');
      }
      place.append(`Yours: ${Object.keys(record.right).length} exercises, ${Object.keys(record.cards).length} questions, kept in this browser alone. `);
      const save = make('button', 'Save as a file', {type: 'button'}), open = make('button', 'Add a file', {type: 'button'});
      const file = make('input', '', {type: 'file', accept: '.json', hidden: true}), status = make('span', ` ${words}`);
      file.setAttribute('aria-label', 'a file with progress');
      status.setAttribute('role', 'status');
      save.addEventListener('click', () => {
        const address = URL.createObjectURL(new Blob([JSON.stringify(load(), null, 1) + '\n'], {type: 'application/json'}));
        make('a', '', {href: address, download: 'progress.json'}).click();
        setTimeout(() => URL.revokeObjectURL(address), 1000);
      });
      open.addEventListener('click', () => file.click());
      file.addEventListener('change', async () => {
        let other = null;
        try { other = fit(JSON.parse(await file.files[0].text())); } catch { /* no JSON */ }
        if (other) change(record => Object.assign(record, merge(record, other)));
        show(other ? 'Added.' : 'That file is no record of progress.');
      });
      place.append(save, ' ', open, file, status);
    }
    show();
  }

  function start() {
    // The arrows of the side bar that unfold a part have no words of their own.
    document.querySelectorAll('.bd-sidebar-primary summary').forEach(arrow => {
      const link = arrow.closest('li')?.querySelector('a');
      if (!arrow.textContent.trim()) arrow.setAttribute('aria-label', `Pages of ${link ? link.textContent.trim() : 'this part'}`);
    });
    // A formula that is wider than the page scrolls, so the keyboard must reach it.
    window.addEventListener('load', () => window.MathJax?.startup?.promise?.then(() => {
      const look = () => document.querySelectorAll('mjx-container[display="true"]').forEach(box => {
        if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute('tabindex');
      });
      look();
      addEventListener('resize', look);
    }));
    const bar = document.querySelector('[data-lesson]'), place = document.querySelector('[data-home]');
    if (bar) lesson(bar);
    if (place) home(place);
  }
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', start); else start();
})();
