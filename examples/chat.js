// Two people talk. In two terminals:
//   node examples/chat.js alice bob
//   node examples/chat.js bob alice
// What you type is sent; ✓ is told when it has arrived, ✓✓ when the other side has seen it. Who is
// away finds it when they come back.
import { createInterface } from "node:readline";
import { connectAs } from "./ring.js";

const [me, other] = process.argv.slice(2);
if (me === undefined || other === undefined) throw new Error("node examples/chat.js ME OTHER");

const ring = await connectAs(me);
const { stdin: input, stdout: output } = process;
const typed = createInterface({ input, output, prompt: "" });
let isOver = false;
typed.on("close", () => {
  isOver = true;
});

/** Above the line that is being typed; nothing in it drives the terminal. */
function say(text) {
  output.write(`${output.isTTY ? "\r\u001b[K" : ""}${text.replace(/\p{Cc}/gu, "\ufffd")}\n`);
  if (output.isTTY && !isOver) typed.prompt(true);
}

say(`You are ${ring.user}. Type a line and press Enter; Ctrl-D ends.`);

const stream = "chat";
const inbox = ring.inbox();
async function listen() {
  for await (const message of inbox) {
    if (message.stream !== stream) {
      // Not of a chat: that comes again, later.
      await message.nack({ delayMs: 60_000 });
      continue;
    }
    say(`${message.from}: ${message.text()}`);
    await message.ack();
  }
}
const listening = listen();

const sending = new Set();
for await (const line of typed) {
  if (line === "") continue;
  const { accepted, delivered, consumed } = await ring.send(other, line, { stream });
  const told = Promise.all([
    delivered.then(() => say(`  ✓ ${line}`)),
    consumed.then(() => say(`  ✓✓ ${line}`)),
  ]).catch((error) => isOver || say(`  ✗ ${line}: ${error.message}`));
  // The mail is with the ring: it waits there for whoever is away, and so need we not.
  const safe = Promise.race([accepted, told]);
  sending.add(safe);
  safe.finally(() => sending.delete(safe));
}
await Promise.all(sending);
await inbox.close();
await listening;
await ring.close();
