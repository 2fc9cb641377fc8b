// Filters and sorts the table of patients. It is the only script that the report's policy allows.
document.querySelectorAll("input[data-filters]").forEach(input => input.addEventListener("input", () => {
  const wanted = input.value.trim().toLowerCase();
  for (const row of document.getElementById(input.dataset.filters).tBodies[0].rows)
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
}));
document.querySelectorAll("table.sortable").forEach(table => {
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const heading = button.parentNode, up = heading.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.value ?? "";
    const rows = [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return (up ? 1 : -1) * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    });
    body.append(...rows);
  }));
});
