// Makes or uses a passkey: asks the browser with the options that the page carries, and posts its answer with the page's own form.
"use strict";
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const listed = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

async function ask(kind, options) {
  const wanted = { ...options, challenge: bytes(options.challenge) };
  if (kind === "create") {
    wanted.user = { ...options.user, id: bytes(options.user.id) };
    wanted.excludeCredentials = listed(options.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey: wanted });
    return answer(made, { attestationObject: text(made.response.attestationObject) });
  }
  wanted.allowCredentials = listed(options.allowCredentials);
  const used = await navigator.credentials.get({ publicKey: wanted });
  const own = { authenticatorData: text(used.response.authenticatorData), signature: text(used.response.signature) };
  return answer(used, own);
}

const answer = (credential, own) => JSON.stringify({
  id: credential.id, rawId: text(credential.rawId), type: credential.type, response: { clientDataJSON: text(credential.response.clientDataJSON), ...own },
});

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  const button = form.querySelector("[data-start]");
  form.querySelector("[data-unable]").hidden = true;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const fault = form.querySelector("[data-fault]");
    fault.hidden = true;
    button.disabled = true;
    try {
      form.elements.credential.value = await ask(form.dataset.passkey, JSON.parse(form.dataset.options));
      form.submit();
    } catch {
      fault.hidden = false; // refused, timed out, or there is none
    }
    button.disabled = false;
  });
  form.addEventListener("submit", (event) => { // Enter in the name's field
    if (form.elements.credential.value) return;
    event.preventDefault();
    button.click();
  });
}
