export * from "../../src/client/wire.js";
