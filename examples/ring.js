// Where the examples run: the ring that `npm start` runs, with its two accounts. Other rings:
//   RINGPOST_SERVER=host:port RINGPOST_ACCOUNTS=accounts.json node examples/…
// where accounts.json is [{ "name": "alice", "password": "…" }, { "name": "bob", "password": "…" }].
import { readFileSync } from "node:fs";
import { connect } from "ringpost/sdk";

const server = process.env["RINGPOST_SERVER"] ?? "127.0.0.1:5000";
const accounts = process.env["RINGPOST_ACCOUNTS"] ?? "data/up/accounts.json";

/** A client that is logged in as `name`; `options` as for `connect`. */
export function connectAs(name, options = {}) {
  const account = JSON.parse(readFileSync(accounts, "utf8")).find((one) => one.name === name);
  if (account === undefined) throw new Error(`${accounts} has no account ${name}`);
  const { password } = account;
  return connect({ servers: [server], account: { user: name, password }, ...options });
}
