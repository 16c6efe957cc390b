// Runs an Auth0 Action as Auth0 does: one JSON line in (code, event), one out (the reason of a denial, or null). A throw denies.
const lines = require("node:readline").createInterface({ input: process.stdin });
let queue = Promise.resolve();
lines.on("line", (line) => {
  queue = queue.then(async () => {
    const { code, event } = JSON.parse(line);
    const module = { exports: {} };
    let denied = null;
    try {
      new Function("exports", "module", code)(module.exports, module);
      await module.exports.onExecutePostLogin(event, { access: { deny: (reason) => (denied = reason) } });
    } catch (error) {
      denied = "the Action failed: " + error.message;
    }
    process.stdout.write(JSON.stringify({ denied }) + "\n");
  });
});
