// A page opened from disk may not read other pages, so there the search shows titles only, without a complaint in the console.
if (location.protocol === 'file:' && typeof DOCUMENTATION_OPTIONS !== 'undefined') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// On paper a fold cannot be opened: what a prediction gave and the answers to questions are printed; solutions, hints, checks and imports only where the reader has opened them.
addEventListener('beforeprint', () => document.querySelectorAll('.bd-article details:not(.solution, .hint, .check, .setup, [open])').forEach(fold => { fold.open = true; fold.dataset.print = ''; }));
addEventListener('afterprint', () => document.querySelectorAll('details[data-print]').forEach(fold => { fold.open = false; delete fold.dataset.print; }));
