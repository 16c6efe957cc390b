// Adds a "Show" button to password fields marked data-show. Everything works without it.
"use strict";
for (const field of document.querySelectorAll("input[data-show]")) {
  const again = document.getElementById(field.id + "_again");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "show";
  const { show, hide, label } = field.dataset; // in the language of the page
  button.textContent = show;
  button.setAttribute("aria-pressed", "false");
  button.setAttribute("aria-label", label);
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    for (const one of [field, again]) if (one) one.type = shown ? "password" : "text";
    button.textContent = shown ? show : hide;
    button.setAttribute("aria-pressed", String(!shown));
  });
  const box = document.createElement("div");
  box.className = "with-show";
  field.replaceWith(box);
  box.append(field, button);
  field.form.addEventListener("submit", () => {
    for (const one of [field, again]) if (one) one.type = "password"; // or the browser keeps it among typed texts
  });
}
