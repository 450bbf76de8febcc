// tsc copies no .proto files; the built tree needs them beside the modules that load them.
import { cpSync, readdirSync } from "node:fs";

for (const file of readdirSync("src/rpc").filter((name) => name.endsWith(".proto"))) {
  cpSync(`src/rpc/${file}`, `dist/src/rpc/${file}`);
}
