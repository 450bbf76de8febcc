export * from "../../src/drill/trace.js";
