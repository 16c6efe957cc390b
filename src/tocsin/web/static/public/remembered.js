// Presses "Go on as before" once for a browser that is remembered. Without scripts its owner presses it.
"use strict";
const form = document.querySelector("form[data-remembered]");
if (form && !document.querySelector("[role=alert]")) form.submit();
