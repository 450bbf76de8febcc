export * from "../../src/drill/free-ports.js";
