export * from "../../src/drill/wire.js";
