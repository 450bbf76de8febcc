export * from "../../src/drill/wait.js";
