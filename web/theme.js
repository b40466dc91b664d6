// Before the first paint, so that a chosen theme never flashes. Without a choice the system's is used.
(() => {
  const chosen = localStorage.getItem("order-engine.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
