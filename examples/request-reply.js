// Bob answers questions, alice asks some. What goes wrong there is told here.
//   node examples/request-reply.js
import { connectAs } from "./ring.js";

const [alice, bob] = await Promise.all([connectAs("alice"), connectAs("bob")]);

const answering = bob.respond((question) => {
  const { a, b } = question.json();
  if (b === 0) throw new Error("division by zero");
  return { quotient: a / b };
});

const answers = await Promise.all(
  [10, 5, 2].map((b) => alice.request(bob.user, { a: 10, b }, { timeoutMs: 60_000 })),
);
for (const answer of answers) console.log(`${answer.from} says ${answer.json().quotient}`);
try {
  await alice.request(bob.user, { a: 1, b: 0 }, { timeoutMs: 60_000 });
} catch (error) {
  console.log(`and to 1 / 0: ${error.message}`);
}

await answering[Symbol.asyncDispose]();
await Promise.all([alice.close(), bob.close()]);
