// A page opened from disk may not read other pages, so there the search shows titles only, without a complaint in the console.
if (location.protocol === 'file:' && typeof DOCUMENTATION_OPTIONS !== 'undefined') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
