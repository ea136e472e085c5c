// Before the first paint, so that a page never flashes in the other colours.
(() => {
  const kept = localStorage.getItem("upshift-theme");
  if (kept) document.documentElement.dataset.theme = kept;
})();
