/** The thread that parses. It holds one mail at a time, and may be ended at any moment. */
import { parentPort } from "node:worker_threads";
import { MailReading } from "./reading.js";
import type { FromWorker, ToWorker } from "./view.js";

const port = parentPort;
if (port === null) throw new Error("to be run as a worker");
const say = (message: FromWorker): void => port.postMessage(message);

let current: { readonly job: number; readonly reading: MailReading } | undefined;

function readingOf(job: number): MailReading {
  if (current?.job === job) return current.reading;
  const reading = new MailReading((view) => say({ job, kind: "view", view }));
  current = { job, reading };
  return reading;
}

port.on("message", (message: ToWorker) => {
  const { job } = message;
  // What comes for a mail after its answer is taken and forgotten.
  const reading = readingOf(job);
  if (message.kind === "end") reading.end();
  else void reading.take(Buffer.from(message.octets)).then(() => say({ job, kind: "more" }));
});
