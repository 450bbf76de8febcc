// A sensor publishes readings; three displays show what concerns them. Routing keys are words with
// dots, and patterns of keys take * for one word and # for any.
//   node examples/sensors.js
import { randomUUID } from "node:crypto";
import { connectAs } from "./ring.js";

const readings = [
  ["kitchen.temperature", 21.5],
  ["kitchen.humidity", 48],
  ["cellar.temperature", 11.2],
  ["cellar.alarm", "water!"],
  ["kitchen.temperature", 21.7],
];
const displays = { everything: "#", kitchen: "kitchen.*", alarms: "*.alarm" };
const expected = { everything: 5, kitchen: 3, alarms: 1 };

const house = await connectAs("alice");
const name = `readings-${randomUUID().slice(0, 8)}`;
const exchange = await house.exchange(name, "topic");

// A queue for each display, bound before anything is published: what comes early is not missed.
const queues = [];
for (const [display, key] of Object.entries(displays)) {
  const queue = await house.queue(`${name}-${display}`);
  await queue.bind(name, { key });
  queues.push([display, queue]);
}

async function show(display, queue) {
  let seen = 0;
  for await (const message of queue.consume({ autoAck: true })) {
    console.log(`${display}: ${message.routingKey} = ${message.text()}`);
    if ((seen += 1) === expected[display]) break;
  }
}
const shown = queues.map(([display, queue]) => show(display, queue));
for (const [key, value] of readings) await exchange.publish(String(value), { key });
await Promise.all(shown);

for (const [, queue] of queues) await queue.remove();
await exchange.remove();
await house.close();
