export * from "../../src/drill/pop3-client.js";
