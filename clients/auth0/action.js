/**
 * Post-login Action of Tocsin's gate. While it is bound to the post-login trigger nobody signs in, and no refresh token is exchanged,
 * unless this person has had a new password since the gate fell.
 *
 * Secrets of the Action:
 *   GATE_ID   which gate this is; written by Tocsin when it arms. A person is through when app_metadata.tocsin_gate holds the same id.
 *   GATE_URL  optional: Tocsin's gate, e.g. https://gate.example.org. It is asked about those whom the metadata does not show as through.
 *   GATE_KEY  optional: bearer token for GATE_URL.
 *
 * Fails closed: no id, no answer, a slow answer, or any answer but 200 or 204 denies. An Action that throws fails the sign-in as well.
 * The message is the same for every reason, and is the one that a person with a wrong password should see on the company's page too.
 */
const TIMEOUT_MS = 2000;
const MESSAGE = "All passwords were reset. Please choose a new one.";

async function asked(secrets, subject) {
  if (!secrets.GATE_URL) return false;
  const url = secrets.GATE_URL.replace(/\/+$/, "") + "/gate/v1/" + encodeURIComponent(subject);
  const headers = secrets.GATE_KEY ? { authorization: "Bearer " + secrets.GATE_KEY } : {};
  try {
    const answer = await fetch(url, { headers, redirect: "error", signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.status === 200 || answer.status === 204;
  } catch {
    return false;
  }
}

exports.onExecutePostLogin = async (event, api) => {
  const id = event.secrets.GATE_ID;
  const held = (event.user.app_metadata || {}).tocsin_gate;
  if (typeof id === "string" && id !== "" && held === id) return;
  if (await asked(event.secrets, event.user.user_id)) return;
  api.access.deny(MESSAGE);
};
