// Two people talk. In two terminals:
//   node examples/chat.js alice bob
//   node examples/chat.js bob alice
// What you type is sent; ✓ is told when it has arrived, ✓✓ when the other side has seen it.
import { createInterface } from "node:readline";
import { connectAs } from "./ring.js";

const [me, other] = process.argv.slice(2);
if (me === undefined || other === undefined) throw new Error("node examples/chat.js ME OTHER");

const ring = await connectAs(me);
console.log(`You are ${ring.user}. Type a line and press Enter; Ctrl-D ends.`);

const inbox = ring.inbox({ autoAck: true });
async function listen() {
  for await (const message of inbox) {
    console.log(`${message.from}: ${message.text()}`);
  }
}
const listening = listen();

const sending = [];
for await (const line of createInterface({ input: process.stdin })) {
  const receipt = await ring.send(other, line);
  sending.push(
    receipt.delivered.then(() => console.log(`  ✓ ${line}`)),
    receipt.consumed.then(() => console.log(`  ✓✓ ${line}`)),
  );
}
await Promise.all(sending);
await inbox.close();
await listening;
await ring.close();
